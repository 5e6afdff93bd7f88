"""News into rows, rows into plans: what projecting, evaluating and acting have in common. Always inside the
caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from workers import duplicates
from workers.core.case import Case
from workers.core.order import Order, merge
from workers.core.outlook import Outlook, look_again, outlook
from workers.core.plan import Plan, plan
from workers.services import Active, Services
from workers.store import decisions, orders
from workers.store.cases import gather


@dataclass(frozen=True, slots=True)
class News:
    """A piece of news of an order, and the inbox row that brought it (None: a look of ours)."""

    order: Order
    delivery: int | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """An order after its news: `before` is what was known, `version` the facts version it has now."""

    order: Order
    before: Order | None
    version: int
    look_again: int = 0

    @property
    def changed(self) -> bool:
        return self.before is None or _content(self.order) != _content(self.before)

    @property
    def moved(self) -> bool:
        """Whether it has another status, which is what it is compared by."""
        return self.before is None or self.before.last != self.order.last


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with what it was made of; `before` is the order without its latest news, None when there are
    none."""

    plan: Plan
    case: Case
    version: int
    look_again: int
    before: Order | None


def merge_news(connection: Connection, news: Iterable[News], now: datetime) -> dict[str, Merged]:
    """Folds news into the stored orders, which stay locked until the transaction ends."""
    by_order: dict[str, list[News]] = {}
    for piece in news:
        by_order.setdefault(piece.order.id, []).append(piece)
    orders.claim(
        connection, by_order, now
    )  # nobody waits for a new row before it has one, so no circle either
    users = _users(piece.order for pieces in by_order.values() for piece in pieces)
    orders.lock(connection, by_order, users)
    stored = orders.load(connection, by_order)
    merged = {}
    for order_id, pieces in by_order.items():
        known = stored[order_id]
        before = known.order if known.facts_version else None
        order = merge([*([before] if before else []), *(piece.order for piece in pieces)])
        found = Merged(order, before, known.facts_version, known.look_again)
        merged[order_id] = replace(found, version=found.version + 1) if found.changed else found
    orders.save(
        connection,
        {
            id_: orders.Change(found.order, found.before, by_order[id_][-1].delivery)
            for id_, found in merged.items()
            if found.changed
        },
        now,
    )
    return merged


def make_plans(
    connection: Connection,
    services: Services,
    active: Active,
    found: Mapping[str, Merged],
    now: datetime,
    seen: Collection[str] | None = None,
) -> dict[str, Planned]:
    """A plan for each order, in a fixed number of queries for all of them. `seen`: see `gather`."""
    around = services.surroundings(connection, active)
    cases = gather(connection, (merged.order for merged in found.values()), now, around, seen)
    return {
        id_: Planned(plan(active.policy, case), case, merged.version, merged.look_again, merged.before)
        for id_, case in cases.items()
        for merged in (found[id_],)
    }


def store_plans(connection: Connection, active: Active | None, planned: Mapping[str, Planned]) -> list[str]:
    """Writes when to look next; returns the orders that are due already."""
    ahead = {id_: _ahead(active, one) for id_, one in planned.items()}
    orders.plan_ahead(connection, ahead)
    return [
        id_ for id_, a in ahead.items() if a.outlook.next_at and a.outlook.next_at <= planned[id_].plan.now
    ]


def _ahead(active: Active | None, one: Planned) -> orders.Ahead:
    return orders.Ahead(one.version, active.number if active else None, outlook(one.plan, one.case))


def put_off(
    connection: Connection, active: Active, one: Planned, word: str, next_at: datetime | None = None
) -> None:
    """Nothing can be done now: look again at `next_at`, or ever later while nothing changes, though not later
    than something is sure to be due."""
    at = next_at or min([look_again(one.plan.now, one.look_again), *_surely_ahead(one.plan)])
    rule = one.plan.due[0].rule.name if one.plan.due else None
    saying = Outlook(word, at, rule, at)
    ahead = orders.Ahead(one.version, active.number, saying, one.look_again + 1)
    orders.plan_ahead(connection, {one.plan.order_id: ahead})


def _surely_ahead(plan: Plan) -> Iterator[datetime]:
    for rule in plan.rules:
        if rule.acts and rule.first is not None and rule.first > plan.now:
            yield rule.first
        if rule.notice is not None and rule.notice.send_at > plan.now:
            yield rule.notice.send_at


def replan(
    connection: Connection, services: Services, found: Mapping[str, Merged], now: datetime
) -> list[str]:
    """Plans orders anew and stores it; closes review items that are no longer true; returns who is due.

    Where a rule compares orders, the others of the same users are planned anew too, soon.
    """
    if not found:
        return []
    active = services.policy.read(connection)
    if active is None:
        waiting = Outlook("no_policy", None)
        ahead = {id_: orders.Ahead(merged.version, None, waiting) for id_, merged in found.items()}
        orders.plan_ahead(connection, ahead)
        return []
    if duplicates.matter(active.policy):
        moved = [id_ for id_, merged in found.items() if merged.moved]
        orders.wake_others(connection, moved, found, now)
    planned = make_plans(connection, services, active, found, now)
    close_lapsed(connection, planned, now)
    return store_plans(connection, active, planned)


def close_lapsed(connection: Connection, planned: Mapping[str, Planned], now: datetime) -> None:
    """Review items and held decisions whose rule no longer holds close themselves."""
    for row in decisions.open_ones(connection, planned):
        rules = planned[row["order_id"]].plan.rules
        mine = next(
            (rule for rule in rules if rule.rule.name == row["rule"] and rule.key == row["key"]), None
        )
        if mine is None or now not in mine.wanted.maybe:
            decisions.settle(connection, row["id"], "lapsed", "the rule no longer holds", now)


def _users(found: Iterable[Order]) -> set[str]:
    return {order.facts.user_id for order in found if order.facts.user_id is not None}


def as_merged(stored: orders.Stored) -> Merged:
    """An order as it is stored, without any news."""
    return Merged(stored.order, stored.order, stored.facts_version, stored.look_again)


def _content(order: Order) -> Order:
    """The order but for when its pictures were taken: the same picture again is no news."""
    facts = replace(order.facts, observed_at=order.facts.updated_at)
    slots = tuple(replace(slot, observed_at=slot.changed_at) for slot in order.appointments)
    return replace(order, facts=facts, appointments=slots)
