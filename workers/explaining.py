"""Why an order will be, was, or will not be cancelled: the trace of all rules on what the store knows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from workers.core.outlook import outlook
from workers.core.plan import plan
from workers.core.trace import render_text, trace
from workers.services import Active, ActivePolicy
from workers.store import orders
from workers.store.cases import Surroundings, gather


def explain_order(connection: Connection, order_id: str, now: datetime) -> str | None:
    """The tree for all rules as text, times in the policy's zone; None when the order is not known."""
    active = ActivePolicy().read(connection)
    if active is None:
        return "no policy is active yet: the clock loads it from AUTOCANCEL_POLICY"
    traced = trace_order(connection, active, order_id, now)
    return None if traced is None else render_text(traced, active.calendar.zone)


def trace_order(
    connection: Connection, active: Active, order_id: str, now: datetime
) -> dict[str, Any] | None:
    """The record of an evaluation at `now` (UTC) by what is stored; nothing is asked or changed."""
    stored = orders.load(connection, [order_id]).get(order_id)
    if stored is None:
        return None
    order = stored.order
    around = Surroundings(
        calendar=active.calendar,
        # Whether this installation may act for it at all is the worker's question; here it may.
        environment=active.policy.environment,
        team_id=order.facts.team_id or "",
        live_since=active.live_since,
        awake_since=None,
    )
    case = gather(connection, [order], now, around)[order_id]
    made = plan(active.policy, case)
    return {**trace(active.policy, case, made), "outlook": outlook(made, case).word}
