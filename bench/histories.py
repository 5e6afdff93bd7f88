"""Made-up orders with histories as they happen: kits, walk-ins, home visits and collections on site; most go
well, some get stuck, some are cancelled by hand. The same seed makes the same orders."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from workers.core.calendar import zones_of_state
from workers.core.case import Case, Signal
from workers.core.history import Event, History
from workers.core.order import HOME_VISIT, PSC, Appointment, Facts, Order
from workers.core.policy import Policy
from workers.core.status import CATALOGUE, Method, Status

# The usual paths, and about how long each step takes, in days.
PATHS: dict[Method, tuple[tuple[str, float], ...]] = {
    Method.TESTKIT: (
        ("ordered", 0.0), ("awaiting_registration", 0.1), ("requisition_created", 20.0),
        ("transit_customer", 1.0), ("out_for_delivery", 3.0), ("with_customer", 0.3), ("transit_lab", 9.0),
        ("delivered_to_lab", 3.0), ("completed", 4.0),
    ),
    Method.WALK_IN: (
        ("ordered", 0.0), ("requisition_created", 1.0), ("appointment_scheduled", 30.0),
        ("partial_results", 9.0), ("completed", 3.0),
    ),
    Method.AT_HOME: (
        ("ordered", 0.0), ("requisition_created", 1.0), ("appointment_scheduled", 12.0),
        ("draw_completed", 5.0), ("completed", 4.0),
    ),
    Method.ON_SITE: (
        ("ordered", 0.0), ("requisition_created", 1.0), ("draw_completed", 10.0), ("completed", 4.0),
    ),
}  # fmt: skip
SHARES = {Method.TESTKIT: 45, Method.WALK_IN: 30, Method.AT_HOME: 20, Method.ON_SITE: 5}
STATES = ("CA", "TX", "FL", "NY", "AZ", "TN", "OH", "WA")
STUCK, BY_HAND, WITHDRAWN, TWICE = 0.25, 0.08, 0.02, 0.02  # shares of the orders


def cases(policy: Policy, count: int, now: datetime, seed: int = 1) -> Iterator[Case]:
    """`count` orders placed in the 180 days before `now`, as the store would hand them out."""
    random, calendar = Random(seed), policy.time.calendar()
    users: list[str] = []
    for _ in range(count):
        if not users or random.random() >= TWICE:
            users.append(str(UUID(int=random.getrandbits(128), version=4)))
        order = an_order(random, now - timedelta(days=random.uniform(0, 180)), now, users[-1])
        withdrawn = random.random() < WITHDRAWN
        at = order.history.events[0].at + timedelta(hours=random.uniform(1, 100))
        said = (Signal("payment.refunded", "order", at),) if withdrawn and at < now else ()
        yield Case(order, now, calendar, policy.environment, order.facts.team_id, signals=said)


def an_order(random: Random, created: datetime, now: datetime, user: str) -> Order:
    """One order and what happened to it from `created` until `now`."""
    method = random.choices([*SHARES], [*SHARES.values()])[0]
    order_id = str(UUID(int=random.getrandbits(128), version=4))
    history = History.of(_events(random, method, created, now))
    slots = tuple(_slots(random, method, order_id, history, now))
    state = random.choice(STATES)
    facts = Facts(
        updated_at=max([event.at for event in history.events] + [slot.changed_at for slot in slots]),
        observed_at=now,
        methods=frozenset({method.value}),
        team_id="a-team",
        user_id=user,
        created_at=created,
        origin="initial",
        lab_test_id=f"test-{random.randrange(5)}",
        price=round(random.uniform(30, 250), 2),
        zones=tuple(sorted(zones_of_state(state))),
        state=state,
    )
    return Order(order_id, facts, history, slots)


def _events(random: Random, method: Method, created: datetime, now: datetime) -> Iterator[Event]:
    path = PATHS[method]
    stuck_at = random.randrange(1, len(path)) if random.random() < STUCK else None
    at = created
    for place, (name, days) in enumerate(path):
        at += timedelta(days=random.expovariate(1 / days)) if days else timedelta()
        if place == stuck_at:
            break
        if at > now:
            return
        yield _event(random, method, name, at)
    else:
        return
    at += timedelta(days=random.uniform(5, 60))
    if random.random() < BY_HAND / STUCK and at <= now:
        yield _event(random, method, "cancelled", at)


def _event(random: Random, method: Method, name: str, at: datetime) -> Event:
    level = CATALOGUE[method, name].levels[0].value
    return Event(random.getrandbits(48), at, Status(f"{level}.{method.value}.{name}"))


def _slots(
    random: Random, method: Method, order_id: str, history: History, now: datetime
) -> Iterator[Appointment]:
    booked = next((event for event in history.events if event.status.name == "appointment_scheduled"), None)
    if booked is None:
        return
    after = next((event for event in history.events if event.place > booked.place), None)
    start = (after.at if after else booked.at + timedelta(days=random.uniform(1, 9))).replace(microsecond=0)
    status = "confirmed" if after is None else "cancelled" if after.status.cancelled else "completed"
    home = method is Method.AT_HOME
    yield Appointment(
        id=f"{order_id}-1",
        order_id=order_id,
        kind=HOME_VISIT if home else PSC,
        provider="getlabs" if home else "quest",
        status=status,
        start=start,
        end=start + timedelta(minutes=30),
        zone="America/New_York",
        booked_at=booked.at,
        changed_at=after.at if after else booked.at,
        observed_at=now,
    )
