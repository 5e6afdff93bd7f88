"""Backtest, forecast and diff: a policy asked about many orders at once, on all cores. Nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from workers.core.case import Case
from workers.core.plan import effective_mode
from workers.core.policy import Act, Policy
from workers.core.replay import Firing, coming, replay
from workers.core.status import Method

R = TypeVar("R")
CHUNK = 250  # cases a task; large enough that sending them costs little beside planning them


@dataclass
class Tally:
    """What a rule would have done. Money in the currency of `lab_test.price`."""

    would_cancel: int = 0
    shadow: bool = False
    regret: int = 0  # collected or completed later: somebody wanted it after all
    by_hand: int = 0  # cancelled later anyway, and not by us
    days_saved: float = 0.0  # how much earlier than by hand, summed up
    money: float = 0.0  # price of what would have been cancelled without regret
    refunds_lost: int = 0  # home visits inside the window in which nothing is refunded

    def add(self, other: Tally) -> None:
        self.would_cancel += other.would_cancel
        self.shadow |= other.shadow
        self.regret += other.regret
        self.by_hand += other.by_hand
        self.days_saved += other.days_saved
        self.money += other.money
        self.refunds_lost += other.refunds_lost


@dataclass
class Backtest:
    """The outcome of a backtest: how many orders, and a tally a rule."""

    orders: int = 0
    rules: dict[str, Tally] = field(default_factory=dict)

    def add(self, other: Backtest) -> None:
        self.orders += other.orders
        for name, tally in other.rules.items():
            self.rules.setdefault(name, Tally()).add(tally)


@dataclass(frozen=True, slots=True)
class Coming:
    """An order that a rule will fire for, as things stand."""

    order_id: str
    rule: str
    action: str
    at: datetime
    mode: str


def backtest(
    policy: Policy, cases: Iterable[Case], until: datetime, progress: Callable[[int], object]
) -> Backtest:
    """Replays each order's history. `progress` is told how many orders are through since it was last told."""
    total = Backtest(rules={rule.name: Tally() for rule in policy.rules if rule.then.action is not Act.KEEP})
    for found in _on_all_cores(_backtest_some, policy, cases, until, progress):
        total.add(found)
    return total


def forecast(
    policy: Policy, cases: Iterable[Case], until: datetime, progress: Callable[[int], object]
) -> list[Coming]:
    """What will fire until then if nothing new happens, earliest first."""
    parts = _on_all_cores(_forecast_some, policy, cases, until, progress)
    found = [one for part in parts for one in part]
    return sorted(found, key=lambda coming: (coming.at, coming.order_id))


# --- in the processes that do the work -------------------------------------------------------------------


def _backtest_some(policy: Policy, cases: Sequence[Case], until: datetime) -> Backtest:
    found = Backtest(orders=len(cases))
    for case in map(_forgetful, cases):
        for firing in replay(policy, case, until):
            found.rules.setdefault(firing.rule.rule.name, Tally()).add(_tally(policy, case, firing))
    return found


def _forgetful(case: Case) -> Case:
    """Without what was decided and done about it since: a replay shall not know."""
    return replace(
        case,
        decided=frozenset(),
        notices={},
        live_since={},
        awake_since=None,
        refused_at=frozenset(),
        cancel_confirmed=False,
    )


def _tally(policy: Policy, case: Case, firing: Firing) -> Tally:
    later = [event for event in case.order.history.events if event.at > firing.at]
    reached = any(event.status.entry is not None and event.status.entry.reach.value >= 2 for event in later)
    others = (event for event in later if event.id not in case.own_events)
    cancelled = next((event.at for event in others if event.status.cancelled), None)
    return Tally(
        would_cancel=1,
        shadow=not firing.acts,
        regret=int(reached),
        by_hand=int(cancelled is not None),
        days_saved=(cancelled - firing.at) / timedelta(days=1) if cancelled is not None else 0.0,
        money=0.0 if reached else case.order.facts.price or 0.0,
        refunds_lost=int(_refund_lost(policy, firing)),
    )


def _refund_lost(policy: Policy, firing: Firing) -> bool:
    visit = firing.case.appointment_or_none
    if firing.case.order.method is not Method.AT_HOME or visit is None or visit.start is None:
        return False
    line = firing.case.calendar.subtract(visit.start, policy.home_visit_refund.window)
    return visit.status != "cancelled" and firing.at >= line


def _forecast_some(policy: Policy, cases: Sequence[Case], until: datetime) -> list[Coming]:
    return [_coming(policy, firing) for case in cases for firing in coming(policy, case, until)]


def _coming(policy: Policy, firing: Firing) -> Coming:
    rule, mode = firing.rule.rule, effective_mode(firing.rule, policy, firing.case)
    return Coming(firing.case.order.id, rule.name, rule.then.action.value, firing.at, mode.value)


# --- sharing the work ------------------------------------------------------------------------------------


def _on_all_cores(
    work: Callable[[Policy, Sequence[Case], datetime], R],
    policy: Policy,
    cases: Iterable[Case],
    until: datetime,
    progress: Callable[[int], object],
) -> Iterator[R]:
    chunks = _chunks(cases)
    first = list(islice(chunks, 2))
    if sum(map(len, first)) <= CHUNK:  # starting processes takes longer than a few orders
        for chunk in first:
            yield work(policy, chunk, until)
            progress(len(chunk))
        return
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = [(pool.submit(work, policy, chunk, until), len(chunk)) for chunk in first]
        while waiting:
            more = islice(chunks, 2 * workers - len(waiting))
            waiting += [(pool.submit(work, policy, chunk, until), len(chunk)) for chunk in more]
            future, size = waiting.pop(0)
            yield future.result()
            progress(size)


def _chunks(cases: Iterable[Case]) -> Iterator[list[Case]]:
    left = iter(cases)
    while chunk := list(islice(left, CHUNK)):
        yield chunk
