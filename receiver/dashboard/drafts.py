"""What a draft of a policy would change for the orders that are open now. Nothing is saved or done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from threading import Semaphore

from sqlalchemy import Connection

from workers.core.outlook import outlook
from workers.core.plan import plan
from workers.core.policy import Policy
from workers.store import orders
from workers.whatif import stored_cases

MOST_ORDERS = 2_000  # looked at; planning them twice takes seconds

# Planning keeps a core busy; more at once would starve everybody else's pages.
_ONE_AT_A_TIME = Semaphore()


@dataclass(frozen=True, slots=True)
class Fate:
    """An order that a rule will act on, if nothing new happens."""

    order_id: str
    rule: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one order under the present policy and under the draft; None: no rule acts on it."""

    order_id: str
    now: Fate | None
    then: Fate | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`changes`: those that gain an end first, then those that lose it, then those that end otherwise."""

    looked_at: int
    open_orders: int
    changes: tuple[Change, ...]
    rules: tuple[tuple[str, int, int], ...]  # name, orders now, orders under the draft

    @property
    def gained(self) -> int:
        return sum(change.now is None for change in self.changes)

    @property
    def lost(self) -> int:
        return sum(change.then is None for change in self.changes)

    @property
    def moved(self) -> int:
        return len(self.changes) - self.gained - self.lost


def compare(connection: Connection, active: Policy | None, draft: Policy, now: datetime) -> Comparison:
    """Both policies asked about the same open orders, as they stand in the store. Takes seconds."""
    with _ONE_AT_A_TIME:
        looked_at, then = _fates(connection, draft, now)
        before = _fates(connection, active, now)[1] if active else {}
    changes = [
        Change(order_id, before.get(order_id), then.get(order_id))
        for order_id in sorted({*before, *then})
        if before.get(order_id) != then.get(order_id)
    ]
    changes.sort(key=lambda change: (change.now is not None, change.then is not None))
    return Comparison(
        looked_at=looked_at,
        open_orders=orders.count_open(connection),
        changes=tuple(changes),
        rules=tuple(_by_rule(before.values(), then.values())),
    )


def _fates(connection: Connection, policy: Policy, now: datetime) -> tuple[int, dict[str, Fate]]:
    """How many orders were looked at, and what becomes of those that a rule will cancel, as lists tell it."""
    looked_at, found = 0, {}
    for case in islice(stored_cases(connection, policy, now, only_open=True), MOST_ORDERS):
        looked_at += 1
        ahead = outlook(plan(policy, case), case)
        if ahead.rule is not None and ahead.at is not None:
            found[case.order.id] = Fate(case.order.id, ahead.rule, ahead.at)
    return looked_at, found


def _by_rule(before: Iterable[Fate], then: Iterable[Fate]) -> Iterator[tuple[str, int, int]]:
    now, later = (Counter(fate.rule for fate in fates) for fates in (before, then))
    for name in sorted({*now, *later}):
        yield name, now[name], later[name]
