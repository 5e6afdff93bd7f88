"""What an active policy sees in a stored order, and what it would have done had the order not moved on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from workers.core.case import Case
from workers.core.history import Event, History
from workers.core.order import Order
from workers.core.outlook import outlook
from workers.core.plan import plan
from workers.core.trace import trace
from workers.services import Active
from workers.store.cases import Surroundings, gather

JUST_BEFORE = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Missed:
    """A rule that would have acted at `at`, when the order crossed the line before it."""

    rule: str
    at: datetime


def case_of(connection: Connection, active: Active, order: Order, now: datetime) -> Case:
    """Whether this installation may act for the order at all is the worker's question; here it may."""
    around = Surroundings(
        calendar=active.calendar,
        environment=active.policy.environment,
        team_id=order.facts.team_id or "",
        live_since=active.live_since,
        awake_since=None,
    )
    return gather(connection, [order], now, around)[order.id]


def trace_of(active: Active, case: Case) -> dict[str, Any]:
    """The trace of all rules (workers.core.trace), with the plan's word for lists."""
    made = plan(active.policy, case)
    return {**trace(active.policy, case, made), "outlook": outlook(made, case).word}


def missed(active: Active, case: Case, crossing: Event) -> Missed | None:
    """The rule that was on its way when the order crossed the line: planned on what was known just before."""
    order, now = case.order, crossing.at - JUST_BEFORE
    then = replace(
        order,
        history=History(tuple(event for event in order.history.events if event.place < crossing.place)),
        facts=replace(order.facts, outbound_tracking=False, updated_at=now, observed_at=now),
    )
    if then.last is None:
        return None
    coming = plan(active.policy, replace(case, order=then, now=now, cancel_confirmed=False)).next_rule
    return Missed(coming.rule.name, coming.expected) if coming and coming.expected else None
