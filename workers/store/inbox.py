"""The inbox: every verified delivery, once, from before its sender is told 202 until its id may be forgotten.

The receiver's side records; the workers' side takes, finishes and tidies up. Nothing here looks into a body.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from workers.store.database import writing
from workers.store.schema import deliveries, rejections

MAX_ATTEMPTS = 3
GRACE = timedelta(seconds=30)  # a message gets to a worker long before; until then the sweep need not look

REFILLABLE = ("unreadable", "quarantined")
FINISHED = ("done", "ignored")
IGNORED = frozenset({"unknown_type", "no_order"})  # results that say: nothing in it for us

# What a database says to a value it cannot store, and its driver to one it cannot send.
REFUSED = (DataError, IntegrityError, ValueError, OverflowError)

Store = Engine  # for those who hand a store on without speaking SQL

State = Literal["new", "unreadable", "foreign"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified delivery as it is to be stored; `size` (bytes) and `sha256` (hex) are of the raw body."""

    delivery_id: str
    signed_at: datetime
    secret_label: str
    size: int
    sha256: str
    state: State
    event_type: str | None = None
    team_id: str | None = None
    order_id: str | None = None
    body: Mapping[str, Any] | None = None


ARRIVAL_COLUMNS = tuple(field.name for field in fields(Arrival))


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of an arrival; when it `waits` for a worker, its row's `id` should be announced."""

    id: int
    outcome: Literal["accepted", "duplicate"]
    waits: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row in a worker's hands."""

    id: int
    delivery_id: str
    received_at: datetime
    signed_at: datetime
    event_type: str | None
    order_id: str | None
    body: Mapping[str, Any]
    attempts: int  # this one included


@dataclass(frozen=True, slots=True)
class Taken:
    """`rows` are leased to the caller, `quarantined` were set aside just now, `left` are to be taken next."""

    rows: list[Delivery]
    quarantined: list[int]
    left: list[int]


# --- the receiver's side ---------------------------------------------------------------------------------


def check(store: Store) -> None:
    """Raises what the database raises if the inbox cannot be written to, or lacks a column we know of."""
    with writing(store) as connection:
        connection.execute(select(deliveries).limit(0))


def commit(store: Store, arrivals: Sequence[Arrival], now: datetime) -> list[Recorded]:
    """Records a batch in one transaction, durable on return; one answer an arrival, in their order.

    An arrival that the database will not have, for a reason nobody foresaw, is stored without its content as
    unreadable: it neither spoils its batch nor comes back for a day. Other errors of the database are raised;
    then part of the batch may be stored, which is harmless: sent again, it counts as a duplicate.
    """
    try:
        with writing(store) as connection:
            return record(connection, arrivals, now)
    except REFUSED:
        return [_commit_alone(store, arrival, now) for arrival in arrivals]


def _commit_alone(store: Store, arrival: Arrival, now: datetime) -> Recorded:
    try:
        with writing(store) as connection:
            return record(connection, [arrival], now)[0]
    except REFUSED:
        bare = replace(arrival, state="unreadable", event_type=None, team_id=None, order_id=None, body=None)
        with writing(store) as connection:
            return record(connection, [bare], now)[0]


def commit_rejections(store: Store, counts: Mapping[tuple[datetime, str], int], now: datetime) -> None:
    """`count_rejections` in a transaction of its own; none if there is nothing to count."""
    if counts:
        with writing(store) as connection:
            count_rejections(connection, counts, now)


def record(connection: Connection, arrivals: Sequence[Arrival], now: datetime) -> list[Recorded]:
    """Stores the arrivals that are new, counts the others as duplicates; one answer each, in their order.

    A readable resend of a row that is unreadable or quarantined fills that row again, so that it is worked on
    as if it had just come. Any other duplicate changes nothing but its counters.
    """
    first = {arrival.delivery_id: arrival for arrival in reversed(arrivals)}
    accepted = _insert_new(connection, first.values(), now)
    repeats = Counter(arrival.delivery_id for arrival in arrivals) - Counter(accepted.keys())
    known = _known(connection, repeats)
    refilled = {name for name, row in known.items() if row.state in REFILLABLE and first[name].state == "new"}
    for name in refilled:
        _refill(connection, first[name], now)
    _count_duplicates(connection, repeats, now)
    answers = []
    for arrival in arrivals:
        name = arrival.delivery_id
        if name in accepted:
            answers.append(Recorded(accepted.pop(name), "accepted", waits=arrival.state == "new"))
        else:
            answers.append(Recorded(known[name].id, "duplicate", waits=name in refilled))
    return answers


def _insert_new(connection: Connection, arrivals: Iterable[Arrival], now: datetime) -> dict[str, int]:
    # In one order everywhere, or two receivers with the same deliveries could each wait for the other's row.
    in_order = sorted(arrivals, key=lambda arrival: arrival.delivery_id)
    if not in_order:
        return {}
    statement = _insert(connection, deliveries).on_conflict_do_nothing(index_elements=["delivery_id"])
    inserted = connection.execute(
        statement.returning(deliveries.c.delivery_id, deliveries.c.id),
        [{**_values(arrival), "received_at": now} for arrival in in_order],
    )
    return {row.delivery_id: row.id for row in inserted}


def _values(arrival: Arrival) -> dict[str, Any]:
    return {name: getattr(arrival, name) for name in ARRIVAL_COLUMNS}


def _known(connection: Connection, names: Mapping[str, int]) -> dict[str, Row[str, int, str]]:
    if not names:
        return {}
    query = (
        select(deliveries.c.delivery_id, deliveries.c.id, deliveries.c.state)
        .where(deliveries.c.delivery_id.in_(names))
        .order_by(deliveries.c.id)  # as workers lock them
        .with_for_update()
    )
    return {row.delivery_id: row for row in connection.execute(query)}


def _refill(connection: Connection, arrival: Arrival, now: datetime) -> None:
    afresh = {"attempts": 0, "leased_until": None, "error": None, "result": None, "finished_at": None}
    connection.execute(
        update(deliveries)
        .where(deliveries.c.delivery_id == arrival.delivery_id)
        .values(**_values(arrival), **afresh, received_at=now)
    )


def _count_duplicates(connection: Connection, repeats: Mapping[str, int], now: datetime) -> None:
    if repeats:
        connection.execute(
            update(deliveries)
            .where(deliveries.c.delivery_id == bindparam("name"))
            .values(duplicates=deliveries.c.duplicates + bindparam("times"), last_duplicate_at=now),
            [{"name": name, "times": times} for name, times in sorted(repeats.items())],
        )


def count_rejections(
    connection: Connection, counts: Mapping[tuple[datetime, str], int], now: datetime
) -> None:
    """Adds to the counters of requests turned away; a key is the minute and the reason."""
    statement = _insert(connection, rejections)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["minute", "reason"],
            set_={"count": rejections.c.count + statement.excluded.count, "last_at": now},
        ),
        [
            {"minute": minute, "reason": reason, "count": count, "last_at": now}
            for (minute, reason), count in sorted(counts.items())
        ],
    )


# --- the workers' side -----------------------------------------------------------------------------------


def take(connection: Connection, ids: Sequence[int], now: datetime, lease: timedelta) -> Taken:
    """Leases rows to the caller until `now + lease`. Commit before handling them, or a death is not counted.

    Only rows in state new that nobody else holds are taken. The attempt is counted here, before anything can
    go wrong, so that a row which kills its process is known by its attempts afterwards. Rows never tried are
    taken together. A row tried before is a suspect: it is taken alone, when no untried ones are left, and the
    other suspects stay free. So a death over a batch makes suspects of all its rows, but the next costs an
    attempt only to the row that caused it, and the others get through singly. After MAX_ATTEMPTS a row is
    set aside. Whoever takes goes on until nothing is left:

        left: Sequence[int] = ids
        while left:
            taken = take(connection, left, now, lease)
            ...
            left = taken.left
    """
    rows = _free(connection, ids, now)
    worn_out = [row.id for row in rows if row.attempts >= MAX_ATTEMPTS]
    suspects = [row for row in rows if 0 < row.attempts < MAX_ATTEMPTS]
    fresh = [row for row in rows if row.attempts == 0]
    chosen = fresh or suspects[:1]
    held = {row.id for row in chosen}
    for row_id in worn_out:
        quarantine(connection, row_id, f"not finished in {MAX_ATTEMPTS} attempts", now)
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(held))
        .values(attempts=deliveries.c.attempts + 1, leased_until=now + lease)
    )
    return Taken(
        rows=[_delivery(row) for row in chosen],
        quarantined=worn_out,
        left=[row.id for row in suspects if row.id not in held],
    )


def _free(connection: Connection, ids: Sequence[int], now: datetime) -> Sequence[Row[Any]]:
    query = (
        select(deliveries)
        .where(deliveries.c.id.in_(ids), deliveries.c.state == "new", _nobody_holds_it(now))
        .order_by(deliveries.c.id)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(query).all()


def _nobody_holds_it(now: datetime) -> ColumnElement[bool]:
    return or_(deliveries.c.leased_until.is_(None), deliveries.c.leased_until <= now)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        delivery_id=row.delivery_id,
        received_at=row.received_at,
        signed_at=row.signed_at,
        event_type=row.event_type,
        order_id=row.order_id,
        body=row.body,
        attempts=row.attempts + 1,
    )


def finish(connection: Connection, results: Mapping[int, str], now: datetime) -> None:
    """Closes rows, each with its result. Twice is harmless: a row is closed once, by whoever comes first."""
    if not results:
        return
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == bindparam("row"), deliveries.c.state == "new")
        .values(
            state=bindparam("closed_as"),
            result=bindparam("why"),
            leased_until=None,
            error=None,
            finished_at=now,
        ),
        [
            {"row": row_id, "closed_as": "ignored" if result in IGNORED else "done", "why": result}
            for row_id, result in sorted(results.items())
        ],
    )


def release(connection: Connection, row_id: int, error: str, retry_at: datetime) -> None:
    """Gives a row back after a failure that was handled; nobody takes it before `retry_at`.

    `error`: type and place, never a value. The attempt stays counted: what fails as often as MAX_ATTEMPTS is
    set aside, whether it raises or kills.
    """
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == row_id, deliveries.c.state == "new")
        .values(leased_until=retry_at, error=error[:200])
    )


def quarantine(connection: Connection, row_id: int, error: str, now: datetime) -> None:
    """Sets a row aside until somebody has it sent again. An error it already has is kept: it says more."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == row_id, deliveries.c.state == "new")
        .values(
            state="quarantined",
            leased_until=None,
            error=func.coalesce(deliveries.c.error, error[:200]),
            finished_at=now,
        )
    )


def reopen(connection: Connection, ids: Collection[int]) -> int:
    """Rows that were set aside are worked on as if they had just come; returns how many."""
    query = (
        update(deliveries)
        .where(deliveries.c.id.in_(ids), deliveries.c.state == "quarantined")
        .values(state="new", attempts=0, leased_until=None, result=None, error=None, finished_at=None)
    )
    return connection.execute(query).rowcount


def unfinished(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Rows whose lease ran out, or that nobody took though they came longer than GRACE ago; oldest first."""
    forgotten = and_(deliveries.c.leased_until.is_(None), deliveries.c.received_at <= now - GRACE)
    query = (
        select(deliveries.c.id)
        .where(deliveries.c.state == "new", or_(forgotten, deliveries.c.leased_until <= now))
        .order_by(deliveries.c.id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def scrub(connection: Connection, older_than: datetime, limit: int) -> int:
    """Forgets what finished rows said, keeps that they came; returns how many rows it was."""
    old = (
        select(deliveries.c.id)
        .where(
            deliveries.c.state.in_(FINISHED),
            deliveries.c.received_at < older_than,
            deliveries.c.body.is_not(None),
        )
        .order_by(deliveries.c.received_at)
        .limit(limit)
    )
    return connection.execute(update(deliveries).where(deliveries.c.id.in_(old)).values(body=null())).rowcount


def prune(connection: Connection, older_than: datetime, limit: int) -> int:
    """Forgets rows altogether; returns how many. `older_than`: at least 90 days ago, because as long may a
    delivery be sent again, and without its id it would pass for a new one. Waiting rows stay, however old; so
    does the last row, which tells how far the numbering has come (watermark.py).
    """
    last = select(func.max(deliveries.c.id)).scalar_subquery()
    old = (
        select(deliveries.c.id)
        .where(deliveries.c.state != "new", deliveries.c.received_at < older_than, deliveries.c.id < last)
        .order_by(deliveries.c.received_at)
        .limit(limit)
    )
    return connection.execute(delete(deliveries).where(deliveries.c.id.in_(old))).rowcount


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    # Both say ON CONFLICT in the same words, but SQLAlchemy has no common insert for them.
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
