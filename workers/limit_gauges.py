"""How far limits are used up, for people to look at. Nothing is locked, counted or reserved by looking."""

from __future__ import annotations

from datetime import datetime, time

from sqlalchemy import Connection

from workers.core.calendar import wall
from workers.core.limits import Ceiling, ceilings
from workers.core.policy import Limits, RuleLimits
from workers.limiting import rule_limit
from workers.services import Active
from workers.store import controls, limits, orders, overview_reads


def gauges(connection: Connection, active: Active, now: datetime) -> dict[str, tuple[Ceiling, ...]]:
    """Every ceiling in force at `now` (UTC), by the name of the switch that trips with it."""
    zone = active.calendar.zone
    day_began = wall(zone, now.astimezone(zone).date(), time())
    known = overview_reads.opened(connection, day_began)
    open_today = known if known is not None else orders.count_open(connection)

    def used(limit: Limits | RuleLimits, rule: str | None) -> tuple[Ceiling, ...]:
        return tuple(ceilings(limit, limits.count(connection, rule, "", now), open_today))

    own = {rule.name: rule.limits for rule in active.policy.rules if rule.limits is not None}
    return {
        controls.LIMITS: used(active.policy.limits, None),
        **{rule_limit(name): used(limit, name) for name, limit in own.items()},
    }
