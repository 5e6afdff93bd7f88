"""Why an order will be, was, or will not be cancelled: the trace of all rules on what the store knows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from workers.core.case import Case
from workers.core.order import Order
from workers.core.plan import plan
from workers.core.replay import as_of
from workers.core.trace import render_text, trace
from workers.services import Active, ActivePolicy
from workers.store import orders
from workers.store.cases import Surroundings, gather


def explain_order(
    connection: Connection, order_id: str, now: datetime, then: datetime | None = None
) -> str | None:
    """The tree for all rules as text, times in the policy's zone; None when the order is not known.

    `then`: as of another time (UTC). What happened to the order after it is covered up; holds, labels and
    decisions are today's.
    """
    active = ActivePolicy().read(connection)
    if active is None:
        return "no policy is active yet: the clock loads it from AUTOCANCEL_POLICY"
    stored = orders.load(connection, [order_id]).get(order_id)
    if stored is None:
        return None
    case = _case(connection, active, stored.order, then or now)
    if then is not None:
        case = as_of(case, then)
    return render_text(trace(active.policy, case, plan(active.policy, case)), active.calendar.zone)


def _case(connection: Connection, active: Active, order: Order, now: datetime) -> Case:
    """By what is stored; nothing is asked or changed."""
    around = Surroundings(
        calendar=active.calendar,
        # Whether this installation may act for it at all is the worker's question; here it may.
        environment=active.policy.environment,
        team_id=order.facts.team_id or "",
        live_since=active.live_since,
        awake_since=None,
    )
    return gather(connection, [order], now, around)[order.id]
