"""Builders for the core's tests: say what matters, the rest is an ordinary order on an ordinary Wednesday."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st

from workers.core.calendar import Duration
from workers.core.case import Case, Signal
from workers.core.conditions import Condition, InStatus, StatusName
from workers.core.history import Event, History
from workers.core.order import Appointment, Facts, Order
from workers.core.policy import Act, Mode, Policy, Rule, Then
from workers.core.status import APPOINTMENT_KIND, CATALOGUE, Method, Status, entry

NOW = datetime(2026, 11, 18, 17, 0, tzinfo=UTC)  # noon in New York, 09:00 in Los Angeles


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def a_history() -> Callable[..., History]:
    return _history


@pytest.fixture(scope="session")
def an_order() -> Callable[..., Order]:
    """`an_order(step="with_customer", days_ago=5, after=["ordered"])`: the last event is `days_ago` old."""
    return _order


@pytest.fixture(scope="session")
def a_slot() -> Callable[..., Appointment]:
    """`a_slot(starts_in=timedelta(hours=30), method="walk_in_test", provider="sonora_quest")`."""
    return _slot


@pytest.fixture(scope="session")
def a_case() -> Callable[..., Case]:
    return _case


@pytest.fixture(scope="session")
def a_rule() -> Callable[..., Rule]:
    """An enforced rule for every method that waits for nothing: any status will do."""
    return _rule


@pytest.fixture(scope="session")
def a_policy() -> Callable[..., Policy]:
    return _policy


@pytest.fixture(scope="session")
def in_status() -> Callable[..., Condition]:
    return _in_status


@pytest.fixture(scope="session")
def random_orders() -> Callable[..., st.SearchStrategy[Order]]:
    """Orders with any life at all within ten days around now: statuses in any order, facts, appointments."""
    return _random_orders


def _raw(method: str, name: str) -> str:
    known = entry(Method(method), name) if method in set(Method) else None
    return f"{known.levels[0] if known else 'received'}.{method}.{name}"


def _history(*steps: str, method: str = "testkit", last: datetime = NOW) -> History:
    """The steps an hour apart, the last one at `last`."""
    times = (last - timedelta(hours=ahead) for ahead in reversed(range(len(steps))))
    named = zip(times, steps, strict=True)
    return History.of(Event(n, at, _status(method, step)) for n, (at, step) in enumerate(named, 1))


def _status(method: str, step: str) -> Status:
    return Status(step if "." in step else _raw(method, step))


def _order(
    step: str = "ordered",
    *,
    method: str = "testkit",
    days_ago: float = 5,
    after: Iterable[str] = (),
    slot: Appointment | None = None,
    **facts: Any,
) -> Order:
    history = _history(*after, step, method=method, last=NOW - timedelta(days=days_ago))
    assert history.first is not None
    assert history.last is not None
    known: dict[str, Any] = {
        "updated_at": history.last.at,
        "observed_at": history.last.at,
        "methods": frozenset({method}),
        "team_id": "team-1",
        "user_id": "user-1",
        "created_at": history.first.at,
        "lab_test_id": "panel-1",
        "zones": ("America/New_York",),
    }
    return Order("order-1", Facts(**known | facts), history, (slot,) if slot else ())


def _slot(
    *,
    method: str = "at_home_phlebotomy",
    status: str = "confirmed",
    starts_in: timedelta | None = timedelta(days=3),
    provider: str | None = None,
    booked: timedelta = timedelta(days=5),
) -> Appointment:
    kind = APPOINTMENT_KIND[Method(method)]
    start = NOW + starts_in if starts_in is not None else None
    return Appointment(
        id="slot-1",
        order_id="order-1",
        kind=kind,
        provider=provider or ("getlabs" if kind == "phlebotomy" else "quest"),
        status=status,
        start=start,
        end=start + timedelta(minutes=30) if start else None,
        zone=None,
        booked_at=NOW - booked,
        changed_at=NOW - booked,
        observed_at=NOW - booked,
    )


def _case(order: Order, now: datetime = NOW, **more: Any) -> Case:
    signals = tuple(Signal(name, "order", at) for name, at in more.pop("signals", {}).items())
    known: dict[str, Any] = {"environment": "sandbox", "team_id": "team-1", "signals": signals}
    return Case(
        order, now, more.pop("calendar", Policy(1, "p", "sandbox", ()).time.calendar()), **known | more
    )


def _rule(*when: Condition, action: Act = Act.CANCEL_ORDER, **more: Any) -> Rule:
    psc = more.pop("psc_appointment", None)
    known: dict[str, Any] = {
        "name": "rule",
        "methods": tuple(Method),
        "mode": Mode.ENFORCE,
        "settle": Duration(),
        "act_any_time": True,
    }
    return Rule(**known | {"when": when or (_any_status(),), "then": Then(action, psc)} | more)


def _any_status() -> Condition:
    return InStatus(tuple(StatusName(name) for name in sorted({name for _, name in CATALOGUE})))


def _in_status(*names: str, for_: str | None = None) -> Condition:
    return InStatus(tuple(map(StatusName, names)), Duration.parse(for_) if for_ else None)


def _policy(*rules: Rule, **more: Any) -> Policy:
    return Policy(version=1, policy="test", environment="sandbox", rules=rules or (_rule(),), **more)


def _random_orders(method: Method, last: str | None = None) -> st.SearchStrategy[Order]:
    names = [name for other, name in CATALOGUE if other is method] + ["lab_is_on_strike"]
    times = st.integers(-10 * 24 * 60, 0).map(lambda minutes: NOW + timedelta(minutes=minutes))

    @st.composite
    def orders(draw: st.DrawFn) -> Order:
        steps = draw(st.lists(st.sampled_from(names), max_size=4))
        steps += [last] if last else []
        at = sorted(draw(st.lists(times, min_size=len(steps), max_size=len(steps))))
        events = [Event(n, t, _status(method, s)) for n, (t, s) in enumerate(zip(at, steps, strict=True), 1)]
        base = _order(method=method)
        facts = replace(
            base.facts,
            origin=draw(st.sampled_from([None, "initial", "redraw"])),
            outbound_tracking=draw(st.booleans()) and draw(st.booleans()),
            activate_by=draw(st.none() | st.dates(NOW.date() - timedelta(3), NOW.date() + timedelta(3))),
        )
        slots = (draw(_slots(method)),) if method in APPOINTMENT_KIND and draw(st.booleans()) else ()
        return replace(base, facts=facts, history=History.of(events), appointments=slots)

    return orders()


@st.composite
def _slots(draw: st.DrawFn, method: Method) -> Appointment:
    return _slot(
        method=method,
        status=draw(st.sampled_from(["pending", "reserved", "confirmed", "in_progress", "cancelled", "odd"])),
        starts_in=draw(st.none() | st.timedeltas(timedelta(days=-3), timedelta(days=6))),
        provider=draw(st.sampled_from([None, "sonora_quest"])),
        booked=draw(st.timedeltas(timedelta(0), timedelta(days=10))),
    )
