"""What the platform shall be told: written with what it tells of, sent by whoever notifies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from workers.store.dialects import insert_or_ignore
from workers.store.orders import lock
from workers.store.schema import orders, outbox

SCHEDULED = "autocancel.scheduled"  # the notice that some rules give ahead


def notify(
    connection: Connection, key: str, type_: str, order_id: str | None, body: Mapping[str, Any], now: datetime
) -> None:
    """Writes down what the platform shall be told; the same key again is the same news."""
    row = {"key": key, "type": type_, "order_id": order_id, "body": dict(body), "created_at": now}
    connection.execute(insert_or_ignore(connection, outbox), [row])


def delivered(connection: Connection, key: str, now: datetime) -> bool:
    """The platform has it; from now on a notice's time runs, so the order is planned anew. False: it had it
    before, or there is no such news."""
    about = select(outbox.c.order_id).where(outbox.c.key == key)
    order_ids = [id_ for id_ in connection.execute(about).scalars() if id_ is not None]
    lock(connection, order_ids)  # as whoever plans it, who looks for its notices then
    first = outbox.c.delivered_at.is_(None)
    told = update(outbox).where(outbox.c.key == key, first).values(delivered_at=now)
    if connection.execute(told).rowcount == 0:
        return False
    connection.execute(update(orders).where(orders.c.id.in_(order_ids)).values(next_at=now))
    return True
