"""Who works here, what they are doing right now, and how much they did. recorder.py writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, delete, select

from workers.store.controls import all_raised, queue_control
from workers.store.database import reading, writing
from workers.store.dialects import insert, insert_or_ignore, upsert
from workers.store.schema import figures, processes

Counts = Mapping[tuple[datetime, str], int]  # (minute, series) -> how many more

SEEN_WITHIN = timedelta(seconds=15)  # three of its signs of life


@dataclass(frozen=True, slots=True)
class Running:
    """A message that a thread is working on, since `since` (UTC)."""

    message_id: str
    actor: str
    queue: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Process:
    """A process, as it last described itself at `seen_at` (UTC); `rss_kb` is unknown on some systems."""

    id: str
    kind: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    threads: int
    rss_kb: int | None
    started_at: datetime
    seen_at: datetime
    running: tuple[Running, ...] = ()
    paused: tuple[str, ...] = ()  # the queues it knows to be paused

    def is_live(self, now: datetime) -> bool:
        return now - self.seen_at <= SEEN_WITHIN


@dataclass(frozen=True, slots=True)
class Register:
    """The store as a working process needs it: one transaction a call. Raises what the store raises."""

    engine: Engine

    def report(self, process: Process, counts: Counts) -> None:
        with writing(self.engine) as connection:
            record_process(connection, process)
            add_figures(connection, counts)

    def sample(self, minute: datetime, levels: Mapping[str, int]) -> None:
        with writing(self.engine) as connection:
            sample_figures(connection, minute, levels)

    def say_goodbye(self, process: Process, counts: Counts) -> None:
        with writing(self.engine) as connection:
            remove_process(connection, process.id)
            add_figures(connection, counts)

    def paused_queues(self) -> frozenset[str]:
        with reading(self.engine) as connection:
            return paused_queues(connection)


def record_process(connection: Connection, process: Process) -> None:
    """Writes what a process says of itself over what it said before."""
    row = _row(process)
    connection.execute(upsert(connection, processes, row), [row])


def list_processes(connection: Connection) -> tuple[Process, ...]:
    """All that did not say goodbye, the oldest first; ask each whether it `is_live`."""
    rows = connection.execute(select(processes).order_by(processes.c.started_at, processes.c.id))
    return tuple(_process(row) for row in rows.mappings())


def remove_process(connection: Connection, process_id: str) -> None:
    connection.execute(delete(processes).where(processes.c.id == process_id))


def remove_processes_unseen_since(connection: Connection, time: datetime) -> int:
    """Forgets those that died without saying goodbye; returns how many."""
    return connection.execute(delete(processes).where(processes.c.seen_at < time)).rowcount


def paused_queues(connection: Connection) -> frozenset[str]:
    """The queues that operators paused."""
    prefix = queue_control("")
    return frozenset(name.removeprefix(prefix) for name in all_raised(connection) if name.startswith(prefix))


def add_figures(connection: Connection, counts: Counts) -> None:
    """Adds to the counters of (minute, series); several processes may count the same series."""
    if not counts:
        return
    # In one order for all, or two processes that add to the same counters would wait for each other.
    rows = [
        {"minute": minute, "series": series, "value": count}
        for (minute, series), count in sorted(counts.items())
    ]
    new = insert(connection, figures)
    sum_of_both = {"value": figures.c.value + new.excluded.value}
    connection.execute(new.on_conflict_do_update(index_elements=["minute", "series"], set_=sum_of_both), rows)


def sample_figures(connection: Connection, minute: datetime, levels: Mapping[str, int]) -> None:
    """Notes how high something stood as a minute began (series -> value), unless somebody has already."""
    rows = [{"minute": minute, "series": series, "value": level} for series, level in sorted(levels.items())]
    connection.execute(insert_or_ignore(connection, figures), rows)


def _row(process: Process) -> dict[str, Any]:
    running = [
        {"message_id": one.message_id, "actor": one.actor, "queue": one.queue, "since": one.since.isoformat()}
        for one in process.running
    ]
    return {
        "id": process.id,
        "kind": process.kind,
        "host": process.host,
        "pid": process.pid,
        "version": process.version,
        "queues": ",".join(process.queues),
        "threads": process.threads,
        "rss_kb": process.rss_kb,
        "started_at": process.started_at,
        "seen_at": process.seen_at,
        "running": running,
        "paused": ",".join(process.paused),
    }


def _process(row: RowMapping) -> Process:
    running = tuple(
        Running(one["message_id"], one["actor"], one["queue"], datetime.fromisoformat(one["since"]))
        for one in row["running"]
    )
    return Process(
        **{**row, "queues": _names(row["queues"]), "running": running, "paused": _names(row["paused"])}
    )


def _names(listed: str) -> tuple[str, ...]:
    return tuple(filter(None, listed.split(",")))
