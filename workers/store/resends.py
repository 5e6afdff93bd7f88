"""Spans of time for which Junction is to send its events again. They are previews that somebody confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, func, select

from workers.store.previews import note_result
from workers.store.schema import deliveries, previews

ACTION = "events:resend"
ORDERS_KEPT = 500  # of those that Junction names; for the rest only their number

State = Literal["asked", "waiting", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Resend:
    """What `actor` asked for at `asked_at`: events from `since` to `until` (all UTC).

    `state`: `waiting` while Junction has not agreed, `done` when it has, `failed` when it will not.
    `outcome`: in the words of the exchange. `orders`: how many Junction will tell of, `order_ids`: the first.
    """

    id: str
    actor: str
    since: datetime
    until: datetime
    asked_at: datetime
    state: State
    outcome: str
    orders: int
    order_ids: tuple[str, ...]

    @property
    def is_settled(self) -> bool:
        return self.state in {"done", "failed"}


def find(connection: Connection, resend_id: str) -> Resend | None:
    """Only what was confirmed."""
    row = connection.execute(_confirmed().where(previews.c.id == resend_id)).mappings().first()
    return _resend(row) if row else None


def latest(connection: Connection, limit: int = 10) -> tuple[Resend, ...]:
    """As long as previews are kept, newest first."""
    rows = connection.execute(_confirmed().order_by(previews.c.done_at.desc()).limit(limit)).mappings()
    return tuple(map(_resend, rows))


def note(
    connection: Connection, resend_id: str, state: State, outcome: str, orders: Sequence[str] = ()
) -> None:
    result = {"state": state, "outcome": outcome, "orders": len(orders), "ids": list(orders[:ORDERS_KEPT])}
    note_result(connection, resend_id, result)


def arrived(connection: Connection, resend: Resend) -> int:
    """Of how many of its `order_ids` something has come since it was asked for."""
    query = select(func.count(deliveries.c.order_id.distinct())).where(
        deliveries.c.order_id.in_(resend.order_ids), deliveries.c.received_at >= resend.asked_at
    )
    return connection.execute(query).scalar_one()


def _confirmed() -> Any:
    return select(previews).where(previews.c.action == ACTION, previews.c.done_at.is_not(None))


def _resend(row: RowMapping) -> Resend:
    since, until = map(datetime.fromisoformat, row["ids"])
    result: Mapping[str, Any] = row["result"] or {}
    return Resend(
        id=row["id"],
        actor=row["actor"],
        since=since,
        until=until,
        asked_at=row["done_at"],
        state=result.get("state", "asked"),
        outcome=result.get("outcome", ""),
        orders=result.get("orders", 0),
        order_ids=tuple(result.get("ids", ())),
    )
