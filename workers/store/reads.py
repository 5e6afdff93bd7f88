"""What people look at: orders, their histories, decisions and actions, as rows ready to show. Lists are read
page by page along an index, never by counting rows off; totals are counted up to CAP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    RowMapping,
    Select,
    and_,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    tuple_,
    union,
)

from workers.core.status import CATALOGUE, Level, Reach, Window
from workers.store.orders import WAITS
from workers.store.schema import (
    actions,
    appointments,
    attempts,
    audit,
    decisions,
    deliveries,
    failures,
    holds,
    order_events,
    orders,
    rules,
)

Rows = Sequence[RowMapping]

CAP = 10_000  # nobody reads a longer list; counting further would cost more than it tells
BIGGEST_EVENT_ID = 2**63 - 1

# --- orders ------------------------------------------------------------------------------------------------

Opening = Literal["open", "opt_in", "closed", "ended", "unknown"]
Place = tuple[datetime, str]  # of an order in the list: when it changed, and its id


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders to list. Within a field any value fits, between fields all must; empty is no condition.

    statuses   high levels and low-level names
    openings   how our policy's window stands to them
    text       the id of an order, of a user, of an event, or of a delivery
    """

    statuses: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    openings: tuple[Opening, ...] = ()
    outlooks: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    created_from: datetime | None = None
    created_to: datetime | None = None
    changed_from: datetime | None = None
    changed_to: datetime | None = None
    held: bool = False
    failing: bool = False
    text: str = ""


EVERY_ORDER = OrderFilter()


def order_row(connection: Connection, order_id: str) -> RowMapping | None:
    return connection.execute(select(orders).where(orders.c.id == order_id)).mappings().first()


def list_orders(
    connection: Connection,
    wanted: OrderFilter = EVERY_ORDER,
    *,
    before: Place | None = None,
    after: Place | None = None,
    limit: int = 50,
) -> Rows:
    """Newest change first: the page before (older than) a place, or the one right after (newer than) it."""
    place = tuple_(orders.c.changed_at, orders.c.id)
    query = select(orders).where(*_order_conditions(wanted)).limit(limit)
    if after is not None:
        upwards = query.where(place > after).order_by(orders.c.changed_at, orders.c.id)
        return connection.execute(upwards).mappings().all()[::-1]
    if before is not None:
        query = query.where(place < before)
    query = query.order_by(orders.c.changed_at.desc(), orders.c.id.desc())
    return connection.execute(query).mappings().all()


def count_orders(connection: Connection, wanted: OrderFilter = EVERY_ORDER) -> int:
    """How many fit; CAP + 1 when there are more than CAP."""
    return _capped(connection, select(orders.c.id).where(*_order_conditions(wanted)))


def ids_of_orders(connection: Connection, wanted: OrderFilter, limit: int) -> list[str]:
    """Newest change first."""
    query = select(orders.c.id).where(*_order_conditions(wanted))
    newest = query.order_by(orders.c.changed_at.desc(), orders.c.id.desc())
    return list(connection.execute(newest.limit(limit)).scalars())


def states_of(connection: Connection, ids: Iterable[str]) -> Rows:
    """Of these orders, as far as they are known: id, status name and whether they are open."""
    query = select(orders.c.id, orders.c.status_name, orders.c.open).where(orders.c.id.in_(sorted(set(ids))))
    return connection.execute(query).mappings().all()


def count_newer_orders(connection: Connection, wanted: OrderFilter, since: Place) -> int:
    """How many that fit changed after a place in the list; counted up to CAP."""
    newer = tuple_(orders.c.changed_at, orders.c.id) > since
    return _capped(connection, select(orders.c.id).where(newer, *_order_conditions(wanted)))


def orders_mark(connection: Connection) -> object:
    """Differs whenever an order came or changed."""
    newest = select(orders.c.changed_at, orders.c.id).order_by(orders.c.changed_at.desc(), orders.c.id.desc())
    return _marked(connection, newest.limit(1))


def _order_conditions(wanted: OrderFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.statuses:
        levels = [word for word in wanted.statuses if word in set(Level)]
        found.append(
            or_(
                orders.c.status_name.in_(wanted.statuses),
                *(orders.c.status.startswith(f"{level}.", autoescape=True) for level in levels),
            )
        )
    if wanted.methods:
        found.append(orders.c.method.in_(wanted.methods))
    if wanted.openings:
        found.append(or_(*(_OPENINGS[opening] for opening in wanted.openings)))
    if wanted.outlooks:
        found.append(orders.c.outlook.in_(wanted.outlooks))
    if wanted.rules:
        found.append(orders.c.outlook_rule.in_(wanted.rules))
    found += _between(orders.c.created_at, wanted.created_from, wanted.created_to)
    found += _between(orders.c.changed_at, wanted.changed_from, wanted.changed_to)
    if wanted.held:
        found.append(orders.c.id.in_(select(holds.c.order_id)))
    if wanted.failing:
        found.append(_failing())
    if wanted.text:
        found.append(orders.c.id.in_(_named(wanted.text)))
    return found


def _pairs(*windows: Window) -> ColumnElement[bool]:
    """Orders whose status has one of these windows. Ended ones are told by `open`."""
    pairs = [(e.method.value, e.name) for e in CATALOGUE.values() if e.window in windows and not e.terminal]
    return tuple_(orders.c.method, orders.c.status_name).in_(pairs)


def _left_us() -> ColumnElement[bool]:
    """Something in the history, not only the latest status, shows the kit out or the sample taken."""
    gone = sorted({entry.name for entry in CATALOGUE.values() if entry.reach is not Reach.NOWHERE})
    said = or_(*(order_events.c.status.endswith(f".{name}", autoescape=True) for name in gone))
    events = exists().where(order_events.c.order_id == orders.c.id, said)
    return or_(events, func.coalesce(orders.c.facts["outbound_tracking"].as_boolean(), False))


_FREE = _pairs(Window.OPEN, Window.UNTIL_SHIPPED)
_OPT_IN = _pairs(Window.REGISTERED_KITS, Window.DRAWN)
_KNOWN = _pairs(*Window)
_OPENINGS: dict[Opening, ColumnElement[bool]] = {
    "open": and_(orders.c.open, not_(orders.c.reinstated), _FREE, not_(_left_us())),
    "opt_in": and_(orders.c.open, not_(orders.c.reinstated), _OPT_IN),
    "closed": and_(
        orders.c.open, _KNOWN, or_(orders.c.reinstated, _pairs(Window.CLOSED), and_(_FREE, _left_us()))
    ),
    "ended": not_(orders.c.open),
    "unknown": and_(orders.c.open, not_(func.coalesce(_KNOWN, False))),
}

# Outlooks that say a look did not come off.
TROUBLES = ("quarantined", "clock_skew", WAITS)


def _failing() -> ColumnElement[bool]:
    """Each way along an index of its own."""
    dead = select(failures.c.order_id).where(failures.c.state == "open", failures.c.order_id.is_not(None))
    troubled = select(orders.c.id).where(orders.c.outlook.in_(TROUBLES))
    return orders.c.id.in_(select(union(troubled, dead).subquery().c.id))


def _named(text: str) -> Select[Any]:
    """The ids of the orders a text may mean, each way along an index of its own."""
    ways = [
        select(orders.c.id).where(orders.c.id == text),
        select(orders.c.id).where(orders.c.user_id == text),
        select(deliveries.c.order_id).where(deliveries.c.delivery_id == text),
    ]
    if len(text) < 20 and text.isdecimal() and int(text) <= BIGGEST_EVENT_ID:
        ways.append(select(order_events.c.order_id).where(order_events.c.event_id == int(text)))
    return select(union(*ways).subquery().c.id)


def held_among(connection: Connection, ids: Iterable[str]) -> frozenset[str]:
    query = select(holds.c.order_id).where(holds.c.order_id.in_(sorted(set(ids))))
    return frozenset(connection.execute(query).scalars())


def late_among(connection: Connection, ids: Iterable[str]) -> frozenset[str]:
    """Orders some delivery of which came after what happened later."""
    query = (
        select(deliveries.c.order_id)
        .where(deliveries.c.order_id.in_(sorted(set(ids))), deliveries.c.result == "out_of_order")
        .distinct()
    )
    return frozenset(connection.execute(query).scalars())


def latest_decisions(connection: Connection, ids: Iterable[str]) -> dict[str, RowMapping]:
    """The newest decision of each order that has one, without its trace."""
    newest = (
        select(func.max(decisions.c.id))
        .where(decisions.c.order_id.in_(sorted(set(ids))))
        .group_by(decisions.c.order_id)
    )
    query = select(*_without(decisions, "trace")).where(decisions.c.id.in_(newest))
    return {row["order_id"]: row for row in connection.execute(query).mappings()}


def siblings_of(connection: Connection, order: Mapping[Any, Any], limit: int = 20) -> Rows:
    """Other orders of the same user, newest first."""
    query = (
        select(orders.c.id, orders.c.method, orders.c.status, orders.c.status_name, orders.c.created_at)
        .where(orders.c.user_id == order["user_id"], orders.c.id != order["id"])
        .order_by(orders.c.changed_at.desc())
        .limit(limit)
    )
    return connection.execute(query).mappings().all()


# --- one order ---------------------------------------------------------------------------------------------


def events_of(connection: Connection, order_id: str) -> Rows:
    """The history, oldest first, each with the delivery that brought it."""
    query = (
        select(order_events, deliveries.c.delivery_id, deliveries.c.received_at)
        .join(deliveries, deliveries.c.id == order_events.c.delivery, isouter=True)
        .where(order_events.c.order_id == order_id)
        .order_by(order_events.c.at, order_events.c.event_id)
    )
    return connection.execute(query).mappings().all()


def deliveries_of(connection: Connection, order_id: str) -> Rows:
    query = select(deliveries).where(deliveries.c.order_id == order_id).order_by(deliveries.c.id)
    return connection.execute(query).mappings().all()


def appointments_of(connection: Connection, order_id: str) -> Rows:
    query = (
        select(appointments).where(appointments.c.order_id == order_id).order_by(appointments.c.changed_at)
    )
    return connection.execute(query).mappings().all()


def decisions_of(connection: Connection, order_id: str) -> Rows:
    """Newest first."""
    query = select(decisions).where(decisions.c.order_id == order_id).order_by(decisions.c.id.desc())
    return connection.execute(query).mappings().all()


def actions_of(connection: Connection, order_id: str) -> Rows:
    query = select(actions).where(actions.c.order_id == order_id).order_by(actions.c.id)
    return connection.execute(query).mappings().all()


def attempts_of(connection: Connection, order_id: str) -> Rows:
    """Every exchange with Junction about the order's actions, oldest first."""
    query = (
        select(attempts)
        .join(actions, actions.c.id == attempts.c.action)
        .where(actions.c.order_id == order_id)
        .order_by(attempts.c.id)
    )
    return connection.execute(query).mappings().all()


def hold_of(connection: Connection, order_id: str) -> RowMapping | None:
    return connection.execute(select(holds).where(holds.c.order_id == order_id)).mappings().first()


def audit_of(connection: Connection, order_id: str) -> Rows:
    """What people did to the order itself or said about it, oldest first."""
    query = select(audit).where(audit.c.target.in_([order_id, f"order:{order_id}"])).order_by(audit.c.id)
    return connection.execute(query).mappings().all()


def order_mark(connection: Connection, order_id: str) -> object:
    """Differs whenever something happened to the order, or somebody did something about it."""
    own = {
        orders.c.id: (orders.c.facts_version, orders.c.next_at, orders.c.outlook, orders.c.outlook_at),
        holds.c.order_id: (holds.c.at,),
    }
    news = {
        deliveries.c.order_id: (func.max(deliveries.c.id), func.sum(deliveries.c.duplicates)),
        decisions.c.order_id: (func.max(decisions.c.last_at), func.max(decisions.c.resolved_at)),
        actions.c.order_id: (
            func.max(actions.c.id),
            func.max(actions.c.changed_at),
            func.sum(actions.c.looks),
        ),
        audit.c.target: (func.max(audit.c.id),),
    }
    queries = [select(*columns).where(key == order_id) for key, columns in (own | news).items()]
    return tuple(_marked(connection, query) for query in queries)


# --- decisions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """Which decisions to list, as in `OrderFilter`. `changed`: those with another verdict than the last one
    about the same order under an earlier policy."""

    verdicts: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    order_id: str = ""
    at_from: datetime | None = None
    at_to: datetime | None = None
    changed: bool = False


EVERY_DECISION = DecisionFilter()


def decision_row(connection: Connection, decision_id: int) -> RowMapping | None:
    return connection.execute(select(decisions).where(decisions.c.id == decision_id)).mappings().first()


def list_decisions(
    connection: Connection,
    wanted: DecisionFilter = EVERY_DECISION,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> Rows:
    """Newest first, without their traces: the page before (older than) an id, or the one right after it."""
    columns = _without(decisions, "trace")
    query = select(*columns).where(*_decision_conditions(wanted)).limit(limit)
    if after is not None:
        upwards = query.where(decisions.c.id > after).order_by(decisions.c.id)
        return connection.execute(upwards).mappings().all()[::-1]
    if before is not None:
        query = query.where(decisions.c.id < before)
    return connection.execute(query.order_by(decisions.c.id.desc())).mappings().all()


def count_decisions(connection: Connection, wanted: DecisionFilter = EVERY_DECISION) -> int:
    """How many fit; CAP + 1 when there are more than CAP."""
    return _capped(connection, select(decisions.c.id).where(*_decision_conditions(wanted)))


def _decision_conditions(wanted: DecisionFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for column, values in (
        (decisions.c.verdict, wanted.verdicts),
        (decisions.c.state, wanted.states),
        (decisions.c.rule, wanted.rules),
    ):
        if values:
            found.append(column.in_(values))
    if wanted.order_id:
        found.append(decisions.c.order_id == wanted.order_id)
    if wanted.changed:
        found.append(_changed())
    return [*found, *_between(decisions.c.at, wanted.at_from, wanted.at_to)]


def _changed() -> ColumnElement[bool]:
    earlier = decisions.alias()
    last_before = (
        select(earlier.c.verdict)
        .where(
            earlier.c.order_id == decisions.c.order_id,
            earlier.c.space == decisions.c.space,
            earlier.c.generation < decisions.c.generation,
        )
        .order_by(earlier.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return last_before != decisions.c.verdict  # of the first about an order it is not known


def decisions_mark(connection: Connection) -> object:
    """Differs whenever something was decided, or somebody answered what was open."""
    waiting = select(func.count(), func.max(decisions.c.id)).where(decisions.c.state == "open")
    return _marked(connection, waiting), _marked(connection, select(func.max(decisions.c.id)))


def actions_of_decisions(connection: Connection, ids: Iterable[int]) -> dict[int, list[RowMapping]]:
    """What each of these decisions did, in the order of its steps."""
    query = (
        select(actions)
        .where(actions.c.decision.in_(sorted(set(ids))))
        .order_by(actions.c.decision, actions.c.step)
    )
    found: dict[int, list[RowMapping]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(row["decision"], []).append(row)
    return found


def attempts_of_decision(connection: Connection, decision_id: int) -> Rows:
    """Every exchange with Junction about it, oldest first."""
    query = (
        select(attempts, actions.c.kind)
        .join(actions, actions.c.id == attempts.c.action)
        .where(actions.c.decision == decision_id)
        .order_by(attempts.c.id)
    )
    return connection.execute(query).mappings().all()


def rule_names(connection: Connection) -> list[str]:
    """Every rule that was ever active."""
    return list(connection.execute(select(rules.c.name).order_by(rules.c.name)).scalars())


# --- for all lists -----------------------------------------------------------------------------------------


def _capped(connection: Connection, query: Select[Any]) -> int:
    some = query.limit(literal(CAP + 1)).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def _marked(connection: Connection, query: Executable) -> object:
    row = connection.execute(query).first()
    return None if row is None else tuple(row)


def _between(
    column: ColumnElement[Any], first: datetime | None, last: datetime | None
) -> list[ColumnElement[bool]]:
    """From `first` on, up to but without `last`."""
    found: list[ColumnElement[bool]] = []
    if first is not None:
        found.append(column >= first)
    if last is not None:
        found.append(column < last)
    return found


def _without(table: Any, *names: str) -> list[Any]:
    return [column for column in table.c if column.name not in names]
