"""What is counted again and again while somebody watches: cheap questions, each answered by an index."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, select

from workers.store.failures import UNSETTLED
from workers.store.schema import decisions, deliveries, failures, figures, orders, rejections

RECENT = timedelta(minutes=10)
UNSETTLED_FOR = timedelta(days=2)
BAD_SIGNATURE = ("signature_wrong", "signature_unsupported", "secret_expired")


@dataclass(frozen=True, slots=True)
class Counts:
    """What waits for a person, and since when the newest of each does (UTC). `bad_signatures`: in RECENT."""

    open_failures: int
    newest_failure_at: datetime | None
    quarantined: int
    newest_quarantined_at: datetime | None
    open_decisions: int
    newest_open_decision_at: datetime | None
    failed_decisions: int  # of the last UNSETTLED_FOR: given up, or done by half
    newest_failed_decision_at: datetime | None
    untimely: int  # open orders of which nothing is decided because clocks disagree
    bad_signatures: int
    bad_signatures_before: int


def counts(connection: Connection, now: datetime) -> Counts:
    failed = select(func.count(), func.max(failures.c.at, type_=failures.c.at.type))
    set_aside = select(func.count(), func.max(deliveries.c.finished_at, type_=deliveries.c.finished_at.type))
    waiting = select(func.count(), func.max(decisions.c.at, type_=decisions.c.at.type))
    open_failures, newest_failure = connection.execute(failed.where(failures.c.state == "open")).one()
    quarantined, newest_quarantined = connection.execute(
        set_aside.where(deliveries.c.state == "quarantined")
    ).one()
    open_decisions, newest_open = connection.execute(waiting.where(decisions.c.state == "open")).one()
    ended_badly = decisions.c.state.in_(("failed", "partial")) & (decisions.c.at > now - UNSETTLED_FOR)
    failed_decisions, newest_failed = connection.execute(waiting.where(ended_badly)).one()
    untimely = select(func.count()).select_from(orders).where(orders.c.outlook == "clock_skew", orders.c.open)
    minute = rejections.c.minute
    return Counts(
        open_failures=open_failures,
        newest_failure_at=newest_failure,
        quarantined=quarantined,
        newest_quarantined_at=newest_quarantined,
        open_decisions=open_decisions,
        newest_open_decision_at=newest_open,
        failed_decisions=failed_decisions,
        newest_failed_decision_at=newest_failed,
        untimely=connection.execute(untimely).scalar_one(),
        bad_signatures=_bad_signatures(connection, minute > now - RECENT),
        bad_signatures_before=_bad_signatures(connection, minute > now - 2 * RECENT, minute <= now - RECENT),
    )


def _bad_signatures(connection: Connection, *when: ColumnElement[bool]) -> int:
    total = select(func.coalesce(func.sum(rejections.c.count), 0))
    return int(connection.execute(total.where(rejections.c.reason.in_(BAD_SIGNATURE), *when)).scalar_one())


def failures_mark(connection: Connection) -> object:
    """Differs whenever a failure came or was settled."""
    marks = select(
        func.max(failures.c.id),
        func.max(failures.c.resolved_at),
        select(func.count()).where(failures.c.state.in_(UNSETTLED)).scalar_subquery(),
    )
    return tuple(connection.execute(marks).one())


def figures_between(
    connection: Connection, prefix: str, since: datetime, until: datetime
) -> dict[str, dict[datetime, int]]:
    """Counters whose series begins with `prefix`, `since` included: series -> minute -> value."""
    query = select(figures).where(
        figures.c.minute >= since,
        figures.c.minute < until,
        figures.c.series.startswith(prefix, autoescape=True),
    )
    found: dict[str, dict[datetime, int]] = {}
    for row in connection.execute(query):
        found.setdefault(row.series, {})[row.minute] = row.value
    return found
