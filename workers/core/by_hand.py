"""A cancellation that a person asks for, without any rule: what stands against it all the same. Pure.

It is held against the hard guards like a rule without conditions. Only what asks whether a *rule* means such
orders is lifted: redraws and orders scheduled for later, and with them hours, exemptions and limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from workers.core.calendar import Duration
from workers.core.case import Case
from workers.core.guards import guards
from workers.core.instants import Truth
from workers.core.plan import plan
from workers.core.policy import Act, Include, Mode, Policy, Rule, Then
from workers.core.status import Method
from workers.core.trace import Json, trace

NAME = "by hand"  # where a rule's name is expected
TRIGGER = "operator"  # of its decisions
FEE_ACCEPTED = "fee_accepted"  # in the trace of its decisions: whether the guard of the refund is lifted

_RULE = Rule(
    name=NAME,
    methods=tuple(Method),
    when=(),
    then=Then(Act.CANCEL_ORDER, psc_appointment="never"),
    mode=Mode.ENFORCE,
    settle=Duration.parse("0s"),
    act_any_time=True,
    include=(Include.REDRAWS, Include.SCHEDULED),
    backlog="include",
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stands against it, in words. `name`: the guard's; not `sure`: only a fresh look can tell."""

    name: str
    why: str
    sure: bool = True


def obstacles(policy: Policy, case: Case, *, fee_accepted: bool = False) -> Iterator[Obstacle]:
    """All that stands against cancelling the order now; of one that has ended only that."""
    if not case.order.open:
        yield Obstacle("ended", "it has ended already")
        return
    if case.held:
        yield Obstacle("hold", "a person holds this order; it has to be released first")
    for guard, permits in guards(policy, _rule(fee_accepted), case):
        said = permits.at(case.now)
        if said is not Truth.YES:
            yield Obstacle(guard.name, f"needs {guard.demands}", said is Truth.NO)


def told(policy: Policy, case: Case, *, fee_accepted: bool = False) -> Json:
    """What the decision was made of: the trace of a policy that is this rule alone."""
    alone = replace(policy, rules=(_rule(fee_accepted),), exemptions=(), mode=Mode.ENFORCE)
    return {**trace(alone, case, plan(alone, case)), FEE_ACCEPTED: fee_accepted}


def _rule(fee_accepted: bool) -> Rule:
    return replace(_RULE, refund="ignore") if fee_accepted else _RULE
