"""Opening the store: one engine for SQLite (embedded) and PostgreSQL, set so that a commit is durable.

No tables here (schema.py) and no queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Literal
from weakref import WeakKeyDictionary

from sqlalchemy import BigInteger, Connection, DateTime, Dialect, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.types import TypeDecorator, TypeEngine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Utc(TypeDecorator[datetime]):
    """An aware UTC time. PostgreSQL keeps a timestamptz; SQLite, which has none, whole microseconds."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone reached the store")
        return (value - EPOCH) // MICROSECOND if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        time: datetime = EPOCH + value * MICROSECOND if dialect.name == "sqlite" else value.astimezone(UTC)
        return time


def open_store(url: str, *, wait: float = 5.0, pool_size: int = 8) -> Engine:
    """An engine for `sqlite:///path` or `postgresql+psycopg://…` (`postgres://` is accepted too).

    `wait`: seconds to wait for a connection, a lock or SQLite's writer before giving up.
    Bound values never appear in errors (`hide_parameters`): they may hold what a log must not.
    """
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed, hide_parameters=True, connect_args={"timeout": wait, "check_same_thread": False}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        parsed,
        hide_parameters=True,
        pool_size=pool_size,
        pool_timeout=wait,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": max(2, int(wait)),
            # A network that is cut in silence shall be noticed in seconds, not when the system gives up.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": int(wait * 1000),
            "options": f"-c timezone=UTC -c synchronous_commit=on -c lock_timeout={int(wait * 1000)}",
        },
    )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # pysqlite must not open transactions behind our back
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns into a writer half-way fails at once with "database is locked", however long the
    # time-out; whoever will write says so at the start (`writing`).
    mode = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


# Locked, gone, restarting: nobody's fault, and worth another try.
TROUBLE = (OperationalError, InterfaceError, PoolTimeout)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that will write: SQLite takes its writer's lock now, PostgreSQL as rows are touched."""
    with (
        _turn(engine),
        engine.connect().execution_options(begin="IMMEDIATE") as connection,
        connection.begin(),
    ):
        yield connection


def _turn(engine: Engine) -> AbstractContextManager[object]:
    """SQLite makes writers wait by polling: of many threads some would starve until they are told that the
    database is locked. So those of one process queue here."""
    return _turns.setdefault(engine, Lock()) if engine.dialect.name == "sqlite" else nullcontext()


_turns: WeakKeyDictionary[Engine, Lock] = WeakKeyDictionary()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that only reads, so all its queries see the same state (SQLite: one snapshot)."""
    isolation: Literal["REPEATABLE READ"] = "REPEATABLE READ"
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level=isolation, postgresql_readonly=True)
        with connection.begin():
            yield connection


def store_time(connection: Connection) -> datetime:
    """The database's clock, UTC: hosts may disagree, so the store is asked where it matters."""
    if connection.dialect.name == "sqlite":
        seconds: float = connection.execute(
            text("SELECT (julianday('now') - 2440587.5) * 86400.0")
        ).scalar_one()
        return EPOCH + timedelta(seconds=seconds)
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now.astimezone(UTC)
