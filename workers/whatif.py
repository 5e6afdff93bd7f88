"""Where the orders of a backtest, forecast or diff come from: the store, or straight from Junction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from workers.core.case import Case
from workers.core.policy import Policy
from workers.junction import Found, Junction, Window
from workers.store import orders
from workers.store.cases import Surroundings, gather

BATCH = 500


class JunctionSilent(Exception):
    """Junction did not give the list; the message says what it answered."""


def surroundings(policy: Policy, team_id: str) -> Surroundings:
    """As if this installation were the policy's own: a what-if is not about who may act."""
    return Surroundings(policy.time.calendar(), policy.environment, team_id, {}, None)


def stored_cases(
    connection: Connection, policy: Policy, now: datetime, *, only_open: bool, since: datetime | None = None
) -> Iterator[Case]:
    """Cases of the orders in the store, created at or after `since`; a batch of them in memory at a time."""
    after = ""
    while ids := orders.ids_after(connection, after, BATCH, only_open=only_open, since=since):
        found = [stored.order for stored in orders.load(connection, ids).values()]
        by_team: dict[str, list[Case]] = {}
        for team in {order.facts.team_id or "" for order in found}:
            mine = [order for order in found if (order.facts.team_id or "") == team]
            by_team[team] = list(gather(connection, mine, now, surroundings(policy, team)).values())
        for cases in by_team.values():
            yield from cases
        after = ids[-1]


def junction_cases(junction: Junction, policy: Policy, window: Window, now: datetime) -> Iterator[Case]:
    """Cases of all orders that Junction changed in the window. Each carries its dated events, so this works
    before the first webhook; signals and labels are not known there. Raises JunctionSilent."""
    page = 1
    while True:
        match junction.list_orders(window, page=page):
            case Found(value=found):
                for order in found.orders:
                    around = surroundings(policy, order.facts.team_id or "")
                    yield Case(
                        order=order,
                        now=now,
                        calendar=around.calendar,
                        environment=around.environment,
                        team_id=order.facts.team_id,
                    )
                if not found.more:
                    return
                page += 1
            case other:
                raise JunctionSilent(f"Junction's list of orders, page {page}: {other.outcome}")
