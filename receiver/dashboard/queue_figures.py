"""What is said of a queue, worked out from what Redis, processes and counters told. Nothing is read here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from workers.queues import QueueState
from workers.store.controls import queue_control
from workers.store.processes import Process, Running

MINUTES = 60
MINUTE = timedelta(minutes=1)
OUTCOMES = ("ok", "retried", "failed")

Figures = Mapping[str, Mapping[datetime, int]]  # series -> minute -> count
Switches = Mapping[str, tuple[str, str, datetime]]  # name -> (reason, actor, since)
GAUGES = ("ready", "dead", "messages")  # what recorder.py reads off the queue at the beginning of a minute


@dataclass(frozen=True, slots=True)
class Speed:
    """A queue's last hour: finished per minute, oldest first; run times in words; failures per hundred."""

    per_minute: tuple[int, ...]
    median: str
    slow: str  # 95 of 100 were not slower
    error_percent: float | None


@dataclass(frozen=True, slots=True)
class Levels:
    """A queue's last hour: how full it was each minute, and what came in. None: nobody looked then."""

    ready: tuple[int | None, ...]
    dead: tuple[int | None, ...]
    arrived: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class RunningRow:
    """A message in a thread. `lost`: the process gives no sign of life, another will get the message."""

    process: Process
    running: Running
    lost: bool


@dataclass(frozen=True, slots=True)
class QueueLine:
    """`counts` is None when Redis never answered. `pause`: (reason, who, since). Times are UTC."""

    name: str
    counts: QueueState | None
    running: tuple[RunningRow, ...]
    threads: int
    workers: tuple[Process, ...]
    pause: tuple[str, str, datetime] | None
    speed: Speed
    levels: Levels
    resumes_at: datetime | None  # by itself

    @property
    def state(self) -> Literal["running", "pausing", "paused", "no worker"]:
        if self.pause:
            return "pausing" if self.running else "paused"
        return "running" if self.workers else "no worker"

    @property
    def prefetched(self) -> int | None:
        """In a worker's memory, waiting for a thread."""
        return max(0, self.counts.in_flight - len(self.running)) if self.counts else None


def queue_line(
    name: str,
    counts: Sequence[QueueState] | None,
    processes: Sequence[Process],
    switches: Switches,
    figures: Figures,
    now: datetime,
    resumes_at: datetime | None = None,
) -> QueueLine:
    workers = tuple(process for process in processes if process.kind == "worker" and name in process.queues)
    live = tuple(process for process in workers if process.is_live(now))
    return QueueLine(
        name=name,
        counts=next((state for state in counts or () if state.name == name), None),
        running=tuple(
            RunningRow(process, running, lost=process not in live)
            for process in workers
            for running in process.running
            if running.queue == name
        ),
        threads=sum(process.threads for process in live),
        workers=live,
        pause=switches.get(queue_control(name)),
        speed=speed(name, figures, now),
        levels=levels(name, figures, now),
        resumes_at=resumes_at,
    )


def speed(queue: str, figures: Figures, now: datetime) -> Speed:
    """Of the MINUTES whole minutes before this one."""
    minutes = _minutes(now)
    outcomes = {outcome: figures.get(f"queue.{queue}.{outcome}", {}) for outcome in OUTCOMES}
    totals = {
        outcome: sum(counts.get(minute, 0) for minute in minutes) for outcome, counts in outcomes.items()
    }
    runs = sum(totals.values())
    times = _by_bound(queue, figures)
    return Speed(
        per_minute=tuple(map(_done(queue, figures), minutes)),
        median=_percentile(times, 0.5),
        slow=_percentile(times, 0.95),
        error_percent=100 * (runs - totals["ok"]) / runs if runs else None,
    )


def levels(queue: str, figures: Figures, now: datetime) -> Levels:
    """Of the same minutes. What came in is not counted anywhere: it is what was done, and what the queue
    holds more at the end of a minute than at its beginning. What operators took out is missing from it."""
    minutes = _minutes(now)
    done = _done(queue, figures)
    ready, dead, held = (figures.get(f"queue.{queue}.{gauge}", {}) for gauge in GAUGES)

    def arrived(minute: datetime) -> int | None:
        if minute not in held or minute + MINUTE not in held:
            return None
        return max(0, done(minute) + held[minute + MINUTE] - held[minute])

    return Levels(
        ready=tuple(map(ready.get, minutes)),
        dead=tuple(map(dead.get, minutes)),
        arrived=tuple(map(arrived, minutes)),
    )


def _minutes(now: datetime) -> list[datetime]:
    this_minute = now.replace(second=0, microsecond=0)
    return [this_minute - MINUTE * ago for ago in range(MINUTES, 0, -1)]


def _done(queue: str, figures: Figures) -> Callable[[datetime], int]:
    """How many runs ended in a minute."""
    outcomes = [figures.get(f"queue.{queue}.{outcome}", {}) for outcome in OUTCOMES]
    return lambda minute: sum(counts.get(minute, 0) for counts in outcomes)


def _by_bound(queue: str, figures: Figures) -> list[tuple[float, int]]:
    """How many runs fell into each bucket: (upper bound in ms, count), shortest first."""
    prefix = f"queue.{queue}.le_"
    return sorted(
        (float(series.removeprefix(prefix)), sum(counts.values()))
        for series, counts in figures.items()
        if series.startswith(prefix)
    )


def _percentile(buckets: Sequence[tuple[float, int]], share: float) -> str:
    """Buckets tell no more than an upper bound; neither does this."""
    wanted = share * sum(count for _, count in buckets)
    seen = 0
    for bound, count in buckets:
        seen += count
        if count and seen >= wanted:
            return _bound_in_words(bound)
    return "–"


def _bound_in_words(milliseconds: float) -> str:
    if milliseconds == float("inf"):
        return "> 10 s"
    return f"≤ {milliseconds:.0f} ms" if milliseconds < 1000 else f"≤ {milliseconds / 1000:.0f} s"
