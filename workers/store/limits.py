"""Counting for the limits, and reserving under them, while the limits' switches are locked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, insert, or_, select, update

from workers.core.limits import DAY, HOUR, Counted
from workers.store.dialects import insert_or_ignore
from workers.store.orders import WAITS, count_open
from workers.store.orders import lock as lock_orders
from workers.store.schema import decisions, figures, orders, reservations

DUE_WORDS = ("will_cancel", "stopped", "clock_skew")  # outlooks of what is due once its time has come
OPEN_ORDERS = "open_orders"  # the series that keeps how many were open when a day began


def count(connection: Connection, rule: str | None, order_id: str, now: datetime) -> Counted:
    """What one rule (None: all) did in the windows, and what is due for it now: `order_id` among the due,
    even if it was reserved for before."""
    mine = [reservations.c.order_id != order_id, *([reservations.c.rule == rule] if rule else [])]
    hour, day = (
        connection.execute(
            select(func.count(reservations.c.order_id.distinct())).where(
                reservations.c.at > now - window, *mine
            )
        ).scalar_one()
        for window in (HOUR, DAY)
    )
    due = select(func.count()).where(
        orders.c.outlook.in_((*DUE_WORDS, WAITS)),
        orders.c.outlook_at <= now,
        or_(orders.c.outlook == WAITS, orders.c.next_at <= now),
        orders.c.id != order_id,
        # Of a rule few are due and many are not, so the index by rule is no way to them: coalesce hides it.
        *([func.coalesce(orders.c.outlook_rule, "") == rule] if rule else []),
    )
    return Counted(hour, day, connection.execute(due).scalar_one() + 1)


def reserve(connection: Connection, rule: str, order_id: str, decision: int, now: datetime) -> None:
    """Counts an order against the limits, in the transaction of its decision."""
    connection.execute(insert(reservations).values(at=now, rule=rule, order_id=order_id, decision=decision))


def open_today(connection: Connection, day_began: datetime) -> int:
    """How many orders were open when the day began; counted when first asked, and kept."""
    kept = select(figures.c.value).where(figures.c.minute == day_began, figures.c.series == OPEN_ORDERS)
    opened: int | None = connection.execute(kept).scalar_one_or_none()
    if opened is None:
        row = {"minute": day_began, "series": OPEN_ORDERS, "value": count_open(connection)}
        connection.execute(insert_or_ignore(connection, figures), [row])
        opened = connection.execute(kept).scalar_one()  # another may have been first
    return opened


def let_go(connection: Connection, rule: str | None, most: int, actor: str, now: datetime) -> list[str]:
    """Held decisions, the oldest first and no more than fit, may be decided again; returns their orders."""
    waiting = [decisions.c.state == "open", decisions.c.verdict == "held"]
    if rule is not None:
        waiting.append(decisions.c.rule == rule)
    held = select(decisions.c.id, decisions.c.order_id).where(*waiting).order_by(decisions.c.id).limit(most)
    first = [row.order_id for row in connection.execute(held)]
    lock_orders(connection, first)  # whoever had one of them may have settled its decision, so look again
    chosen = connection.execute(held.where(decisions.c.order_id.in_(first))).all()
    connection.execute(
        update(decisions)
        .where(decisions.c.id.in_([row.id for row in chosen]))
        .values(state="resumed", key=None, resolved_by=actor, resolved_at=now)
    )
    order_ids = [row.order_id for row in chosen]
    connection.execute(
        update(orders)
        .where(orders.c.id.in_(order_ids))
        .values(next_at=now, woken_until=None, said_at=now)  # it was the limit that made them late
    )
    return order_ids
