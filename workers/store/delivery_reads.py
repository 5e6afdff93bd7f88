"""Deliveries as people look at them: lists along their numbers, what each brought, where they come from.

A filter that no index answers looks through SCANNED rows at a time and says how far it came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, literal, select

from workers.store.schema import deliveries, order_events, rejections

Rows = Sequence[RowMapping]

CAP = 10_000  # nobody reads a longer list; counting further would cost more than it tells
SCANNED = 100_000
SOURCES_FROM = 20_000  # newest deliveries, from which it is told where they come from

# What became of a delivery, in one word. Those of HANDLED are told apart by `result`, the others by `state`.
What = Literal[
    "waiting",
    "projected",
    "no_change",
    "out_of_order",
    "ignored",
    "quarantined",
    "unreadable",
    "foreign",
]
HANDLED: tuple[What, ...] = ("projected", "no_change", "out_of_order")
TROUBLED = ("quarantined", "unreadable")


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Empty is no condition. `type` may hold * for anything; times are of receipt, `to` not included."""

    type: str = ""
    what: What | None = None
    order_id: str = ""
    delivery_id: str = ""
    since: datetime | None = None
    to: datetime | None = None
    repeated: bool = False

    @property
    def has_index(self) -> bool:
        """Whether the rows that fit can be found without looking at those that do not."""
        if self.order_id or self.delivery_id:
            return True
        return not self.type and not self.repeated and self.what not in HANDLED


EVERY_DELIVERY = DeliveryFilter()


@dataclass(frozen=True, slots=True)
class Found:
    """Newest first. `older`: the number before which to go on; None at the end. `cut`: the search stopped
    there without having found a full page."""

    rows: Rows
    older: int | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """CAP + 1 when there are more than CAP. `among`: only so many were looked at; None: all."""

    number: int
    among: int | None


def delivery_row(connection: Connection, delivery: int) -> RowMapping | None:
    return connection.execute(select(deliveries).where(deliveries.c.id == delivery)).mappings().first()


def id_of(connection: Connection, delivery_id: str) -> int | None:
    """The number of the delivery that its sender calls so."""
    query = select(deliveries.c.id).where(deliveries.c.delivery_id == delivery_id)
    return connection.execute(query).scalar_one_or_none()


def list_deliveries(
    connection: Connection,
    wanted: DeliveryFilter = EVERY_DELIVERY,
    *,
    before: int | None = None,
    limit: int = 50,
) -> Found:
    """The newest that fit and have a lower number than `before`, without their bodies."""
    top = before if before is not None else _last_before(connection, wanted.to) + 1
    end = _last_before(connection, wanted.since) + 1 if wanted.since else 0
    bottom = end if wanted.has_index else max(end, top - SCANNED)
    columns = [column for column in deliveries.c if column.name != "body"]
    query = (
        select(*columns)
        .where(deliveries.c.id < top, deliveries.c.id >= bottom, *_conditions(wanted))
        .order_by(deliveries.c.id.desc())
        .limit(limit + 1)
    )
    rows = connection.execute(query).mappings().all()
    if len(rows) > limit:
        return Found(rows[:limit], rows[limit - 1]["id"])
    return Found(rows, bottom, cut=True) if bottom > end else Found(rows)


def count_deliveries(connection: Connection, wanted: DeliveryFilter = EVERY_DELIVERY) -> Count:
    """How many fit, of all or of those that a search from the newest looks at first."""
    last = _last_before(connection, wanted.to)
    if wanted.has_index or last <= SCANNED:
        return Count(_capped(connection, *_conditions(wanted)), None)
    return Count(_capped(connection, deliveries.c.id > last - SCANNED, *_conditions(wanted)), SCANNED)


def count_newer(connection: Connection, wanted: DeliveryFilter, than: int) -> int:
    """How many fit that came after a delivery; CAP + 1 when there are more than CAP."""
    return _capped(connection, deliveries.c.id > than, *_conditions(wanted))


def count_set_aside(connection: Connection, ids: Collection[int]) -> int:
    """How many of these are set aside."""
    query = select(func.count()).where(deliveries.c.id.in_(ids), deliveries.c.state == "quarantined")
    return connection.execute(query).scalar_one()


def any_delivery(connection: Connection) -> bool:
    return connection.execute(select(deliveries.c.id).limit(1)).first() is not None


def brought_by(connection: Connection, delivery: RowMapping) -> Rows:
    """The events of the order's history that came with this delivery first."""
    query = (
        select(order_events)
        .where(order_events.c.order_id == delivery["order_id"], order_events.c.delivery == delivery["id"])
        .order_by(order_events.c.at, order_events.c.event_id)
    )
    return connection.execute(query).mappings().all()


def deliveries_mark(connection: Connection) -> object:
    """Differs whenever a delivery came, was finished or came again, as far as the newest of each can tell."""
    marks = select(
        func.max(deliveries.c.id),
        select(func.count()).where(deliveries.c.state == "new").scalar_subquery(),
        select(func.count()).where(deliveries.c.state == "quarantined").scalar_subquery(),
    )
    return tuple(connection.execute(marks).one())


def _capped(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    some = select(deliveries.c.id).where(*conditions).limit(literal(CAP + 1)).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def _last_before(connection: Connection, time: datetime | None) -> int:
    """The number of the last delivery received before a time; of the last of all when there is none."""
    if time is None:
        return connection.execute(select(func.max(deliveries.c.id))).scalar_one() or 0
    # Numbers and times of receipt rise together, but for what two receivers commit at the same moment.
    received = deliveries.c.received_at
    query = select(deliveries.c.id).where(received < time).order_by(received.desc(), deliveries.c.id.desc())
    return connection.execute(query.limit(1)).scalar_one_or_none() or 0


def _conditions(wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.type:
        pattern = wanted.type.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
        found.append(deliveries.c.event_type.like(pattern, escape="\\"))
    if wanted.what is not None:
        found.append(_is(wanted.what))
    if wanted.order_id:
        found.append(deliveries.c.order_id == wanted.order_id)
    if wanted.delivery_id:
        found.append(deliveries.c.delivery_id == wanted.delivery_id)
    if wanted.since is not None:
        found.append(deliveries.c.received_at >= wanted.since)
    if wanted.to is not None:
        found.append(deliveries.c.received_at < wanted.to)
    if wanted.repeated:
        found.append(deliveries.c.duplicates > 0)
    return found


def _is(what: What) -> ColumnElement[bool]:
    if what == "waiting":
        return deliveries.c.state == "new"
    if what in HANDLED:
        return and_(deliveries.c.state == "done", deliveries.c.result == what)
    return deliveries.c.state == what


# --- where they come from ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """One type of event. `longest_gap` lay between two of them; `troubled`: unreadable or set aside."""

    type: str | None
    count: int
    last_day: int
    last_at: datetime
    longest_gap: timedelta | None
    troubled: int
    labels: tuple[str, ...]  # of the secrets that signed them


def sources(connection: Connection, now: datetime) -> tuple[tuple[Source, ...], datetime | None]:
    """By type, the latest heard first, from the newest SOURCES_FROM deliveries; and when the oldest of these
    came, when there are more."""
    query = (
        select(
            deliveries.c.event_type, deliveries.c.received_at, deliveries.c.state, deliveries.c.secret_label
        )
        .order_by(deliveries.c.id.desc())
        .limit(SOURCES_FROM)
    )
    rows = connection.execute(query).all()
    by_type = defaultdict(list)
    for row in rows:
        by_type[row.event_type].append(row)
    found = (_source(type_, some, now) for type_, some in by_type.items())
    oldest = rows[-1].received_at if len(rows) == SOURCES_FROM else None
    return tuple(sorted(found, key=lambda source: source.last_at, reverse=True)), oldest


def _source(type_: str | None, rows: Sequence[Any], now: datetime) -> Source:
    times = sorted(row.received_at for row in rows)
    return Source(
        type=type_,
        count=len(rows),
        last_day=sum(now - at <= timedelta(days=1) for at in times),
        last_at=times[-1],
        longest_gap=max((later - earlier for earlier, later in pairwise(times)), default=None),
        troubled=sum(row.state in TROUBLED for row in rows),
        labels=tuple(sorted({row.secret_label for row in rows})),
    )


# --- turned away -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rejected:
    """Requests turned away for one reason since a time. `minutes`: minute (UTC) -> how many."""

    reason: str
    count: int
    last_at: datetime
    minutes: dict[datetime, int]


def rejected_since(connection: Connection, since: datetime) -> tuple[Rejected, ...]:
    """By reason, the most frequent first."""
    query = select(rejections).where(rejections.c.minute >= since).order_by(rejections.c.minute)
    by_reason: dict[str, list[RowMapping]] = {}
    for row in connection.execute(query).mappings():
        by_reason.setdefault(row["reason"], []).append(row)
    found = (
        Rejected(
            reason=reason,
            count=sum(row["count"] for row in rows),
            last_at=max(row["last_at"] for row in rows),
            minutes={row["minute"]: row["count"] for row in rows},
        )
        for reason, rows in by_reason.items()
    )
    return tuple(sorted(found, key=lambda one: -one.count))
