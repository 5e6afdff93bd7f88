"""How many events a second one thread turns from inbox rows into planned orders, beside inserting the same
orders and events with nothing thought about."""

from __future__ import annotations

from random import Random
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from bench.deliveries import arrival, deliveries
from bench.engine import engine, now
from bench.histories import cases
from bench.planning import the_example, timed
from bench.stores import postgresql, sqlite
from workers.projecting import project
from workers.store import inbox
from workers.store.database import reading, writing
from workers.store.schema import appointments, metadata, order_events, orders

ORDERS = 300
BATCHES = (1, 32)

Rows = list[dict[str, Any]]


def measure(count: int = ORDERS) -> None:
    for name, opened in (("SQLite", sqlite), ("PostgreSQL", postgresql)):
        with opened() as store:
            for batch in BATCHES:
                _measure(f"{name}, {batch} a batch", store, count, batch)


def _measure(what: str, store: Engine, count: int, batch: int) -> None:
    _empty(store)
    ids = _received(store, count)
    batches = [ids[start : start + batch] for start in range(0, len(ids), batch)]
    with engine(store) as services:
        project(services, batches[0])  # reads the policy, compiles statements: what is done once

        def project_all() -> None:
            for some in batches[1:]:
                project(services, some)

        took = timed(project_all)
    projected, inserted = (len(ids) - batch) / took, _insert_again(store, len(ids), batch)
    print(f"  {what:24} {projected:8,.0f} events a second   only inserted {inserted:8,.0f}", end="")
    print(f"   {projected / inserted:5.2f} ×")


def _empty(store: Engine) -> None:
    with writing(store) as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))


def _received(store: Engine, count: int) -> list[int]:
    """The webhooks of so many orders in the inbox, as they came in half a year; the ids of their rows."""
    random = Random(5)
    made = (one for case in cases(the_example(), count, now()) for one in deliveries(random, case.order))
    told = sorted(made, key=lambda delivery: delivery.at)
    with writing(store) as connection:
        recorded = inbox.record(connection, [arrival(one) for one in told], now())
    return [row.id for row in recorded]


def _insert_again(store: Engine, events: int, batch: int) -> float:
    """Events a second when the rows that they became are only inserted, in as many transactions."""
    tables = (orders, order_events, appointments)
    with reading(store) as connection:
        found = [[dict(row) for row in connection.execute(select(table)).mappings()] for table in tables]
    with writing(store) as connection:
        for table in tables:
            connection.execute(delete(table))
    times = -(-events // batch)
    parts = list(zip(*(_parts(rows, times) for rows in found), strict=True))

    def insert_all() -> None:
        for part in parts:
            with writing(store) as connection:
                for table, rows in zip(tables, part, strict=True):
                    if rows:
                        connection.execute(insert(table), rows)

    return events / timed(insert_all)


def _parts(rows: Rows, times: int) -> list[Rows]:
    return [rows[len(rows) * n // times : len(rows) * (n + 1) // times] for n in range(times)]
