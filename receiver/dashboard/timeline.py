"""Everything that happened to an order, as one list: rows of many tables in, entries out. No database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from receiver.dashboard.lifecycle_maps import label_of
from workers.core.status import Status

Row = Mapping[Any, Any]
Rows = Iterable[Row]

# Every kind of entry, in words: the chips above the list.
KINDS = {
    "status": "Status",
    "webhook": "Webhook",
    "decision": "Decision",
    "call": "Cancel call",
    "operator": "Operator",
    "appointment": "Appointment",
}
ICONS = {
    "status": "dot",
    "webhook": "events",
    "decision": "decisions",
    "call": "cross",
    "operator": "user",
    "appointment": "clock",
}

NEWS_IS_LATE = timedelta(minutes=1)  # a delivery takes seconds; what takes longer was tried before


@dataclass(frozen=True, slots=True)
class Change:
    """One place where two pictures of an order differ; None: it is not there."""

    path: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class Entry:
    """`at`: when it happened, which is where it stands. `heard_at`: when we learned of it, if that was later.
    `after`: since the entry before it."""

    at: datetime
    kind: str
    anchor: str
    label: str
    text: str
    marks: tuple[str, ...] = ()
    heard_at: datetime | None = None
    after: timedelta | None = None
    details: tuple[tuple[str, object], ...] = ()
    changes: tuple[Change, ...] | None = None
    href: str | None = None

    @property
    def icon(self) -> str:
        return ICONS[self.kind]


def timeline(
    *,
    events: Sequence[Row] = (),
    deliveries: Sequence[Row] = (),
    decisions: Rows = (),
    actions: Rows = (),
    attempts: Rows = (),
    audit: Rows = (),
    appointments: Rows = (),
) -> tuple[Entry, ...]:
    """Rows of workers.store.reads, merged by when things happened, oldest first."""
    entries = [
        *_statuses(events),
        *_webhooks(deliveries),
        *(_decision(row) for row in decisions),
        *(_action(row) for row in actions),
        *(_attempt(row) for row in attempts),
        *(_act(row) for row in audit),
        *(_appointment(row) for row in appointments),
    ]
    in_order = sorted(entries, key=lambda entry: (entry.at, entry.heard_at or entry.at, entry.anchor))
    return tuple(_spaced(in_order))


def _spaced(entries: list[Entry]) -> Iterator[Entry]:
    before = None
    for entry in entries:
        yield replace(entry, after=entry.at - before) if before else entry
        before = entry.at


# --- statuses and webhooks ---------------------------------------------------------------------------------


def _statuses(events: Sequence[Row]) -> Iterator[Entry]:
    for place, row in enumerate(events):
        heard_at = row["received_at"] or row["seen_at"]
        marks = []
        if row["delivery"] is None:
            marks.append("synthetic: seen by a look of ours")
        if any(later["seen_at"] < row["seen_at"] for later in events[place + 1 :]):
            marks.append(f"arrived out of order: it belongs in place {place + 1}")
        if Status(row["status"]).entry is None:
            marks.append("a status that nobody knows here")
        yield Entry(
            at=row["at"],
            kind="status",
            anchor=f"ev-{row['event_id']}",
            label=label_of(Status(row["status"]).name),
            text=row["status"],
            marks=tuple(marks),
            heard_at=heard_at if heard_at - row["at"] > NEWS_IS_LATE else None,
            details=_known(event=row["event_id"], detail=row["detail"], delivery=row["delivery_id"]),
        )


_RESULTS = {
    "projected": "folded into the order",
    "no_change": "said nothing new",
    "out_of_order": "told of something older than what was known",
    "unknown_type": "a type that is not ours",
}


def _webhooks(deliveries: Sequence[Row]) -> Iterator[Entry]:
    before: Mapping[str, Any] | None = None
    for row in deliveries:
        body = row["body"]
        yield Entry(
            at=row["signed_at"],
            kind="webhook",
            anchor=f"del-{row['id']}",
            label=row["event_type"] or "webhook",
            text=_RESULTS.get(row["result"], row["result"] or "not worked on yet"),
            marks=tuple(_marks(row)),
            heard_at=row["received_at"] if row["received_at"] - row["signed_at"] > NEWS_IS_LATE else None,
            details=_known(
                delivery=row["delivery_id"],
                verified=f"signature by secret {row['secret_label']}",
                state=row["state"],
                attempts=row["attempts"],
                error=row["error"],
            ),
            changes=tuple(differences(before, body)) if body is not None and before is not None else None,
        )
        before = body if body is not None else before


def _marks(delivery: Row) -> Iterator[str]:
    if delivery["duplicates"]:
        times = "once" if delivery["duplicates"] == 1 else f"{delivery['duplicates']} times"
        yield f"duplicate: came {times} more and was ignored"
    if delivery["result"] == "out_of_order":
        yield "arrived out of order"
    if delivery["result"] == "no_change":
        yield "replayed: the same content under a new id"


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[Change]:
    """What one picture says differently from another, leaf by leaf."""
    old, new = dict(_leaves(before or {})), dict(_leaves(after))
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            yield Change(path, old.get(path), new.get(path))


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    match value:
        case Mapping():
            for key, inner in value.items():
                yield from _leaves(inner, f"{path}.{key}" if path else str(key))
        case list():
            for index, inner in enumerate(value):
                # An event is known by its id, so that one more in the middle does not change all that follow.
                own = inner.get("id", index) if isinstance(inner, Mapping) else index
                yield from _leaves(inner, f"{path}[{own}]")
        case _:
            yield path, value


# --- decisions and what they did ---------------------------------------------------------------------------


def _decision(row: Row) -> Entry:
    times = f", {row['times']} times until {row['last_at']:%d %b %H:%M}" if row["times"] > 1 else ""
    return Entry(
        at=row["at"],
        kind="decision",
        anchor=f"dec-{row['id']}",
        label=f"{row['verdict']}: {row['rule']}" if row["rule"] else row["verdict"],
        text=row["reason"] + times,
        marks=("shadow",) if row["space"] == "shadow" else (),
        details=_known(
            state=row["state"], mode=row["mode"], trigger=row["trigger"], policy=row["policy_hash"]
        ),
        href=f"/decisions/{row['id']}",
    )


KIND_WORDS = {
    "cancel_order": "cancel order",
    "cancel_psc_appointment": "cancel PSC appointment",
    "cancel_home_visit": "cancel home visit",
}


def _action(row: Row) -> Entry:
    return Entry(
        at=row["sent_at"] or row["created_at"],
        kind="call",
        anchor=f"act-{row['id']}",
        label=KIND_WORDS.get(row["kind"]) or str(row["kind"]),
        text=f"{row['state']}: {row['reason']}" if row["reason"] else row["state"],
        details=_known(target=row["target"], calls=row["posts"], answer=row["answer"], next=row["next_at"]),
        href=f"/decisions/{row['decision']}",
    )


def _attempt(row: Row) -> Entry:
    status = f" → {row['http_status']}" if row["http_status"] else ""
    took = f" in {row['latency_ms']} ms" if row["latency_ms"] is not None else ""
    return Entry(
        at=row["at"],
        kind="call",
        anchor=f"att-{row['id']}",
        label=str(row["call"]),
        text=f"{row['outcome']}{status}{took}",
    )


# --- people and appointments -------------------------------------------------------------------------------


def _act(row: Row) -> Entry:
    return Entry(
        at=row["at"],
        kind="operator",
        anchor=f"aud-{row['id']}",
        label=f"{row['action'].replace('_', ' ')} by {row['actor']}",
        text=row["reason"] or "",
        details=_known(before=row["before"], after=row["after"], role=row["role"]),
    )


def _appointment(row: Row) -> Entry:
    start = f", starts {row['start_at']:%d %b %Y %H:%M} UTC" if row["start_at"] else ""
    return Entry(
        at=row["changed_at"],
        kind="appointment",
        anchor=f"apt-{row['id']}",
        label=f"Appointment {row['status']}",
        text=f"{row['kind'].replace('_', ' ')}{start}",
        heard_at=row["observed_at"] if row["observed_at"] - row["changed_at"] > NEWS_IS_LATE else None,
        details=_known(appointment=row["id"], provider=row["provider"], zone=row["zone"], end=row["end_at"]),
    )


def _known(**details: object) -> tuple[tuple[str, object], ...]:
    return tuple((name, value) for name, value in details.items() if value not in (None, "", 0))
