"""What people look at: orders, their histories, decisions and actions, as rows ready to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select, tuple_

from workers.store.schema import actions, attempts, decisions, deliveries, order_events, orders

Rows = Sequence[RowMapping]


def order_row(connection: Connection, order_id: str) -> RowMapping | None:
    return connection.execute(select(orders).where(orders.c.id == order_id)).mappings().first()


def recent_orders(connection: Connection, *, before: tuple[Any, str] | None = None, limit: int = 50) -> Rows:
    """The orders that changed last, newest first; the next page is `before` (changed_at, id) of the last."""
    query = select(orders).order_by(orders.c.changed_at.desc(), orders.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(orders.c.changed_at, orders.c.id) < before)
    return connection.execute(query).mappings().all()


def events_of(connection: Connection, order_id: str) -> Rows:
    """The history, oldest first, each with the delivery that brought it."""
    query = (
        select(order_events, deliveries.c.delivery_id, deliveries.c.received_at)
        .join(deliveries, deliveries.c.id == order_events.c.delivery, isouter=True)
        .where(order_events.c.order_id == order_id)
        .order_by(order_events.c.at, order_events.c.event_id)
    )
    return connection.execute(query).mappings().all()


def deliveries_of(connection: Connection, order_id: str) -> Rows:
    query = select(deliveries).where(deliveries.c.order_id == order_id).order_by(deliveries.c.id)
    return connection.execute(query).mappings().all()


def decisions_of(connection: Connection, order_id: str) -> Rows:
    """Newest first."""
    query = select(decisions).where(decisions.c.order_id == order_id).order_by(decisions.c.id.desc())
    return connection.execute(query).mappings().all()


def actions_of(connection: Connection, order_id: str) -> Rows:
    query = select(actions).where(actions.c.order_id == order_id).order_by(actions.c.id)
    return connection.execute(query).mappings().all()


def attempts_of(connection: Connection, order_id: str) -> Rows:
    """Every exchange with Junction about the order's actions, oldest first."""
    query = (
        select(attempts)
        .join(actions, actions.c.id == attempts.c.action)
        .where(actions.c.order_id == order_id)
        .order_by(attempts.c.id)
    )
    return connection.execute(query).mappings().all()
