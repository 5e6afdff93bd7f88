"""One order: its way over the map, all that happened to it, and why it was decided on. What one can have done
to it is in order_acts.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, RowMapping
from starlette.responses import Response

from receiver.dashboard.desk import Desk
from receiver.dashboard.hindsight import case_of, missed, trace_of
from receiver.dashboard.lifecycle import Deed, Story, draw, steps
from receiver.dashboard.openings import Verdict, left_word, verdict_of
from receiver.dashboard.outcomes import outcome_of
from receiver.dashboard.page import Address
from receiver.dashboard.rendering import duration
from receiver.dashboard.timeline import KIND_WORDS, KINDS, timeline
from receiver.dashboard.visit import Visit, not_found
from receiver.dashboard.why import Why, why
from workers.core.case import Case
from workers.core.order import Order
from workers.services import Active, ActivePolicy, PolicyNotUnderstood
from workers.store import orders, reads

CARDS = 10  # decisions shown; the list of decisions has all of them

POLICY = ActivePolicy()


@dataclass(frozen=True, slots=True)
class DecisionGroup:
    """Decisions in a row that say the same. `row` is the newest."""

    row: RowMapping
    why: Why
    times: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Fact:
    """What the policy saw when it last decided, and what it would see now."""

    name: str
    then: object
    now: object

    @property
    def changed(self) -> bool:
        return self.then != self.now


@dataclass(frozen=True, slots=True)
class Rows:
    """All that is stored about one order."""

    events: reads.Rows
    deliveries: reads.Rows
    decisions: reads.Rows
    actions: reads.Rows
    attempts: reads.Rows
    audit: reads.Rows
    appointments: reads.Rows
    hold: RowMapping | None


def show_order(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        row = _row(visit, connection)
        rows = _rows(connection, row["id"])
        order = orders.load(connection, [row["id"]])[row["id"]].order
        active = read_policy(connection)
        case = case_of(connection, active, order, visit.now) if active else None
        siblings = reads.siblings_of(connection, row) if row["user_id"] else ()
    traced = why(trace_of(active, case), row["outlook_rule"]) if active and case else None
    verdict = verdict_of(order)
    story = _story(row, rows, order, visit.now, _line(row, verdict, active, case, visit.now))
    shown = visit.query("show") if visit.query("show") in KINDS else ""
    return visit.render(
        "order.html",
        row=row,
        order=order,
        verdict=verdict,
        outcome=outcome_of(row, rows.decisions[0] if rows.decisions else None),
        hold=rows.hold,
        map=draw(story),
        steps=steps(story),
        entries=[entry for entry in _timeline(rows) if shown in {"", entry.kind}],
        kinds=KINDS,
        shown=shown,
        groups=_groups(rows.decisions)[:CARDS],
        count=len(rows.decisions),
        traced=traced,
        facts=_facts(rows.decisions, traced),
        siblings=siblings,
        appointments=rows.appointments,
    )


def read_policy(connection: Connection) -> Active | None:
    """The active policy; None before the first, or when another version of this program accepted it."""
    try:
        return POLICY.read(connection)
    except PolicyNotUnderstood:
        return None


def _row(visit: Visit, connection: Connection) -> RowMapping:
    row = reads.order_row(connection, str(visit.path["id"]))
    if row is None:
        raise not_found("order of that id")
    return row


def _rows(connection: Connection, order_id: str) -> Rows:
    return Rows(
        events=reads.events_of(connection, order_id),
        deliveries=reads.deliveries_of(connection, order_id),
        decisions=reads.decisions_of(connection, order_id),
        actions=reads.actions_of(connection, order_id),
        attempts=reads.attempts_of(connection, order_id),
        audit=reads.audit_of(connection, order_id),
        appointments=reads.appointments_of(connection, order_id),
        hold=reads.hold_of(connection, order_id),
    )


def _timeline(rows: Rows) -> Iterator[Any]:
    """Newest first."""
    return reversed(
        timeline(
            events=rows.events,
            deliveries=rows.deliveries,
            decisions=rows.decisions,
            actions=rows.actions,
            attempts=rows.attempts,
            audit=rows.audit,
            appointments=rows.appointments,
        )
    )


# --- the map -----------------------------------------------------------------------------------------------


def _story(row: RowMapping, rows: Rows, order: Order, now: datetime, line: str) -> Story:
    return Story(
        order=order,
        now=now,
        deeds=tuple(_deeds(row, rows)),
        sources={event["event_id"]: _source(event) for event in rows.events},
        answers=_answers(order, rows.actions, rows.attempts),
        line=line,
    )


def _source(event: Mapping[Any, Any]) -> str:
    return f"webhook {event['delivery_id']}" if event["delivery_id"] else "seen by a look of ours"


def _deeds(row: RowMapping, rows: Rows) -> Iterator[Deed]:
    if rows.hold:
        text = f"held by {rows.hold['actor']}: {rows.hold['reason']}"
        yield Deed("hold", rows.hold["at"], text, href="#hold")
    for action in rows.actions:
        name, href = KIND_WORDS.get(action["kind"], str(action["kind"])), f"#act-{action['id']}"
        if action["sent_at"]:
            yield Deed("call", action["sent_at"], name, action["baseline"], href)
        if action["state"] == "confirmed":
            yield Deed("confirmed", action["changed_at"], f"{name}: confirmed", action["event"], href)
    if row["outlook"] == "will_cancel" and row["outlook_at"]:
        yield Deed("due", row["outlook_at"], f"rule {row['outlook_rule']} is due", href="#facts")


def _answers(order: Order, actions: reads.Rows, attempts: reads.Rows) -> dict[str, str]:
    """What the API said to a cancel, by the status the order had then."""
    names = {event.id: event.status.name for event in order.history.events}
    stood = {action["id"]: names.get(action["baseline"]) for action in actions}
    answered = [tried for tried in attempts if tried["call"] == "cancel_order" and tried["http_status"]]
    return {name: str(tried["http_status"]) for tried in answered if (name := stood.get(tried["action"]))}


def _line(row: RowMapping, verdict: Verdict, active: Active | None, case: Case | None, now: datetime) -> str:
    """What is written at the line: when it was crossed, or how long there still is."""
    crossing = verdict.crossing
    if crossing is not None:
        said = f"{left_word(crossing)} {crossing.at:%d %b %H:%M}"
        late = missed(active, case, crossing) if active and case else None
        return (
            f"{said}, {duration(late.at - crossing.at)} before {late.rule} would have acted" if late else said
        )
    if row["outlook"] == "will_cancel" and row["outlook_at"]:
        left = row["outlook_at"] - now
        return f"{row['outlook_rule']} acts in {duration(left)}" if left.total_seconds() > 0 else ""
    return ""


# --- decisions and facts -----------------------------------------------------------------------------------


def _groups(rows: Sequence[RowMapping]) -> list[DecisionGroup]:
    """Newest first; what was decided the same way again and again is one."""

    def same(row: RowMapping) -> tuple[object, ...]:
        return tuple(row[name] for name in ("verdict", "rule", "reason", "state", "mode", "policy_hash"))

    found = []
    for _, together in groupby(rows, same):
        alike = list(together)
        found.append(
            DecisionGroup(
                row=alike[0],
                why=why(alike[0]["trace"], alike[0]["rule"]),
                times=sum(row["times"] for row in alike),
                first_at=min(row["at"] for row in alike),
                last_at=max(row["last_at"] for row in alike),
            )
        )
    return found


def _facts(rows: Sequence[RowMapping], now: Why | None) -> list[Fact]:
    """The last decision's input beside the present one's."""
    then = why(rows[0]["trace"], None) if rows else None
    found = [
        Fact("status", then and then.status, now and now.status),
        Fact("since", then and then.since, now and now.since),
        Fact("held by a person", then and _word(then.held), now and _word(now.held)),
        Fact("next look", then and then.next_look, now and now.next_look),
    ]
    before, after = _rules(then), _rules(now)
    return [
        *found,
        *(Fact(f"rule {name}", before.get(name), after.get(name)) for name in {**before, **after}),
    ]


def _rules(seen: Why | None) -> dict[str, str]:
    if seen is None:
        return {}
    cards: Iterable[Any] = (*([seen.first] if seen.first else []), *seen.others)
    return {card.rule: f"{card.verdict}: {card.why}" if card.why else card.verdict for card in cards}


def _word(value: bool) -> str:
    return "yes" if value else "no"


# --- for the list of pages ---------------------------------------------------------------------------------


def order_topic(desk: Desk, key: str) -> object:
    with desk.reading() as connection:
        return reads.order_mark(connection, key)


def find_order(connection: Connection, text: str) -> str | None:
    """By the id of itself, its user, an event or a delivery; where several have it, to the list of them."""
    found = reads.list_orders(connection, reads.OrderFilter(text=text), limit=2)
    if len(found) == 1:
        return f"/orders/{found[0]['id']}"
    return f"/orders?{urlencode({'q': text})}" if found else None


ADDRESSES = (Address("/orders/{id}", get=show_order),)
