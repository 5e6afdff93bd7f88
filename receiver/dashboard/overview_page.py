"""Overview: how it goes, what comes next, what waits for somebody; what a new installation still needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection
from starlette.responses import Response

from receiver.dashboard.charts import Chart, spans, stacked
from receiver.dashboard.desk import Desk
from receiver.dashboard.events_page import latency
from receiver.dashboard.orders_page import METHODS
from receiver.dashboard.page import Address, Page
from receiver.dashboard.queue_figures import MINUTE, MINUTES, OUTCOMES, QueueLine, queue_line
from receiver.dashboard.visit import Visit
from workers.messages import QUEUES
from workers.store import controls, delivery_reads, migrate, overview_reads, policies, processes, reads
from workers.store.overview_reads import Endings
from workers.store.reads import DecisionFilter
from workers.store.watch import figures_between

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LISTED = 8
CLOSING = 6
REFRESHED_EVERY = timedelta(seconds=10)  # all of it is counted anew each time

# What the chart of work done may span: its label, and the length of one of its bars.
RANGES: Mapping[str, tuple[str, timedelta]] = {
    "1h": ("1 hour", MINUTE),
    "24h": ("24 hours", timedelta(minutes=24)),
    "7d": ("7 days", timedelta(minutes=168)),
}
BARS = 60
SAMPLE = "autocancel send examples/kit-ordered.json"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast deliveries come and go through. `slow`: 95 of 100 were not slower; None without any."""

    per_minute: tuple[int, ...]  # of the last MINUTES, the present one last
    slow: timedelta | None
    trend: tuple[int, ...]  # slowness in ms, of one tenth of the deliveries after the other
    sampled: int


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a new installation needs. `done` is None when the dashboard cannot know."""

    title: str
    done: bool | None
    when_done: str
    to_do: str


def show(visit: Visit) -> Response:
    desk, now = visit.desk, visit.now
    span = visit.query("span") if visit.query("span") in RANGES else "1h"
    seen, cancellable = desk.queue_states(now), desk.cancellable(now)
    with desk.reading() as connection:
        everybody = processes.list_processes(connection)
        workers = [one for one in everybody if one.kind == "worker" and one.is_live(now)]
        steps = _steps(connection, desk, worker_seen=bool(workers))
        switches = controls.all_raised(connection)
        figures = figures_between(connection, "queue.", now - (MINUTES + 1) * MINUTE, now)
        lines = [queue_line(queue, seen.value, everybody, switches, figures, now) for queue in QUEUES]
        return visit.render(
            "overview.html",
            seen=seen,
            lines=lines,
            ready=_sum(lines, "ready"),
            dead=_sum(lines, "dead"),
            running=sum(len(line.running) for line in lines),
            threads=sum(one.threads for one in workers),
            worked=[sum(minute) for minute in zip(*(line.speed.per_minute for line in lines), strict=True)],
            pace=_pace(connection, now),
            cancellable=cancellable,
            cap=reads.CAP,
            endings=_endings(connection, now),
            span=span,
            ranges=RANGES,
            chart=_chart(connection, span, now),
            closing=overview_reads.closing_soon(connection, CLOSING),
            methods=METHODS,
            decisions=reads.list_decisions(connection, limit=LISTED),
            waiting=reads.list_decisions(connection, DecisionFilter(states=("open",)), limit=LISTED),
            steps=steps,
            sample=SAMPLE,
            latency=latency,
        )


def _steps(connection: Connection, desk: Desk, *, worker_seen: bool) -> list[Step]:
    """What must be so before an order can be cancelled, in the order in which one gets there. Nothing once
    events have come and rules are known: what goes wrong later is a problem, and told as one."""
    delivered = delivery_reads.any_delivery(connection)
    policy = policies.active(connection)
    if delivered and policy is not None:
        return []
    migrated = migrate.revision(desk.store) == migrate.head()
    return [
        Step("Database migrated", migrated, "Its schema is this version's.", "Run: autocancel db upgrade"),
        Step("Worker seen", worker_seen, "One gives signs of life.", "Start one: python -m workers.main"),
        Step(
            "Policy loaded",
            policy is not None,
            f"{policy.source}, generation {policy.number}." if policy else "",
            "The clock loads it from AUTOCANCEL_POLICY: python -m workers.clock",
        ),
        Step(
            "Secret set",
            delivered or None,
            "A delivery was signed with it.",
            "AUTOCANCEL_WEBHOOK_SECRETS of the receiver; the first delivery will tell whether it is right.",
        ),
        Step(
            "First webhook received",
            delivered,
            "Events arrive.",
            "Point a webhook of Junction's at the receiver, or send an event by hand:",
        ),
    ]


def _sum(lines: Sequence[QueueLine], field: str) -> int | None:
    """Over all queues; None when Redis never told."""
    found = [getattr(line.counts, field) for line in lines if line.counts]
    return sum(found) if found else None


def _pace(connection: Connection, now: datetime) -> Pace:
    minutes = spans(now, MINUTE, MINUTES)
    counts = overview_reads.received(connection, minutes[0], MINUTE)
    lags = overview_reads.lags(connection, minutes[0])
    tenth = max(1, -(-len(lags) // 10))
    parts = [lags[at : at + tenth] for at in range(0, len(lags), tenth)]
    return Pace(
        per_minute=tuple(counts.get(minute, 0) for minute in minutes),
        slow=slowest_but_five_percent(lags) if lags else None,
        trend=tuple(slowest_but_five_percent(part) // timedelta(milliseconds=1) for part in parts),
        sampled=len(lags),
    )


def slowest_but_five_percent(lags: Sequence[timedelta]) -> timedelta:
    """The 95th percentile: of 100, five were slower."""
    return sorted(lags)[-(-95 * len(lags) // 100) - 1]


def _endings(connection: Connection, now: datetime) -> Endings:
    return overview_reads.endings(connection, now.replace(hour=0, minute=0, second=0, microsecond=0))


def _chart(connection: Connection, span: str, now: datetime) -> Chart:
    every = RANGES[span][1]
    times = spans(now, every, BARS)
    series = [f"queue.{queue}.{outcome}" for queue in QUEUES for outcome in OUTCOMES]
    found = overview_reads.throughput(connection, series, times[0], every)
    by_outcome = {
        outcome: {
            at: sum(found.get(f"queue.{queue}.{outcome}", {}).get(at, 0) for queue in QUEUES) for at in times
        }
        for outcome in OUTCOMES
    }
    return stacked(by_outcome, OUTCOMES, times)


def overview_topic(desk: Desk, _key: str) -> object:
    return int(desk.now().timestamp()) // int(REFRESHED_EVERY.total_seconds())


PAGE = Page(
    label="Overview",
    path="/",
    icon="overview",
    key="h",
    addresses=(Address("/", get=show),),
    topics={"overview": overview_topic},
)
