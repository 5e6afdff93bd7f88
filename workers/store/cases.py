"""Gathering what a rule may look at, for a whole batch of orders in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Connection, and_, or_, select

from workers.core.calendar import Calendar
from workers.core.case import Case, Scope, Sibling, Signal
from workers.core.order import Order
from workers.core.status import Method, entry
from workers.store.outbox import SCHEDULED
from workers.store.schema import LIVE_STATES, actions, decisions, holds, labels, orders, outbox, signals


@dataclass(frozen=True)
class Surroundings:
    """What is the same for every order of this installation."""

    calendar: Calendar
    environment: str
    team_id: str
    live_since: Mapping[str, datetime]
    awake_since: datetime | None


def gather(
    connection: Connection,
    found: Iterable[Order],
    now: datetime,
    around: Surroundings,
    seen: Collection[str] | None = None,
) -> dict[str, Case]:
    """A case for each order, at `now`. `seen`: the orders that were just looked at; None: no matter."""
    by_id = {order.id: order for order in found}
    ids = sorted(by_id)
    users = sorted({order.facts.user_id for order in by_id.values() if order.facts.user_id})
    said = _signals(connection, ids, users)
    stuck = _labels(connection, ids, users)
    held = set(connection.execute(select(holds.c.order_id).where(holds.c.order_id.in_(ids))).scalars())
    said_at = dict(
        connection.execute(select(orders.c.id, orders.c.said_at).where(orders.c.id.in_(ids))).all()
    )
    decided = _decided(connection, ids)
    ledger = _ledger(connection, ids)
    siblings = _siblings(connection, users, seen)
    notices = _notices(connection, ids)

    def case(order: Order) -> Case:
        user = order.facts.user_id
        own = ledger.get(order.id, _Ledger())
        return Case(
            order=order,
            now=now,
            calendar=around.calendar,
            environment=around.environment,
            team_id=around.team_id,
            signals=(*said["order", order.id], *(said["user", user] if user else ())),
            labels=frozenset((*stuck["order", order.id], *(stuck["user", user] if user else ()))),
            siblings=tuple(other for other in siblings[user] if other.id != order.id) if user else (),
            held=order.id in held,
            own_events=frozenset(own.events),
            refused_at=frozenset(own.refused_at),
            cancel_confirmed=own.cancel_confirmed,
            decided=frozenset(decided[order.id]),
            notices=notices[order.id],
            live_since=around.live_since,
            # What only became true because somebody said so is not overdue from before.
            awake_since=max(filter(None, (around.awake_since, said_at.get(order.id))), default=None),
        )

    return {order.id: case(order) for order in by_id.values()}


class _Ledger:
    """What our own actions did to one order."""

    def __init__(self) -> None:
        self.events: set[int] = set()
        self.refused_at: set[int] = set()
        self.cancel_confirmed = False


def _signals(connection: Connection, ids: list[str], users: list[str]) -> dict[tuple[str, str], list[Signal]]:
    query = select(signals.c.scope, signals.c.target, signals.c.name, signals.c.at).where(
        signals.c.retracted_at.is_(None), _about(signals.c.scope, signals.c.target, ids, users)
    )
    found: dict[tuple[str, str], list[Signal]] = defaultdict(list)
    for scope, target, name, at in connection.execute(query):
        found[scope, target].append(Signal(name, scope, at))
    return found


def _labels(
    connection: Connection, ids: list[str], users: list[str]
) -> dict[tuple[str, str], list[tuple[Scope, str]]]:
    query = select(labels.c.scope, labels.c.target, labels.c.label).where(
        _about(labels.c.scope, labels.c.target, ids, users)
    )
    found: dict[tuple[str, str], list[tuple[Scope, str]]] = defaultdict(list)
    for scope, target, label in connection.execute(query):
        found[scope, target].append((scope, label))
    return found


def _about(scope: Column[str], target: Column[str], ids: list[str], users: list[str]) -> ColumnElement[bool]:
    return or_(and_(scope == "order", target.in_(ids)), and_(scope == "user", target.in_(users)))


def _decided(connection: Connection, ids: list[str]) -> dict[str, list[str]]:
    query = select(decisions.c.order_id, decisions.c.space, decisions.c.key).where(
        decisions.c.order_id.in_(ids), decisions.c.key.is_not(None)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for order_id, space, key in connection.execute(query):
        found[order_id].append(f"{space}:{key}")
    return found


def _ledger(connection: Connection, ids: list[str]) -> dict[str, _Ledger]:
    query = select(
        actions.c.order_id, actions.c.kind, actions.c.state, actions.c.baseline, actions.c.event
    ).where(actions.c.order_id.in_(ids))
    found: dict[str, _Ledger] = defaultdict(_Ledger)
    for order_id, kind, state, baseline, event in connection.execute(query):
        own = found[order_id]
        if event is not None:
            own.events.add(event)
        if kind == "cancel_order" and state == "refused" and baseline is not None:
            own.refused_at.add(baseline)
        own.cancel_confirmed |= kind == "cancel_order" and state == "confirmed"
    return found


def _siblings(
    connection: Connection, users: list[str], seen: Collection[str] | None
) -> dict[str | None, list[Sibling]]:
    """Their open orders, but for those that an action of ours is about to end, or has ended."""
    ending = select(actions.c.id).where(
        actions.c.order_id == orders.c.id, actions.c.kind == "cancel_order", actions.c.state.in_(LIVE_STATES)
    )
    query = select(
        orders.c.user_id,
        orders.c.id,
        orders.c.lab_test_id,
        orders.c.created_at,
        orders.c.method,
        orders.c.status_name,
    ).where(orders.c.user_id.in_(users), orders.c.open, ~ending.exists())
    found: dict[str | None, list[Sibling]] = defaultdict(list)
    for user, id_, lab_test, created_at, method, name in connection.execute(query):
        known = entry(Method(method), name) if method and name else None
        progress = known.progress if known else None
        found[user].append(Sibling(id_, lab_test, created_at, progress, seen is None or id_ in seen))
    return found


def _notices(connection: Connection, ids: list[str]) -> dict[str, dict[str, datetime | None]]:
    query = select(outbox.c.order_id, outbox.c.key, outbox.c.delivered_at).where(
        outbox.c.order_id.in_(ids), outbox.c.type == SCHEDULED
    )
    found: dict[str, dict[str, datetime | None]] = defaultdict(dict)
    for order_id, key, delivered_at in connection.execute(query):
        found[order_id][key] = delivered_at
    return found
