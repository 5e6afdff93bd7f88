"""Where the orders of a backtest, forecast or diff come from: the store, or straight from Junction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from workers.core.case import Case
from workers.core.policy import Policy
from workers.junction import Found, Junction, Window
from workers.policy_loading import live_since
from workers.store import orders, policies
from workers.store.cases import Surroundings, gather

BATCH = 500


class JunctionSilent(Exception):
    """Junction did not give the list; the message says what it answered."""


def stored_cases(
    connection: Connection, policy: Policy, now: datetime, *, only_open: bool, since: datetime | None = None
) -> Iterator[Case]:
    """Cases of the orders in the store, created at or after `since`, as if the policy were loaded now: rules
    that would begin to act leave their backlog alone. A batch of them in memory at a time."""
    modes = live_since(policy, policies.modes(connection), now)
    acting = {name: at for name, (_, at) in modes.items() if at is not None}
    # As if this installation were the policy's own: a what-if is not about who may act.
    around = Surroundings(policy.time.calendar(), policy.environment, "", acting, None)
    after = ""
    while ids := orders.ids_after(connection, after, BATCH, only_open=only_open, since=since):
        found = [stored.order for stored in orders.load(connection, ids).values()]
        for case in gather(connection, found, now, around).values():
            yield replace(case, team_id=case.order.facts.team_id)
        after = ids[-1]


def junction_cases(junction: Junction, policy: Policy, window: Window, now: datetime) -> Iterator[Case]:
    """Cases of all orders placed in the window. Each carries its dated events, so this works before the
    first webhook; appointments, signals and labels are not in the list. Raises JunctionSilent."""
    calendar = policy.time.calendar()
    seen = set[str]()
    page = 1
    while True:
        match junction.list_orders(window, page=page):
            case Found(value=found):
                for order in found.orders:
                    placed = order.created_at
                    if placed is not None and placed >= window.start and order.id not in seen:
                        yield Case(order, now, calendar, policy.environment, order.facts.team_id)
                seen.update(order.id for order in found.orders)  # one that changes meanwhile comes twice
                if not found.more:
                    return
                page += 1
            case other:
                raise JunctionSilent(f"Junction's list of orders, page {page}: {other.outcome}")
