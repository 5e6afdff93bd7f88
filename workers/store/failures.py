"""Messages that failed for good and rows that were set aside: what broke where, and what became of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge, lt
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, insert, or_, select, update
from sqlalchemy.engine import Row

from workers.store.database import writing
from workers.store.schema import failures

FailureState = Literal["open", "acknowledged", "replayed", "discarded", "resolved"]
UNSETTLED: tuple[FailureState, ...] = ("open", "acknowledged")
TREND_FROM = 5_000  # the newest failures, whatever their cause


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure at `at` (UTC). `error` is a type, `place` a `module:function`, `args` holds ids only."""

    queue: str
    actor: str
    error: str
    place: str
    args: dict[str, Any]
    version: str
    attempts: int
    at: datetime
    message_id: str | None = None
    order_id: str | None = None

    @property
    def fingerprint(self) -> str:
        """The same for failures with the same cause: no line, no text, no value."""
        return f"{self.actor} {self.error} {self.place}"[:200]


@dataclass(frozen=True, slots=True)
class RecordedFailure:
    id: int
    failure: Failure
    state: FailureState
    resolved_at: datetime | None
    resolved_by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one fingerprint in one state. `orders`: how many are affected; `sample`: the newest."""

    fingerprint: str
    size: int
    orders: int
    first_at: datetime
    last_at: datetime
    sample: RecordedFailure


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Which failures are meant; what is left out does not matter. `to` (UTC) is not included any more."""

    fingerprint: str | None = None
    queue: str | None = None
    error: str | None = None
    order_id: str | None = None
    since: datetime | None = None
    to: datetime | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        wanted = (
            (eq, failures.c.fingerprint, self.fingerprint),
            (eq, failures.c.queue, self.queue),
            (eq, failures.c.error, self.error),
            (eq, failures.c.order_id, self.order_id),
            (ge, failures.c.at, self.since),
            (lt, failures.c.at, self.to),
        )
        return [compare(column, value) for compare, column, value in wanted if value is not None]


@dataclass(frozen=True, slots=True)
class FailureLog:
    """The store as the queue's middleware needs it: one transaction a call. Raises what the store raises."""

    engine: Engine

    def record(self, failure: Failure) -> None:
        with writing(self.engine) as connection:
            record_failure(connection, failure)


def record_failure(connection: Connection, failure: Failure) -> int:
    """Adds an open failure; returns its id."""
    row = {
        "message_id": failure.message_id,
        "queue": failure.queue,
        "actor": failure.actor,
        "fingerprint": failure.fingerprint,
        "error": failure.error[:200],
        "place": failure.place[:200],
        "args": failure.args,
        "order_id": failure.order_id,
        "version": failure.version,
        "attempts": failure.attempts,
        "at": failure.at,
        "state": "open",
    }
    new = insert(failures).values(row).returning(failures.c.id)
    return connection.execute(new).scalar_one()  # type: ignore[no-any-return]  # of SQLAlchemy's columns


def list_groups(
    connection: Connection,
    state: FailureState = "open",
    limit: int = 200,
    wanted: FailureFilter = FailureFilter(),
    before: int | None = None,
) -> tuple[FailureGroup, ...]:
    """The groups that have such failures in `state`, the one that failed last first. The next page is
    `before` the id of the last one's sample."""
    newest = (
        select(
            failures.c.fingerprint,
            func.count().label("size"),
            func.count(failures.c.order_id.distinct()).label("orders"),
            func.min(failures.c.at, type_=failures.c.at.type).label("first_at"),
            func.max(failures.c.at, type_=failures.c.at.type).label("last_at"),
            func.max(failures.c.id).label("newest"),
        )
        .where(failures.c.state == state, *wanted.conditions)
        .group_by(failures.c.fingerprint)
        .order_by(func.max(failures.c.id).desc())
        .limit(limit)
    )
    if before is not None:
        newest = newest.having(func.max(failures.c.id) < before)
    groups = newest.subquery("g")
    query = select(failures, *groups.c["size", "orders", "first_at", "last_at"]).join_from(
        groups, failures, failures.c.id == groups.c.newest
    )
    return tuple(
        FailureGroup(row.fingerprint, row.size, row.orders, row.first_at, row.last_at, _recorded(row))
        for row in connection.execute(query.order_by(failures.c.id.desc()))
    )


def list_failures(
    connection: Connection,
    fingerprint: str,
    state: FailureState = "open",
    *,
    before: int | None = None,
    limit: int = 100,
) -> tuple[RecordedFailure, ...]:
    """The rows of a group, newest first; the next page is `before` the last id of this one."""
    query = select(failures).where(failures.c.state == state, failures.c.fingerprint == fingerprint)
    if before is not None:
        query = query.where(failures.c.id < before)
    return tuple(map(_recorded, connection.execute(query.order_by(failures.c.id.desc()).limit(limit))))


def load_failures(connection: Connection, ids: Collection[int]) -> tuple[RecordedFailure, ...]:
    """Those of these ids that exist, oldest first."""
    query = select(failures).where(failures.c.id.in_(ids)).order_by(failures.c.id)
    return tuple(map(_recorded, connection.execute(query)))


def of_message(connection: Connection, message_id: str) -> tuple[RecordedFailure, ...]:
    """Every time a message failed for good, newest first."""
    query = select(failures).where(failures.c.message_id == message_id).order_by(failures.c.id.desc())
    return tuple(map(_recorded, connection.execute(query)))


def unsettled_ids(connection: Connection, wanted: FailureFilter, limit: int) -> list[int]:
    """Such failures that nobody has settled, oldest first."""
    query = select(failures.c.id).where(failures.c.state.in_(UNSETTLED), *wanted.conditions)
    return list(connection.execute(query.order_by(failures.c.id).limit(limit)).scalars())


def count_states(connection: Connection, wanted: FailureFilter = FailureFilter()) -> dict[FailureState, int]:
    """How many such failures are in each state."""
    query = select(failures.c.state, func.count()).where(*wanted.conditions).group_by(failures.c.state)
    return dict(connection.execute(query).all())


def times_by_group(connection: Connection) -> dict[str, list[datetime]]:
    """When the TREND_FROM newest failures happened, by fingerprint."""
    newest = select(failures.c.fingerprint, failures.c.at).order_by(failures.c.id.desc()).limit(TREND_FROM)
    found: dict[str, list[datetime]] = {}
    for row in connection.execute(newest):
        found.setdefault(row.fingerprint, []).append(row.at)
    return found


def resolved_groups(connection: Connection, fingerprints: Collection[str]) -> dict[str, datetime]:
    """Which of these causes were taken for repaired, and when (UTC) last."""
    last = func.max(failures.c.resolved_at, type_=failures.c.resolved_at.type)
    query = (
        select(failures.c.fingerprint, last)
        .where(failures.c.state == "resolved", failures.c.fingerprint.in_(fingerprints))
        .group_by(failures.c.fingerprint)
    )
    return dict(connection.execute(query).all())


def orders_of_group(
    connection: Connection, fingerprint: str, state: FailureState, limit: int
) -> tuple[str, ...]:
    """The orders that its failures in `state` are about, the latest first."""
    query = (
        select(failures.c.order_id)
        .where(
            failures.c.state == state,
            failures.c.fingerprint == fingerprint,
            failures.c.order_id.is_not(None),
        )
        .group_by(failures.c.order_id)
        .order_by(func.max(failures.c.id).desc())
        .limit(limit)
    )
    return tuple(connection.execute(query).scalars())


def versions_of_group(connection: Connection, fingerprint: str) -> tuple[str, ...]:
    """The versions of this program in which it happened."""
    query = select(failures.c.version).where(failures.c.fingerprint == fingerprint).distinct()
    return tuple(connection.execute(query.order_by(failures.c.version)).scalars())


def failed_again(connection: Connection, fingerprint: str) -> int:
    """How many of a group's replayed failures have happened once more since.

    A message that was gone from Redis was replayed as a new one, so a message nobody replayed by its id is
    taken for the replay of whatever carried the same.
    """
    later, known = failures.alias(), failures.alias()
    is_new = (
        ~select(known.c.id).where(known.c.message_id == later.c.message_id, known.c.id < later.c.id).exists()
    )
    carries_the_same = and_(
        later.c.fingerprint == failures.c.fingerprint,
        later.c.args == failures.c.args,
        later.c.at > failures.c.resolved_at,
        is_new,
    )
    query = select(func.count()).where(
        failures.c.state == "replayed",
        failures.c.fingerprint == fingerprint,
        select(later.c.id)
        .where(
            later.c.id > failures.c.id,
            or_(later.c.message_id == failures.c.message_id, carries_the_same),
        )
        .exists(),
    )
    return connection.execute(query).scalar_one()


def settle(
    connection: Connection,
    ids: Collection[int],
    state: FailureState,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> int:
    """Notes what became of failures that nobody settled before; returns how many those were."""
    query = (
        update(failures)
        .where(failures.c.id.in_(ids), failures.c.state.in_(UNSETTLED))
        .values(state=state, resolved_by=actor, reason=reason, resolved_at=now)
    )
    return connection.execute(query).rowcount


def _recorded(row: Row[Any]) -> RecordedFailure:
    failure = Failure(
        queue=row.queue,
        actor=row.actor,
        error=row.error,
        place=row.place,
        args=row.args,
        version=row.version,
        attempts=row.attempts,
        at=row.at,
        message_id=row.message_id,
        order_id=row.order_id,
    )
    return RecordedFailure(row.id, failure, row.state, row.resolved_at, row.resolved_by, row.reason)
