"""A plan in a word, for lists and countdowns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from workers.core.case import Case
from workers.core.plan import Plan, Verdict

FIRST_LOOK_AGAIN = timedelta(hours=1)
LONGEST_LOOK_AGAIN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Outlook:
    """When to look next, and what to say until then. `at` is when the rule will act, if it will."""

    word: str
    next_at: datetime | None
    rule: str | None = None
    at: datetime | None = None


def outlook(plan: Plan, case: Case) -> Outlook:
    """What an operator reads in a list. The most telling thing first."""
    order = case.order
    if not order.open and plan.next_at is None:
        return Outlook("closed", None)
    if case.held:
        return Outlook("on_hold", plan.next_at)
    if order.history.reinstated:
        return Outlook("reinstated", plan.next_at)
    if order.entry is None:
        return Outlook("unknown_status", plan.next_at)
    coming = plan.next_rule
    if coming is not None:
        return Outlook("will_cancel", plan.next_at, coming.rule.name, coming.expected)
    for verdict, word in _WORDS.items():
        found = next((rule for rule in plan.rules if rule.verdict is verdict and rule.space == "live"), None)
        if found is not None:
            return Outlook(word, plan.next_at, found.rule.name)
    return Outlook("kept", plan.next_at)


_WORDS = {
    Verdict.DECIDED: "decided",
    Verdict.NEVER_LEGAL: "never_legal",
    Verdict.UNCLEAR: "unclear",
    Verdict.WAITS: "unclear",
    Verdict.BACKLOG: "backlog",
}


def look_again(now: datetime, times: int) -> datetime:
    """When to look once more at what a look could not settle: an hour, doubling to a day."""
    doubled: timedelta = FIRST_LOOK_AGAIN * 2 ** min(times, 10)
    return now + min(doubled, LONGEST_LOOK_AGAIN)
