"""The trace: why a plan says what it says, as plain JSON for decision records, pages and `explain`.

Nothing in it is personal: no address, no name, and no birthday, be it by way of when something ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from workers.core.case import Case
from workers.core.conditions import Condition, Negated, Patient
from workers.core.guards import guards
from workers.core.instants import Instants, Truth
from workers.core.order import Appointment, Order
from workers.core.plan import Plan, RulePlan, Verdict, exempts, hours, psc_permits, settled
from workers.core.policy import Act, Mode, Policy, Rule

Json = dict[str, Any]


def trace(policy: Policy, case: Case, plan: Plan) -> Json:
    """What `plan` was made of. Every instant is ISO text in UTC, or None.

    order, method, status, since   the order, what it is and since when
    at, next_look                  the plan's now and its `next_at`
    held                           whether a person holds the order
    rules                          one per rule of the plan, in the file's order:
        rule, mode, action, priority, verdict, key
        why                        what stands against it, in words; None when nothing does
        first, due_since           the first instant at or after now that is surely due; since when it is due
        expected                   `first`, or about what it will be once a notice has been delivered
        last, last_by              where the stretch that `expected` begins ends, hours apart; what ends it
        when, unless               conditions: text, actual, needed, parts (the same again) and a moment
        guards                     name, demands and a moment
        settled, slot, hours       moments: newest event old enough, PSC slot out of the way, hours to act in
        exempt, kept_by            names of exemptions and `keep` rules that protect the order now
        notice                     length, send_at, due_at, sent, delivered_at; None if none is needed
    left_out                       rule and why, for rules that have no part in the plan

    A moment is `now` (yes, no, unknown), `becomes` (the first instant at or after now at which it is surely
    as the rule needs it) and `until` (where that ends; None: never). A condition also says `needed`: yes, or
    no below `unless`, the other way round inside `not`.
    """
    last = case.order.last
    return {
        "order": case.order.id,
        "method": case.order.method,
        "status": last.status.name if last else None,
        "since": _text(_since(case)),
        "at": _text(plan.now),
        "next_look": _text(plan.next_at),
        "held": case.held,
        "rules": [_rule(policy, case, plan, found) for found in plan.rules],
        "left_out": [{"rule": rule.name, "why": why} for rule, why in _left_out(policy, case)],
    }


def _rule(policy: Policy, case: Case, plan: Plan, found: RulePlan) -> Json:
    rule, now = found.rule, case.now
    traced: Json = {
        "rule": rule.name,
        "mode": found.mode,
        "action": rule.then.action,
        "priority": rule.priority,
        "verdict": found.verdict.value,
        "key": found.key,
        "why": None,
        "first": _text(found.first),
        "expected": _text(found.expected),
        "due_since": _text(found.due_since),
        "last": None,
        "last_by": None,
        "when": [_condition(part, case.before_our_step(), True) for part in rule.when],
        "unless": [_condition(part, case, False) for part in rule.unless],
        "guards": [
            {"name": guard.name, "demands": guard.demands, **_moment(permits, now)}
            for guard, permits in guards(policy, rule, case)
        ],
        "settled": _moment(settled(policy, rule, case), now),
        "slot": _moment(psc_permits(policy, rule, case), now),
        "hours": _moment(Instants.known(hours(policy, rule, case)), now),
        "exempt": [e.name for e in policy.exemptions if exempts(e, case).at(now) is not Truth.NO],
        "kept_by": [keeper.rule.name for keeper in plan.rules if _keeps(keeper, rule, now)],
        "notice": _notice(found, case),
    }
    if found.expected and not any(_tells_a_birthday(part) for part in (*rule.when, *rule.unless)):
        traced["last"] = _text(found.wanted.yes.end_of(found.expected))
        traced["last_by"] = _ended_by(traced)
    if found.verdict is not Verdict.DUE:
        traced["why"] = _why(found.verdict, case.held, traced)
    return traced


def _condition(condition: Condition, case: Case, needed: bool) -> Json:
    moment = _moment(condition.instants(case), case.now, needed)
    if _tells_a_birthday(condition):
        moment |= {"becomes": None, "until": None}
    inside = needed is not isinstance(condition, Negated)
    return {
        "text": str(condition),
        "actual": condition.actual(case),
        "needed": (Truth.YES if needed else Truth.NO).value,
        **moment,
        "parts": [_condition(part, case, inside) for part in condition.parts()],
    }


def _moment(instants: Instants, now: datetime, needed: bool = True) -> Json:
    sought = (instants if needed else ~instants).yes
    becomes = sought.first(now)
    until = sought.end_of(becomes) if becomes else None
    return {"now": instants.at(now).value, "becomes": _text(becomes), "until": _text(until)}


def _notice(found: RulePlan, case: Case) -> Json | None:
    length = found.rule.notice
    if length is None or found.mode is Mode.SHADOW:
        return None
    return {
        "length": str(length),
        "send_at": _text(found.notice.send_at) if found.notice else None,
        "due_at": _text(found.notice.due_at) if found.notice else None,
        "sent": found.key in case.notices,
        "delivered_at": _text(case.notices.get(found.key)),
    }


def _keeps(keeper: RulePlan, rule: Rule, now: datetime) -> bool:
    vetoes = not keeper.acts and keeper.mode in {Mode.REVIEW, Mode.ENFORCE}
    outranked = rule.then.action is not Act.KEEP and keeper.rule.priority >= rule.priority
    return vetoes and outranked and keeper.wanted.at(now) is not Truth.NO


def _left_out(policy: Policy, case: Case) -> Iterator[tuple[Rule, str]]:
    for rule in policy.rules:
        if case.order.method not in rule.methods:
            yield rule, f"not for {case.order.method or 'an order of unknown method'}"
        elif policy.mode_of(rule) is Mode.OFF:
            yield rule, "off"


def _since(case: Case) -> datetime | None:
    last = case.order.last
    stay = case.order.history.stay(frozenset({last.status.name})) if last else None
    return stay.at if stay else None


def _tells_a_birthday(condition: Condition) -> bool:
    return any(isinstance(part, Patient) and part.age_below is not None for part in condition.walk())


# --- what a look changed -----------------------------------------------------------------------------------


def changes(before: Order, after: Order) -> Json | None:
    """What is new about an order, as `before` and `after` of whatever differs; None when nothing does."""
    old, new = _picture(before), _picture(after)
    differing = [key for key, value in new.items() if value != old[key]]
    if not differing:
        return None
    return {name: {key: of[key] for key in differing} for name, of in (("before", old), ("after", new))}


def _picture(order: Order) -> Json:
    last, slot = order.last, order.appointment
    booked = slot if isinstance(slot, Appointment) else None
    return {
        "method": order.method,
        "status": last.status.name if last else None,
        "status_at": _text(last.at) if last else None,
        "events": len(order.history.events),
        "appointment": slot.status if isinstance(slot, Appointment) else slot.value,
        "appointment_start": _text(booked.start) if booked else None,
        "activate_by": order.facts.activate_by.isoformat() if order.facts.activate_by else None,
        "outbound_tracking": order.facts.outbound_tracking,
    }


# --- what stands against a rule ----------------------------------------------------------------------------


def _why(verdict: Verdict, held: bool, traced: Json) -> str:
    match verdict:
        case Verdict.DECIDED:
            return "this very occasion has been decided"
        case Verdict.BACKLOG:
            return "it was due before the rule was switched to act"
        case _:
            return next(_obstacles(held, traced), "its parts never hold all at once")


def _obstacles(held: bool, traced: Json) -> Iterator[str]:
    """What is against the rule for good comes before what only has to be waited for."""
    if held:
        yield "a person holds this order"
    yield from (f"exempt: {name}" for name in traced["exempt"])
    yield from (f"kept by {name}" for name in traced["kept_by"])
    yield from (_said(part) for part in traced["when"] if _stuck(part))
    yield from (f"unless {_said(part)}" for part in traced["unless"] if _stuck(part))
    yield from (f"needs {guard['demands']}" for guard in traced["guards"] if guard["becomes"] is None)
    if traced["notice"] and not traced["notice"]["delivered_at"]:
        yield "no notice delivered yet"
    if traced["slot"]["now"] != "yes":
        yield "a PSC slot is in the way"
    if traced["hours"]["becomes"] is None:
        yield "no hours in which to act"
    yield from (_said(part) for part in traced["when"] if part["now"] != "yes")


def _stuck(condition: Json) -> bool:
    return condition["becomes"] is None and condition["now"] != condition["needed"]


def _said(condition: Json) -> str:
    amiss = next((part for part in condition["parts"] if part["now"] != part["needed"]), None)
    if amiss is not None:
        return _said(amiss)
    return f"{condition['text']}: {condition['actual']}" if condition["actual"] else condition["text"]


def _ended_by(traced: Json) -> str | None:
    ends = [(guard["name"], guard["until"]) for guard in traced["guards"]]
    ends += [(part["text"], part["until"]) for part in (*traced["when"], *traced["unless"])]
    return next((name for name, until in ends if until and until == traced["last"]), None)


# --- as text -----------------------------------------------------------------------------------------------

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_LABELS = {verdict.value: verdict.value.upper() for verdict in Verdict} | {Verdict.WAITS.value: "NOT YET"}


def render_text(traced: Json, zone: ZoneInfo, *, full: bool = False) -> str:
    """The trace as a tree, its times by the clocks of `zone`; a year only where it is not the present one.

    A rule that says no is one line, and one that has no part is left out, unless the tree is to be `full`.
    """
    head = f"order {traced['order']} {traced['method'] or 'of unknown method'}, {traced['status']}"
    lines = [head + (f" since {traced['since']}" if traced["since"] else "")]
    width = max((len(rule["rule"]) for rule in traced["rules"]), default=0)
    for rule in traced["rules"]:
        lines.append(f" {rule['rule']:{width}}  {_LABELS[rule['verdict']]:8}  {_headline(rule)}".rstrip())
        if full or rule["verdict"] != Verdict.NO.value:
            lines += _tree(rule)
    if full:
        lines += [f" {left['rule']:{width}}  LEFT OUT  {left['why']}" for left in traced["left_out"]]
    lines.append(f"next look: {traced['next_look'] or 'only when something new is heard'}")
    year = _local(traced["at"], zone).year
    return _INSTANT.sub(lambda found: _clock(_local(found[0], zone), year), "\n".join(lines))


def _headline(rule: Json) -> str:
    said = [f"mode {rule['mode']}"] if rule["mode"] != Mode.ENFORCE else []
    if rule["due_since"]:
        said.append(f"due since {rule['due_since']}")
    elif rule["expected"]:
        said.append(f"due {rule['expected']}")
    else:
        said.append(rule["why"])
    if rule["last"]:
        said.append(f"possible until {rule['last']}" + (f" ({rule['last_by']})" if rule["last_by"] else ""))
    return ", ".join(said)


def _tree(rule: Json) -> list[str]:
    rows = [*_rows(rule["when"], "   "), *_rows(rule["unless"], "   unless ")]
    needs = [(guard["demands"], guard) for guard in rule["guards"]]
    needs += [("order settled", rule["settled"]), ("PSC slot out of the way", rule["slot"])]
    if all(condition["now"] == "yes" for condition in rule["when"]):
        needs.append(("hours to act in", rule["hours"]))
    rows += [(f"   needs {text}", _state(part)) for text, part in needs if part["now"] != "yes"]
    if notice := rule["notice"]:
        rows.append((f"   notice {notice['length']} ahead", _told(notice)))
    width = max((len(text) for text, _ in rows), default=0)
    return [f"{text:{width}}  {state}" for text, state in rows]


def _rows(conditions: Iterable[Json], indent: str) -> Iterator[tuple[str, str]]:
    for condition in conditions:
        hint = "   <- this would stop the rule" if condition["now"] == condition["needed"] == "no" else ""
        yield indent + condition["text"], _state(condition) + hint
        yield from _rows(condition["parts"], " " * (len(indent) - len(indent.lstrip()) + 2))


def _state(part: Json) -> str:
    said, needed = part["now"], part.get("needed", "yes")
    if said == needed:
        return str(said)
    if actual := part.get("actual"):
        said += f" ({actual})"
    if part["becomes"]:
        said += f", becomes {'true' if needed == 'yes' else 'false'} {part['becomes']}"
    return str(said)


def _told(notice: Json) -> str:
    if notice["delivered_at"]:
        return f"delivered {notice['delivered_at']}"
    if notice["sent"]:
        return "sent, not delivered yet"
    return f"to be sent {notice['send_at']} for {notice['due_at']}" if notice["send_at"] else "not sent"


def _clock(local: datetime, year: int) -> str:
    # America/New_York says EST or EDT; people there say ET.
    name = re.sub(r"^([A-Z])[SD]T$", r"\1T", local.strftime("%Z"))
    day = f"{local.day} {local:%b}" + ("" if local.year == year else f" {local.year}")
    seconds = f"{local:%H:%M:%S}".removesuffix(":00")
    return f"{day} {seconds} {name}"


def _local(text: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(text).astimezone(zone)


def _text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None
