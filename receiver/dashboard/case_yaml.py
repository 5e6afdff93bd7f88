"""A decision as a test case for `autocancel policy test`: what was known, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from workers.core.case import Case
from workers.core.order import PSC, Appointment

ACTED = frozenset({"cancel", "review", "shadow"})


def as_test_case(decision: Mapping[Any, Any], case: Case) -> str:
    """YAML text. Only what is stored can be told: facts that the settings do not keep are missing in it."""
    order, facts, at = case.order, case.order.facts, decision["at"]
    known = {
        "method": order.method.value if order.method else None,
        "created": _text(order.created_at or at),
        "state": facts.state,
        "origin": facts.origin,
        "lab_test": facts.lab_test_id,
        "activate_by": facts.activate_by,
        "outbound_tracking": facts.outbound_tracking,
        "order_labels": _labels(case, "order"),
        "user_labels": _labels(case, "user"),
    }
    test = {
        "name": f"{decision['rule'] or 'the policy'} on order {order.id[:8]}: {decision['verdict']}",
        "order": _filled(known),
        "timeline": _timeline(case, at),
        "expect": _expectation(decision),
    }
    return yaml.safe_dump([test], sort_keys=False, allow_unicode=True, width=110)


def _timeline(case: Case, until: datetime) -> list[dict[str, Any]]:
    """What had happened by then, without what we did ourselves."""
    moments: list[tuple[datetime, dict[str, Any]]] = [
        (event.at, {"status": event.status.name})
        for event in case.order.history.events
        if event.at <= until and event.id not in case.own_events
    ]
    moments += [(slot.changed_at, {"appointment": _slot(slot)}) for slot in case.order.appointments]
    moments += [
        (s.at, {"signal": s.name} | ({"on": "user"} if s.scope == "user" else {})) for s in case.signals
    ]
    told = sorted(((at, what) for at, what in moments if at <= until), key=lambda moment: moment[0])
    return [{"at": _text(at), **what} for at, what in told]


def _slot(slot: Appointment) -> dict[str, Any]:
    return _filled(
        {
            "status": slot.status,
            "kind": "psc" if slot.kind == PSC else "home_visit",
            "start": _text(slot.start) if slot.start else None,
            "end": _text(slot.end) if slot.end else None,
            "zone": slot.zone,
            "provider": slot.provider,
        }
    )


def _filled(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value}


def _expectation(decision: Mapping[Any, Any]) -> object:
    if decision["verdict"] not in ACTED or decision["due_at"] is None:
        return "never"
    happening = {"at": _text(decision["due_at"]), "do": decision["action"], "by": decision["rule"]}
    mode = {} if decision["mode"] in {None, "enforce"} else {"mode": decision["mode"]}
    return [happening | mode]


def _labels(case: Case, scope: str) -> list[str]:
    return sorted(label for on, label in case.labels or () if on == scope)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
