"""What the store tells about itself: its size, how far back it remembers, how its clock runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, select, text

from workers.store.schema import audit, decisions, deliveries, figures, policies, rejections


@dataclass(frozen=True, slots=True)
class Database:
    """`size` in bytes."""

    kind: str
    version: str
    size: int


def database(connection: Connection) -> Database:
    if connection.dialect.name == "sqlite":
        pages, of = (
            connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size")
        )
        return Database(
            "SQLite", connection.execute(text("SELECT sqlite_version()")).scalar_one(), pages * of
        )
    size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    return Database("PostgreSQL", connection.execute(text("SHOW server_version")).scalar_one(), size)


def oldest(connection: Connection) -> dict[str, datetime | None]:
    """Since when each kind of row is there; None: there is none."""
    columns = {
        "Deliveries": deliveries.c.received_at,
        "Requests turned away": rejections.c.minute,
        "Decisions": decisions.c.at,
        "Figures for charts": figures.c.minute,
        "Audit": audit.c.at,
    }
    return {
        name: connection.execute(select(func.min(column, type_=column.type))).scalar_one()
        for name, column in columns.items()
    }


def policy_history(connection: Connection, limit: int = 20) -> list[RowMapping]:
    """Every policy that was in force, the newest first, without its text."""
    columns = [column for column in policies.c if column.name != "text"]
    query = select(*columns).order_by(policies.c.generation.desc()).limit(limit)
    return list(connection.execute(query).mappings())
