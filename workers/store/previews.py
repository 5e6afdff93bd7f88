"""The frozen set of rows behind a bulk action: what was shown before is exactly what is done after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from workers.store.schema import previews

VALID_FOR = timedelta(minutes=10)
KEPT_FOR = timedelta(days=1)
MOST_IDS = 10_000


@dataclass(frozen=True, slots=True)
class Preview:
    """`result`: what came of it, once it was done at `done_at` (UTC)."""

    id: str
    actor: str
    action: str
    ids: tuple[Any, ...]
    created_at: datetime
    done_at: datetime | None
    result: Mapping[str, Any] | None


def freeze(
    connection: Connection, preview_id: str, actor: str, action: str, ids: Sequence[int | str], now: datetime
) -> None:
    """Keeps the ids, MOST_IDS of them at most, for VALID_FOR."""
    connection.execute(delete(previews).where(previews.c.created_at <= now - KEPT_FOR))
    connection.execute(
        insert(previews).values(
            id=preview_id, actor=actor, action=action, ids=list(ids[:MOST_IDS]), created_at=now
        )
    )


def load(connection: Connection, preview_id: str, actor: str) -> Preview | None:
    """Somebody's own preview, also when it has been done or is too old to be."""
    query = select(previews).where(previews.c.id == preview_id, previews.c.actor == actor)
    row = connection.execute(query).mappings().first()
    return Preview(**{**row, "ids": tuple(row["ids"])}) if row else None


def claim(connection: Connection, preview_id: str, actor: str, now: datetime) -> Preview | None:
    """Gives the set to the one caller that may act on it; None: done before, too old, or not yours."""
    query = (
        update(previews)
        .where(
            previews.c.id == preview_id,
            previews.c.actor == actor,
            previews.c.done_at.is_(None),
            previews.c.created_at > now - VALID_FOR,
        )
        .values(done_at=now)
    )
    return load(connection, preview_id, actor) if connection.execute(query).rowcount else None


def note_result(connection: Connection, preview_id: str, result: Mapping[str, Any]) -> None:
    connection.execute(update(previews).where(previews.c.id == preview_id).values(result=dict(result)))
