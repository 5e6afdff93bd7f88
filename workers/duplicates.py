"""Rules that compare orders of one user: which other order a choice hangs on. It must be looked at as freshly
as the order itself, or of two duplicates the last one left might go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workers.core.case import Case
from workers.core.conditions import Condition, Duplicate
from workers.core.plan import RulePlan
from workers.core.policy import Policy, Rule


def matter(policy: Policy) -> bool:
    """Whether any rule or exemption compares orders."""
    asked = [*(rule.when for rule in policy.rules), *(rule.unless for rule in policy.rules)]
    asked += [exemption.if_ for exemption in policy.exemptions]
    return any(isinstance(part, Duplicate) for conditions in asked for part in _parts(conditions))


def keepers(rules: Iterable[RulePlan], case: Case) -> tuple[str, ...]:
    """The orders that would live in place of this one, by any of these rules: the best of each comparison."""
    best = (keeper for found in rules for keeper in _of_rule(found.rule, case))
    return tuple(dict.fromkeys(best))


def _of_rule(rule: Rule, case: Case) -> Iterator[str]:
    for part in _parts(rule.when):
        if isinstance(part, Duplicate) and (better := part.better(case)):
            yield better[0].id


def _parts(conditions: Iterable[Condition]) -> Iterator[Condition]:
    return (part for condition in conditions for part in condition.walk())
