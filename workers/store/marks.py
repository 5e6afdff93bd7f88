"""How far the store's own numbering has come."""

from __future__ import annotations

from sqlalchemy import Connection, func, literal, select, union_all

from workers.store.schema import actions, audit, decisions, deliveries

NUMBERED = (deliveries, decisions, actions, audit)  # never all deleted, numbered by the store


def heights(connection: Connection) -> dict[str, int]:
    """The highest number given so far, by table; 0 for an empty one."""
    queries = [
        select(func.coalesce(func.max(table.c.id), 0).label("height"), literal(table.name).label("name"))
        for table in NUMBERED
    ]
    return {row.name: row.height for row in connection.execute(union_all(*queries))}
