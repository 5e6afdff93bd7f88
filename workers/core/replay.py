"""What a policy would have done with an order along its history, and will do if nothing more happens.

Pure: the same engine that decides, asked at each instant that matters. Notices count as delivered when sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from workers.core.case import Case
from workers.core.plan import Notice, Plan, RulePlan, plan
from workers.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Firing:
    """One rule becoming due: when, and whether it would have acted (not shadow)."""

    at: datetime
    rule: RulePlan
    case: Case

    @property
    def acts(self) -> bool:
        return self.rule.space == "live"


def replay(policy: Policy, case: Case, until: datetime) -> Iterator[Firing]:
    """The firings up to `until`, oldest first, ending with the first that acts. `case.now` does not matter.

    At each event the rest of the history is covered up. Of an appointment only the last picture is known; it
    counts from its booking on. Signals count from when they were posted, labels as if they had always been.
    """
    instants = [event.at for event in case.order.history.events]
    instants += [signal.at for signal in case.signals]
    instants += [slot.booked_at for slot in case.order.appointments if slot.booked_at is not None]
    changes = sorted({at for at in instants if at <= until})
    for at, following in zip(changes, [*changes[1:], until], strict=True):
        for firing in _between(policy, as_of(case, at), following):
            yield firing
            if firing.acts:
                return
            case = replace(case, decided=case.decided | {f"{firing.rule.space}:{firing.rule.key}"})


def as_of(case: Case, now: datetime) -> Case:
    """The case as it could have been known at `now`."""
    order = case.order
    slots = tuple(slot for slot in order.appointments if (slot.booked_at or slot.changed_at) <= now)
    return replace(
        case,
        now=now,
        order=replace(order, history=order.history.until(now), appointments=slots),
        signals=tuple(signal for signal in case.signals if signal.at <= now),
    )


def _between(policy: Policy, case: Case, end: datetime) -> Iterator[Firing]:
    """Firings from `case.now` until just before `end`, while nothing new happens."""
    while case.now < end:
        found = plan(policy, case)
        for rule in found.due:
            yield Firing(case.now, rule, case)
            if rule.space == "live":
                return
        fired = {f"{rule.space}:{rule.key}" for rule in found.due}
        told = {notice.key: max(notice.send_at, case.now) for notice in _sent_by(found, end)}
        following = min(_coming(found, told), default=None)
        if following is None or following >= end:
            return
        case = replace(case, now=following, decided=case.decided | fired, notices={**case.notices, **told})


def _sent_by(found: Plan, end: datetime) -> Iterator[Notice]:
    return (rule.notice for rule in found.rules if rule.notice is not None and rule.notice.send_at < end)


def _coming(found: Plan, told: dict[str, datetime]) -> Iterator[datetime]:
    """When something may happen next: a rule's first instant, or the end of the wait for its notice."""
    for rule in found.rules:
        if rule.first is not None and rule.first > found.now and rule.acts:
            yield rule.first
        if rule.notice is not None and rule.notice.key in told:
            yield max(rule.notice.due_at, found.now)
