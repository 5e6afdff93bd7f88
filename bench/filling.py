"""A store as it looks after half a year, of any size: a few orders go through the engine, and their rows are
copied under other ids and at other times until there are enough. SQLite, in one transaction."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Engine, Table, insert, text

from bench.deliveries import arrival, deliveries
from bench.engine import engine, now
from bench.histories import cases
from bench.planning import the_example
from workers.core.case import Case
from workers.core.history import Event, History
from workers.core.order import Order
from workers.core.plan import plan
from workers.core.policy import Policy
from workers.core.trace import trace
from workers.messages import QUEUES
from workers.projecting import project
from workers.store import decisions, inbox, schema
from workers.store.database import EPOCH, MICROSECOND, Utc, open_store, writing
from workers.store.decisions import Decision
from workers.store.failures import Failure, record_failure
from workers.store.migrate import upgrade
from workers.store.processes import add_figures

SEEDS = 2_000  # orders that go through the engine
DECIDED = 10  # one order in so many has a decision
SPREAD = timedelta(days=1)  # copies of one order lie at most so far apart
BODIES, IDS = timedelta(days=30), timedelta(days=120)  # for as long are deliveries kept
CHUNK = 20_000  # rows at a time

# Verdicts and states of decisions, by how often they are seen.
ENDINGS = (
    *[("cancel", "confirmed")] * 40,
    *[("shadow", "final")] * 30,
    *[("keep", "final")] * 15,
    *[("wait", "final")] * 10,
    *[("cancel", "refused")] * 4,
    ("review", "open"),
)

Say = Callable[[str], None]
Row = tuple[Any, ...]


def fill(path: Path, orders: int, say: Say) -> None:
    """A new database at `path` with so many orders, about ten events each, and all that belongs to them."""
    seeds = min(SEEDS, max(orders // 5, 1))
    store = open_store(f"sqlite:///{path}")
    upgrade(store)
    say(f"{seeds:,} orders through the engine")
    at = now()
    _seed(store, seeds, at)
    _around(store, at, orders)
    store.dispose()
    _copy(path, orders // seeds, at, say)


# --- the orders that are copied -----------------------------------------------------------------------------


def _seed(store: Engine, count: int, at: datetime) -> None:
    policy, random = the_example(), Random(3)
    found = [replace(case, order=_talkative(case.order, at)) for case in cases(policy, count, at)]
    told = sorted(
        (one for case in found for one in deliveries(random, case.order)), key=lambda delivery: delivery.at
    )
    with writing(store) as connection:
        rows = [inbox.record(connection, [arrival(one)], one.at)[0].id for one in told]
    with engine(store) as services:
        for start in range(0, len(rows), 32):
            project(services, rows[start : start + 32])
    with writing(store) as connection:
        for statement in AS_IT_HAPPENED:
            connection.execute(text(statement))
        for number, case in enumerate(found[::DECIDED]):
            decided = _decision(policy, case, number)
            decisions.record(connection, decided, case.order.history.events[-1].at)


# The engine saw half a year in a minute; here everything is put back to when it would have seen it.
AS_IT_HAPPENED = (
    "UPDATE deliveries SET finished_at = received_at + 80000",
    "UPDATE order_events SET seen_at = (SELECT finished_at FROM deliveries WHERE id = order_events.delivery)",
    "UPDATE orders SET changed_at = (SELECT max(finished_at) FROM deliveries WHERE order_id = orders.id)",
)


def _talkative(order: Order, at: datetime) -> Order:
    """Each status is told twice, the second time with another detail."""
    again = [
        Event(e.id + 1, min(e.at + timedelta(minutes=1), at), e.status, "again") for e in order.history.events
    ]
    return replace(order, history=History.of([*order.history.events, *again]))


def _decision(policy: Policy, case: Case, number: int) -> Decision:
    verdict, state = ENDINGS[number % len(ENDINGS)]
    rule = policy.rules[number % len(policy.rules)]
    return Decision(
        order_id=case.order.id,
        key=f"{rule.name}:{case.order.id}" if verdict in {"cancel", "shadow", "review"} else None,
        space="shadow" if verdict == "shadow" else "live",
        rule=rule.name,
        action=rule.then.action.value,
        verdict=verdict,
        state=state,
        mode=rule.mode.value,
        generation=1,
        policy_hash="0" * 64,
        trigger="due",
        due_at=case.now,
        facts_version=1,
        reason="made up",
        trace=trace(policy, case, plan(policy, case)),
    )


# --- what else there is -------------------------------------------------------------------------------------

WEEK, MINUTE = timedelta(days=7), timedelta(minutes=1)
ACTIONS = ("sign_in", "approve", "decline", "hold", "export", "retry_message", "pause_rule")


def _around(store: Engine, at: datetime, orders: int) -> None:
    """Counters of a week, what was turned away, what failed, what people did."""
    minutes = [
        at.replace(second=0, microsecond=0) - timedelta(minutes=ago)
        for ago in range(WEEK // timedelta(minutes=1))
    ]
    kinds = {"ok": 30, "retried": 1, "failed": 0, "ms": 900, "le_30": 29, "le_300": 2}
    counts = {
        (minute, f"queue.{queue}.{kind}"): value
        for minute in minutes
        for queue in QUEUES
        for kind, value in kinds.items()
    }
    with writing(store) as connection:
        add_figures(connection, counts)
        inbox.count_rejections(connection, {(minute, "signature_wrong"): 2 for minute in minutes[::10]}, at)
        for number in range(min(2_000, orders // 50)):
            record_failure(connection, _failure(number, at))
        lines = [_audit_line(number, at) for number in range(orders // 10)]
        connection.execute(insert(schema.audit), lines)


def _failure(number: int, at: datetime) -> Failure:
    return Failure(
        queue="orders",
        actor="evaluate",
        error=f"Error{number % 12}",
        place="somewhere.py:f",
        args={"ids": [str(number)]},
        version="bench",
        attempts=4,
        at=at - timedelta(minutes=number),
        message_id=f"message-{number}",
        order_id=f"order-{number}",
    )


def _audit_line(number: int, at: datetime) -> dict[str, object]:
    return {
        "at": at - timedelta(minutes=number),
        "actor": f"operator-{number % 9}",
        "role": "operator",
        "action": ACTIONS[number % len(ACTIONS)],
        "target": f"order:{number}",
        "reason": "made up",
    }


# --- copying ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of all orders: their names begin differently, their times are `earlier` by so many µs."""

    number: int
    earlier: int

    def name(self, old: str) -> str:
        """Spread over all there can be, so that neighbours in time are none in an index."""
        return f"{(int(old[:8], 16) + self.number * 2_654_435_769) % 2**32:08x}{old[8:]}"


class Mould:
    """The rows of one table as the engine wrote them, and how they are changed in a copy."""

    def __init__(self, connection: sqlite3.Connection, table: Table, names: Sequence[str]) -> None:
        self.table = table
        self.at = {column.name: place for place, column in enumerate(table.c)}
        self.names = [self.at[name] for name in names]
        self.times = [place for place, column in enumerate(table.c) if isinstance(column.type, Utc)]
        columns = ", ".join(f'"{name}"' for name in self.at)
        self.rows: list[Row] = connection.execute(f"SELECT {columns} FROM {table.name} ORDER BY 1").fetchall()
        connection.execute(f"DELETE FROM {table.name}")

    def cast(self, row: Row, copy: Copy, **other: object) -> Row:
        made = list(row)
        for place in self.names:
            if (name := row[place]) is not None:
                made[place] = copy.name(name)
        for place in self.times:
            if (time := row[place]) is not None:
                made[place] = time - copy.earlier
        for column, value in other.items():
            made[self.at[column]] = value
        return tuple(made)

    def ranks(self, copies: Sequence[Copy], column: str) -> tuple[list[int], array[int]]:
        """All rows of all copies by a time: which comes when, and when each comes.

        A row's number among all is `copy.number * len(rows) + its place`.
        """
        place = self.at[column]
        times = array("q", (row[place] - copy.earlier for copy in copies for row in self.rows))
        order = sorted(range(len(times)), key=times.__getitem__)
        ranks = array("q", bytes(8 * len(order)))
        for rank, number in enumerate(order, start=1):
            ranks[number] = rank
        return order, ranks


def _copy(path: Path, times: int, at: datetime, say: Say) -> None:
    random = Random(4)
    copies = [Copy(number, random.randrange(SPREAD // MICROSECOND)) for number in range(times)]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for setting in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2000000", "threads=2"):
            connection.execute(f"PRAGMA {setting}")  # nobody else is there yet, and nobody wants half of it
        connection.execute("BEGIN")
        indexes = _take_indexes(connection)
        moulds = {
            name: Mould(connection, schema.metadata.tables[name], named) for name, named in COPIED.items()
        }
        order, ranks = moulds["deliveries"].ranks(copies, "received_at")
        for name, rows in {
            "deliveries": _deliveries(moulds["deliveries"], copies, order, at),
            "order_events": _events(moulds["order_events"], copies, ranks, len(moulds["deliveries"].rows)),
            "orders": _as_they_are(moulds["orders"], copies),
            "appointments": _as_they_are(moulds["appointments"], copies),
            "decisions": _decisions(moulds["decisions"], copies),
        }.items():
            _insert(connection, moulds[name], rows, len(moulds[name].rows) * times, say)
        for statement in indexes:
            say(statement.partition(" ON ")[0].lower())
            connection.execute(statement)
        connection.execute("COMMIT")


# The tables that are copied, and which of their columns name an order, a user or an appointment.
COPIED = {
    "deliveries": ("order_id",),
    "order_events": ("order_id",),
    "orders": ("id", "user_id"),
    "appointments": ("id", "order_id"),
    "decisions": ("order_id",),
}


def _as_they_are(mould: Mould, copies: Sequence[Copy]) -> Iterator[Row]:
    return (mould.cast(row, copy) for copy in copies for row in mould.rows)


def _deliveries(mould: Mould, copies: Sequence[Copy], order: Sequence[int], at: datetime) -> Iterator[Row]:
    """In the order of their receipt, and as much of each as retention leaves."""
    received, name, body = mould.at["received_at"], mould.at["delivery_id"], mould.at["body"]
    ids_since, bodies_since = ((at - EPOCH - kept) // MICROSECOND for kept in (IDS, BODIES))
    for rank, number in enumerate(order, start=1):
        copy_number, place = divmod(number, len(mould.rows))
        row, copy = mould.rows[place], copies[copy_number]
        came = row[received] - copy.earlier
        if came >= ids_since:
            left = row[body] if came >= bodies_since else None
            yield mould.cast(row, copy, id=rank, delivery_id=f"{row[name]}-{copy.number}", body=left)


def _events(
    mould: Mould, copies: Sequence[Copy], ranks: Sequence[int], deliveries_each: int
) -> Iterator[Row]:
    brought_by = mould.at["delivery"]
    for copy in copies:
        first = copy.number * deliveries_each
        for row in mould.rows:
            yield mould.cast(row, copy, delivery=ranks[first + row[brought_by] - 1])


def _decisions(mould: Mould, copies: Sequence[Copy]) -> Iterator[Row]:
    order, _ = mould.ranks(copies, "at")
    key = mould.at["key"]
    for rank, number in enumerate(order, start=1):
        copy_number, place = divmod(number, len(mould.rows))
        row = mould.rows[place]
        yield mould.cast(row, copies[copy_number], id=rank, key=row[key] and f"{row[key]}-{copy_number}")


def _insert(connection: sqlite3.Connection, mould: Mould, rows: Iterator[Row], most: int, say: Say) -> None:
    statement = f"INSERT INTO {mould.table.name} VALUES ({', '.join('?' * len(mould.at))})"
    done = 0
    while chunk := list(islice(rows, CHUNK)):
        connection.executemany(statement, chunk)
        done += len(chunk)
        say(f"{mould.table.name} {done:,} of {most:,}")


def _take_indexes(connection: sqlite3.Connection) -> list[str]:
    """Drops what CREATE INDEX made, and returns these statements: an index built at the end costs less."""
    made = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    found = connection.execute(made).fetchall()
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}")
    return [sql for _, sql in found]
