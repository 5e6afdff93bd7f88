"""Counting for the limits, and reserving under them, while the scope's control row is locked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from workers.core.limits import DAY, HOUR, Counted
from workers.store.dialects import insert_or_ignore
from workers.store.orders import count_open
from workers.store.schema import controls, decisions, figures, orders, reservations

OPEN_ORDERS = "open_orders"  # the series that keeps how many were open when a day began


def lock(connection: Connection, scopes: list[str], now: datetime) -> dict[str, str]:
    """Takes the control rows of these scopes for this transaction; returns the tripped ones, with why."""
    rows = [
        {"name": name, "state": "off", "at": now, "actor": "engine", "reason": ""} for name in sorted(scopes)
    ]
    connection.execute(insert_or_ignore(connection, controls), rows)
    locked = select(controls).where(controls.c.name.in_(scopes)).order_by(controls.c.name).with_for_update()
    return {row.name: row.reason for row in connection.execute(locked) if row.state == "on"}


def count(connection: Connection, rule: str | None, order_id: str, now: datetime) -> Counted:
    """What one rule (None: all) did in the windows, and what is due for it now, `order_id` included."""
    mine = [reservations.c.rule == rule] if rule else []
    hour, day = (
        connection.execute(
            select(func.count(reservations.c.order_id.distinct())).where(
                reservations.c.at > now - window, *mine
            )
        ).scalar_one()
        for window in (HOUR, DAY)
    )
    due = select(func.count()).where(
        orders.c.next_at <= now,
        orders.c.outlook == "will_cancel",
        orders.c.outlook_at <= now,
        orders.c.id != order_id,
        *([orders.c.outlook_rule == rule] if rule else []),
    )
    return Counted(hour, day, connection.execute(due).scalar_one() + 1)


def reserve(connection: Connection, rule: str, order_id: str, decision: int, now: datetime) -> None:
    """Counts an order against the limits, in the transaction of its decision."""
    connection.execute(insert(reservations).values(at=now, rule=rule, order_id=order_id, decision=decision))


def open_today(connection: Connection, day_began: datetime) -> int:
    """How many orders were open when the day began; counted when first asked, and kept."""
    row = {"minute": day_began, "series": OPEN_ORDERS, "value": count_open(connection)}
    connection.execute(insert_or_ignore(connection, figures), [row])
    kept = select(figures.c.value).where(figures.c.minute == day_began, figures.c.series == OPEN_ORDERS)
    opened: int = connection.execute(kept).scalar_one()
    return opened


def let_go(connection: Connection, rule: str | None, most: int, actor: str, now: datetime) -> list[str]:
    """Held decisions, the oldest first and no more than fit, may be decided again; returns their orders."""
    held = (
        select(decisions.c.id, decisions.c.order_id)
        .where(
            decisions.c.state == "open",
            decisions.c.verdict == "held",
            *([decisions.c.rule == rule] if rule else []),
        )
        .order_by(decisions.c.id)
        .limit(most)
    )
    chosen = connection.execute(held).all()
    connection.execute(
        update(decisions)
        .where(decisions.c.id.in_([row.id for row in chosen]))
        .values(state="resumed", key=None, resolved_by=actor, resolved_at=now)
    )
    order_ids = [row.order_id for row in chosen]
    connection.execute(update(orders).where(orders.c.id.in_(order_ids)).values(next_at=now, woken_until=None))
    return order_ids
