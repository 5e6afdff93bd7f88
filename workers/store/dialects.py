"""What SQLite and PostgreSQL spell alike but SQLAlchemy keeps apart, and a lock that only one needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from sqlalchemy import Connection, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert


def insert(connection: Connection, table: Table) -> PostgresInsert | SqliteInsert:
    """An INSERT that knows ON CONFLICT."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def insert_or_ignore(connection: Connection, table: Table) -> PostgresInsert | SqliteInsert:
    """Rows whose key exists are left as they are."""
    return insert(connection, table).on_conflict_do_nothing()


def upsert(connection: Connection, table: Table, changing: Iterable[str]) -> PostgresInsert | SqliteInsert:
    """Rows whose primary key exists get the new values of the `changing` columns."""
    statement = insert(connection, table)
    return statement.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key],
        set_={name: statement.excluded[name] for name in changing},
    )


def lock_names(connection: Connection, names: Iterable[str]) -> None:
    """Takes one lock a name until the transaction ends, for what has no row yet that could be locked. Always
    in the same order, so nobody waits in a circle. SQLite has a single writer: nothing to do."""
    if connection.dialect.name != "postgresql":
        return
    keys = sorted({int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True) for name in names})
    if keys:
        lock = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")
        connection.execute(lock, {"keys": keys})
