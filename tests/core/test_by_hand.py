"""What stands against a cancellation that a person asks for: whatever protects a patient or money."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.core.by_hand import FEE_ACCEPTED, NAME, obstacles, told
from workers.core.case import Case
from workers.core.order import Appointment, Order
from workers.core.policy import Policy
from workers.core.status import CATALOGUE, Method, Window

Orders = Callable[..., Order]
Against = Callable[..., list[tuple[str, bool]]]


@pytest.fixture(scope="session")
def against(a_case: Callable[..., Case], a_policy: Callable[..., Policy]) -> Against:
    """The names of what stands against cancelling an order, each with whether that is sure."""

    def found(order: Order, *, fee_accepted: bool = False, **case: Any) -> list[tuple[str, bool]]:
        asked = obstacles(a_policy(), a_case(order, **case), fee_accepted=fee_accepted)
        return [(one.name, one.sure) for one in asked]

    return found


@pytest.mark.parametrize(("method", "name"), CATALOGUE)
def test_only_a_status_that_needs_no_opt_in_may_be_cancelled(
    method: str, name: str, an_order: Orders, a_slot: Callable[..., Appointment], against: Against
) -> None:
    slot = a_slot(method=method) if name == "appointment_scheduled" else None
    free = CATALOGUE[method, name].window in {Window.OPEN, Window.UNTIL_SHIPPED}  # type: ignore[index]
    sure = [found for found, is_sure in against(an_order(name, method=method, slot=slot)) if is_sure]
    assert (sure == []) == free


@given(data=st.data())
def test_nothing_that_left_or_ended_is_ever_free(
    data: st.DataObject, random_orders: Callable[..., st.SearchStrategy[Order]], against: Against
) -> None:
    order = data.draw(random_orders(data.draw(st.sampled_from(Method))))
    if not against(order):
        assert order.open
        assert not order.has_shipped
        assert order.history.collected is None
        assert order.history.cancelled is None


def test_a_redraw_and_an_order_scheduled_for_later_are_meant_by_who_names_them(
    an_order: Orders, against: Against
) -> None:
    assert against(an_order(origin="redraw", activate_by=date(2026, 12, 24))) == []


def test_a_hold_stands_in_the_way(an_order: Orders, against: Against) -> None:
    assert against(an_order(), held=True) == [("hold", True)]


def test_a_team_that_is_not_known_only_a_look_can_tell(an_order: Orders, against: Against) -> None:
    assert against(an_order(team_id=None)) == [("place", False)]


def test_the_refund_is_guarded_unless_its_fee_is_accepted(
    an_order: Orders, a_slot: Callable[..., Appointment], against: Against
) -> None:
    near = a_slot(starts_in=timedelta(hours=20))
    visit = an_order("appointment_scheduled", method="at_home_phlebotomy", slot=near)
    assert against(visit) == [("refund", True)]
    assert against(visit, fee_accepted=True) == []


def test_the_record_shows_every_guard(
    an_order: Orders, a_case: Callable[..., Case], a_policy: Callable[..., Policy]
) -> None:
    record = told(a_policy(), a_case(an_order()), fee_accepted=True)
    (rule,) = record["rules"]
    assert (rule["rule"], rule["verdict"]) == (NAME, "due")
    assert {guard["now"] for guard in rule["guards"]} == {"yes"}
    assert record[FEE_ACCEPTED] is True
