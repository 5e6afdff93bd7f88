"""Whether a decision fits under the limits: of its rule and of the whole policy. More due at once than fits
trips the limit before anything is done, and what was due is held until a person resumes."""

from __future__ import annotations

from datetime import datetime, time

from sqlalchemy import Connection

from workers.core.calendar import wall
from workers.core.limits import exceeded, room
from workers.core.policy import Limits, Policy, Rule, RuleLimits
from workers.services import Active
from workers.store import controls, limits, orders


def rule_limit(rule: str) -> str:
    """The control row of one rule's limits."""
    return f"limits:{rule}"


def lock(connection: Connection, policy: Policy) -> None:
    """Of several workers at once none counts what another is about to reserve. Taken before any order."""
    limited = (rule_limit(rule.name) for rule in policy.rules if rule.limits is not None)
    controls.lock(connection, [controls.LIMITS, *limited], alone=True)


def may_count(connection: Connection, active: Active, now: datetime) -> bool:
    """Whether it is known what is due: not while orders still wait for their plan under a new policy, or the
    first of too many would go before the rest are counted."""
    return not orders.any_stale(connection, active.number, now)


def held_back(connection: Connection, active: Active, rule: Rule, order_id: str, now: datetime) -> str | None:
    """Why this order must wait for a person; None when it fits. The limits are locked."""
    scopes = _scopes(active, rule)
    for name, reason in controls.raised(connection, scopes).items():
        return f"{name} tripped: {reason}"
    open_today = limits.open_today(connection, _day_began(active, now))
    for name, (limit, whose) in scopes.items():
        counted = limits.count(connection, whose, order_id, now)
        if (ceiling := exceeded(limit, counted, open_today)) is not None:
            reason = f"{counted.due} due, {ceiling.used} of {ceiling.most} used ({ceiling.name})"
            controls.switch(connection, name, on=True, actor="engine", reason=reason, now=now)
            return f"{name} tripped: {reason}"
    return None


def resume(
    connection: Connection, active: Active, rule: Rule | None, actor: str, reason: str, now: datetime
) -> int:
    """Resets a tripped limit and lets go of as many held decisions as fit; returns how many those are."""
    name = rule_limit(rule.name) if rule else controls.LIMITS
    limit = rule.limits if rule else active.policy.limits
    controls.lock(connection, [name], alone=True)
    controls.switch(connection, name, on=False, actor=actor, reason=reason, now=now)
    if limit is None:
        return 0
    counted = limits.count(connection, rule.name if rule else None, "", now)
    fits = room(limit, counted, limits.open_today(connection, _day_began(active, now)))
    return len(limits.let_go(connection, rule.name if rule else None, fits, actor, now))


def _scopes(active: Active, rule: Rule) -> dict[str, tuple[Limits | RuleLimits, str | None]]:
    """Control row -> its limits, and the rule they count (None: all)."""
    scopes: dict[str, tuple[Limits | RuleLimits, str | None]] = {
        controls.LIMITS: (active.policy.limits, None)
    }
    if rule.limits is not None:
        scopes[rule_limit(rule.name)] = (rule.limits, rule.name)
    return scopes


def _day_began(active: Active, now: datetime) -> datetime:
    zone = active.calendar.zone
    return wall(zone, now.astimezone(zone).date(), time())
