"""What is told at a glance: rates, delays, what is coming, what was done; by rule, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    RowMapping,
    Subquery,
    case,
    cast,
    extract,
    func,
    select,
    type_coerce,
)

from workers.store.database import EPOCH, MICROSECOND
from workers.store.limits import OPEN_ORDERS
from workers.store.schema import decisions, deliveries, figures, orders

Rows = Sequence[RowMapping]

COUNTED = 1_000_000
LAG_OF = 1_000  # the newest finished deliveries; more would tell the same
SECOND, DAY, WEEK = timedelta(seconds=1), timedelta(days=1), timedelta(days=7)


def received(connection: Connection, since: datetime, every: timedelta) -> dict[datetime, int]:
    """How many deliveries came, by the beginning of the span of length `every` in which they did."""
    bucket = _bucket(connection, deliveries.c.received_at, every)
    query = select(bucket, func.count()).where(deliveries.c.received_at >= since).group_by(bucket)
    return {EPOCH + number * every: count for number, count in connection.execute(query)}


def lags(connection: Connection, since: datetime) -> list[timedelta]:
    """From receipt to result, of the newest LAG_OF deliveries since then that have one; oldest first."""
    query = (
        select(deliveries.c.received_at, deliveries.c.finished_at)
        .where(deliveries.c.received_at >= since, deliveries.c.finished_at.is_not(None))
        .order_by(deliveries.c.received_at.desc(), deliveries.c.id.desc())
        .limit(LAG_OF)
    )
    return [finished - came for came, finished in connection.execute(query)][::-1]


def throughput(
    connection: Connection, series: Sequence[str], since: datetime, every: timedelta
) -> dict[str, dict[datetime, int]]:
    """Counters added up over spans of length `every`: series -> beginning of a span -> value."""
    bucket = _bucket(connection, figures.c.minute, every)
    query = (
        select(figures.c.series, bucket, func.sum(figures.c.value))
        .where(figures.c.minute >= since, figures.c.series.in_(series))
        .group_by(figures.c.series, bucket)
    )
    found: dict[str, dict[datetime, int]] = {}
    for name, number, value in connection.execute(query):
        found.setdefault(name, {})[EPOCH + number * every] = int(value)
    return found


def closing_soon(connection: Connection, limit: int) -> Rows:
    """The orders that a rule will cancel next, if nothing new happens."""
    query = (
        select(
            orders.c.id,
            orders.c.method,
            orders.c.status_name,
            orders.c.outlook_rule,
            orders.c.outlook_at,
        )
        .where(orders.c.outlook == "will_cancel", orders.c.outlook_at.is_not(None))
        .order_by(orders.c.outlook_at, orders.c.id)
        .limit(limit)
    )
    return connection.execute(query).mappings().all()


@dataclass(frozen=True, slots=True)
class Endings:
    """What became of decisions to cancel, made since a time."""

    by_rule: int = 0
    approved: int = 0  # proposed by a rule, approved by a person
    failed: int = 0  # Junction said no, or it could not be done
    partial: int = 0  # the appointment is cancelled, the order is not
    under_way: int = 0


def endings(connection: Connection, since: datetime) -> Endings:
    made = _made_since(since)
    query = select(made.c.verdict, made.c.state, func.count()).group_by(made.c.verdict, made.c.state)
    counts = {(verdict, state): count for verdict, state, count in connection.execute(query)}

    def total(*states: str) -> int:
        return sum(counts.get((verdict, state), 0) for verdict in ("cancel", "review") for state in states)

    return Endings(
        by_rule=counts.get(("cancel", "confirmed"), 0),
        approved=counts.get(("review", "confirmed"), 0),
        failed=total("failed", "refused"),
        partial=total("partial"),
        under_way=total("acting"),
    )


def _made_since(since: datetime) -> Subquery:
    """Decisions by time, the newest COUNTED at most: read from their index alone, whatever is grouped by."""
    columns = decisions.c.at, decisions.c.rule, decisions.c.verdict, decisions.c.state
    newest = select(*columns).where(decisions.c.at >= since).order_by(decisions.c.at.desc())
    return newest.limit(COUNTED).subquery()


# --- by rule -----------------------------------------------------------------------------------------------

FIRED = ("cancel", "review", "held", "shadow")  # verdicts that say: the rule was due and would act


@dataclass(frozen=True, slots=True)
class Firings:
    """What one rule did in a span of time."""

    matched: int = 0
    cancelled: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """`last_at`: when it fired last within the week."""

    day: Firings
    week: Firings
    last_at: datetime


def records(connection: Connection, now: datetime) -> dict[str, RuleRecord]:
    """By rule, those that fired within the week."""
    made = _made_since(now - WEEK)
    recent = case((made.c.at > now - DAY, 1), else_=0)
    query = select(
        made.c.rule,
        made.c.verdict,
        made.c.state,
        func.count().label("week"),
        func.sum(recent).label("day"),
        func.max(made.c.at, type_=decisions.c.at.type).label("last_at"),
    ).group_by(made.c.rule, made.c.verdict, made.c.state)
    by_rule: dict[str, list[RowMapping]] = {}
    for row in connection.execute(query).mappings():
        if row["rule"] is not None and row["verdict"] in FIRED:
            by_rule.setdefault(row["rule"], []).append(row)
    return {
        rule: RuleRecord(_firings(rows, "day"), _firings(rows, "week"), max(row["last_at"] for row in rows))
        for rule, rows in by_rule.items()
    }


def _firings(rows: Rows, span: str) -> Firings:
    def total(*states: str) -> int:
        return sum(int(row[span]) for row in rows if not states or row["state"] in states)

    return Firings(total(), total("confirmed"), total("failed", "refused", "partial"))


def coming_by_rule(connection: Connection) -> dict[str, int]:
    """How many orders each rule will cancel, if nothing new happens."""
    query = (
        select(orders.c.outlook_rule, func.count().label("coming"))
        .where(orders.c.outlook == "will_cancel", orders.c.outlook_rule.is_not(None))
        .group_by(orders.c.outlook_rule)
    )
    return {row.outlook_rule: row.coming for row in connection.execute(query)}


def opened(connection: Connection, day_began: datetime) -> int | None:
    """How many orders were open when the day began; None when nobody has had to know yet."""
    kept = select(figures.c.value).where(figures.c.minute == day_began, figures.c.series == OPEN_ORDERS)
    return connection.execute(kept).scalar_one_or_none()


# --- spans of time -----------------------------------------------------------------------------------------


def _bucket(connection: Connection, column: ColumnElement[datetime], every: timedelta) -> ColumnElement[int]:
    """The number of a span of that length, counted from the epoch."""
    if connection.dialect.name == "sqlite":
        return type_coerce(column, BigInteger) // (every // MICROSECOND)
    return cast(func.floor(extract("epoch", column)), BigInteger) // (every // SECOND)
