"""The hard guards: a rule that wants any order whatever, and the orders it does not get."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from workers.core.calendar import Duration
from workers.core.case import Case
from workers.core.conditions import SignalStands
from workers.core.guards import guards
from workers.core.history import Event, History
from workers.core.instants import Truth
from workers.core.order import Appointment, Order
from workers.core.plan import RulePlan, Verdict, plan
from workers.core.policy import Act, Include, Policy, Refund, Rule
from workers.core.status import CATALOGUE, Method, Status, Window

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
LINE = 24 * HOUR + timedelta(minutes=30)  # a home visit's refund line and our margin

Judge = Callable[..., RulePlan]
Verdicts = Callable[..., Verdict]
Says = Callable[..., Truth]
Orders = Callable[..., Order]
Slots = Callable[..., Appointment]


@pytest.fixture(scope="session")
def judged(
    a_case: Callable[..., Case], a_rule: Callable[..., Rule], a_policy: Callable[..., Policy]
) -> Judge:
    """What a rule that wants every order says about this one now; `include`, `action`, … are the rule's."""

    def judge(order: Order, case: dict[str, Any] | None = None, **rule: Any) -> RulePlan:
        (found,) = plan(a_policy(a_rule(**rule)), a_case(order, **(case or {}))).rules
        return found

    return judge


@pytest.fixture(scope="session")
def verdict(judged: Judge) -> Callable[..., Verdict]:
    return lambda *order, **more: judged(*order, **more).verdict


@pytest.mark.parametrize(
    ("method", "step"),
    [
        ("testkit", "ordered"),
        ("testkit", "awaiting_registration"),
        ("testkit", "requisition_created"),
        ("walk_in_test", "requisition_bypassed"),
        ("at_home_phlebotomy", "requisition_created"),
        ("on_site_collection", "ordered"),
    ],
)
def test_an_ordinary_order_is_cancelled(method: str, step: str, an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order(step, method=method)) is Verdict.DUE


@pytest.fixture(scope="session")
def booked(an_order: Orders, a_slot: Slots) -> Orders:
    """An order with an appointment; `method` and what is said of the slot."""

    def build(method: str = "walk_in_test", **slot: Any) -> Order:
        return an_order("appointment_scheduled", method=method, slot=a_slot(method=method, **slot))

    return build


@pytest.fixture(scope="session")
def says(a_case: Callable[..., Case], a_rule: Callable[..., Rule], a_policy: Callable[..., Policy]) -> Says:
    """What one guard alone says: several would often stop the same order, and each must be able to."""

    def ask(name: str, order: Order, **rule: Any) -> Truth:
        case = a_case(order)
        answers = {guard.name: permits for guard, permits in guards(a_policy(), a_rule(**rule), case)}
        return answers[name].at(case.now)

    return ask


@pytest.mark.parametrize("key", CATALOGUE, ids="-".join)
def test_a_status_is_cancellable_only_where_the_catalogue_says_so(
    key: tuple[Method, str], an_order: Orders, says: Says
) -> None:
    method, name = key
    order = an_order(name, method=method.value)
    opened = {Window.REGISTERED_KITS: Include.REGISTERED_KITS, Window.DRAWN: Include.DRAWN}
    window = CATALOGUE[key].window
    plainly = window in {Window.OPEN, Window.UNTIL_SHIPPED}
    assert says("cancellable", order) is (Truth.YES if plainly else Truth.NO)
    for include in Include:
        opens = plainly or opened.get(window) is include
        assert says("cancellable", order, include=(include,)) is (Truth.YES if opens else Truth.NO)


# --- known, ours, and of this world ------------------------------------------------------------------------


def test_a_status_nobody_has_seen_is_never_cancelled(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order("lab_is_on_strike", after=["ordered"])) is not Verdict.DUE


def test_nor_is_its_appointment(booked: Orders, verdict: Verdicts, now: datetime) -> None:
    order = booked("walk_in_test")
    strange = Event(99, now - HOUR, Status("collecting_sample.walk_in_test.lab_is_on_strike"))
    order = replace(order, history=History.of((*order.history.events, strange)))
    when, case = (SignalStands("order.mistake"),), {"signals": {"order.mistake": now - HOUR}}
    assert verdict(order, case=case, when=when, action=Act.CANCEL_PSC) is Verdict.NO


def test_an_order_whose_method_is_disputed_is_left_alone(
    an_order: Orders, a_case: Callable[..., Case], a_policy: Callable[..., Policy]
) -> None:
    order = an_order(methods=frozenset({"walk_in_test"}))
    assert plan(a_policy(), a_case(order)).rules == ()


def test_a_policy_for_production_does_nothing_in_the_sandbox(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order(), case={"environment": "production"}) is Verdict.NO


def test_another_teams_order_is_left_alone(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order(team_id="team-2")) is Verdict.NO


def test_an_order_of_nobody_knows_which_team_needs_a_look(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order(team_id=None)) is Verdict.UNCLEAR


def test_an_order_with_a_fact_from_the_future_waits_for_it(
    an_order: Orders, judged: Judge, now: datetime
) -> None:
    found = judged(an_order(updated_at=now + HOUR))
    assert found.verdict is Verdict.WAITS
    assert found.first == now + HOUR - timedelta(minutes=1)


# --- shipped, drawn, collected -----------------------------------------------------------------------------

SHIPPED = ["awaiting_registration", "transit_customer", "with_customer"]


def test_a_shipped_registrable_kit_back_in_received_is_never_cancelled(
    an_order: Orders, verdict: Verdicts
) -> None:
    assert verdict(an_order("requisition_created", after=[*SHIPPED, "registered"])) is Verdict.NO


def test_nor_is_it_by_a_rule_that_includes_registered_kits(an_order: Orders, verdict: Verdicts) -> None:
    order = an_order("requisition_created", after=[*SHIPPED, "registered"])
    assert verdict(order, include=(Include.REGISTERED_KITS,)) is Verdict.NO


def test_a_tracking_number_alone_shows_that_a_kit_has_left(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order("awaiting_registration", outbound_tracking=True)) is Verdict.NO


@pytest.mark.parametrize("after", [["awaiting_registration"], SHIPPED])
def test_a_registered_kit_is_cancelled_only_by_a_rule_that_includes_them(
    after: Iterable[str], an_order: Orders, verdict: Verdicts
) -> None:
    order = an_order("registered", after=after)
    assert verdict(order) is Verdict.NO
    assert verdict(order, include=(Include.REGISTERED_KITS,)) is Verdict.DUE


def test_a_registered_kit_on_its_way_to_the_lab_is_gone(an_order: Orders, verdict: Verdicts) -> None:
    order = an_order("registered", after=[*SHIPPED, "transit_lab"])
    assert verdict(order, include=(Include.REGISTERED_KITS,)) is Verdict.NO


@pytest.mark.parametrize("method", ["at_home_phlebotomy", "on_site_collection"])
def test_draw_completed_is_not_cancelled_without_opt_in(
    method: str, an_order: Orders, verdict: Verdicts
) -> None:
    order = an_order("draw_completed", method=method, after=["requisition_created"])
    assert verdict(order) is Verdict.NO
    assert verdict(order, include=(Include.DRAWN,)) is Verdict.DUE


def test_a_sample_that_the_lab_has_is_not_cancelled_even_by_opt_in(
    an_order: Orders, verdict: Verdicts
) -> None:
    order = an_order("draw_completed", method="on_site_collection", after=["ordered", "partial_results"])
    assert verdict(order, include=(Include.DRAWN,)) is Verdict.NO


def test_an_order_back_from_partial_results_is_not_cancelled(an_order: Orders, verdict: Verdicts) -> None:
    order = an_order("requisition_created", method="walk_in_test", after=["partial_results"])
    assert verdict(order) is Verdict.NO


def test_an_unknown_status_in_the_past_may_have_been_a_shipment(an_order: Orders, verdict: Verdicts) -> None:
    order = an_order("awaiting_registration", after=["left_by_drone"])
    assert verdict(order) is Verdict.UNCLEAR


@pytest.mark.parametrize("step", ["transit_customer", "sample_error", "completed", "cancelled"])
def test_what_is_closed_stays_closed(step: str, an_order: Orders, verdict: Verdicts) -> None:
    everything = tuple(Include)
    assert verdict(an_order(step, after=["ordered"]), include=everything) is Verdict.NO


# --- visits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["in_progress", "completed"])
def test_nothing_is_cancelled_during_or_after_a_visit(status: str, booked: Orders, verdict: Verdicts) -> None:
    assert verdict(booked(status=status, starts_in=3 * DAY)) is Verdict.NO


def test_a_visit_that_began_within_twelve_hours_may_have_happened(booked: Orders, judged: Judge) -> None:
    lately = judged(booked(starts_in=-11 * HOUR))
    assert lately.verdict is Verdict.WAITS
    assert lately.first is not None
    assert judged(booked(starts_in=-12 * HOUR)).verdict is Verdict.DUE


def test_a_visit_about_to_begin_still_permits(booked: Orders, judged: Judge, now: datetime) -> None:
    found = judged(booked(starts_in=HOUR))
    assert found.verdict is Verdict.DUE
    assert found.due.yes.end_of(now) == now + HOUR


def test_a_confirmed_visit_without_a_time_needs_a_look(booked: Orders, verdict: Verdicts) -> None:
    assert verdict(booked(starts_in=None)) is Verdict.UNCLEAR
    assert verdict(booked(starts_in=None, status="pending")) is Verdict.DUE


def test_a_visit_nobody_has_seen_needs_a_look(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order("appointment_scheduled", method="walk_in_test")) is Verdict.UNCLEAR


def test_a_cancelled_visit_is_in_nobodys_way(an_order: Orders, a_slot: Slots, verdict: Verdicts) -> None:
    slot = a_slot(status="cancelled", starts_in=-HOUR)
    order = an_order("appointment_cancelled", method="at_home_phlebotomy", slot=slot)
    assert verdict(order) is Verdict.DUE


# --- redraws and scheduled orders --------------------------------------------------------------------------


def test_a_redraw_is_left_alone_unless_included(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order(origin="redraw")) is Verdict.NO
    assert verdict(an_order(origin="redraw"), include=(Include.REDRAWS,)) is Verdict.DUE


def test_a_scheduled_order_waits_on_purpose(an_order: Orders, judged: Judge, now: datetime) -> None:
    order = an_order(activate_by=date(2026, 11, 20))
    found = judged(order)
    assert found.verdict is Verdict.WAITS
    assert found.first == datetime.fromisoformat("2026-11-20T00:00:00-05:00")


def test_a_rule_may_include_scheduled_orders(
    an_order: Orders,
    a_policy: Callable[..., Policy],
    a_rule: Callable[..., Rule],
    a_case: Callable[..., Case],
) -> None:
    order = an_order(activate_by=date(2026, 11, 20))
    case = a_case(order, signals={"order.mistake": order.created_at})
    when = SignalStands("order.mistake")
    assert plan(a_policy(a_rule(when)), case).winner is None
    assert plan(a_policy(a_rule(when, include=(Include.SCHEDULED,))), case).winner is not None


# --- the refund line ---------------------------------------------------------------------------------------


def test_a_home_visit_is_given_back_strictly_before_the_refund_line(
    booked: Orders, verdict: Verdicts
) -> None:
    at_home = "at_home_phlebotomy"
    assert verdict(booked(at_home, starts_in=LINE + SECOND)) is Verdict.DUE
    assert verdict(booked(at_home, starts_in=LINE)) is Verdict.NEVER_LEGAL
    assert verdict(booked(at_home, starts_in=LINE - SECOND)) is Verdict.NEVER_LEGAL


def test_a_rule_may_ignore_the_refund(booked: Orders, verdict: Verdicts) -> None:
    assert verdict(booked("at_home_phlebotomy", starts_in=HOUR), refund="ignore") is Verdict.DUE


def test_a_walk_in_has_no_refund_line(booked: Orders, verdict: Verdicts) -> None:
    assert verdict(booked("walk_in_test", starts_in=HOUR)) is Verdict.DUE


def test_a_home_visit_nobody_has_seen_may_be_past_the_line(
    an_order: Orders, verdict: Verdicts, says: Says
) -> None:
    order = an_order("appointment_scheduled", method="at_home_phlebotomy")
    assert verdict(order) is Verdict.UNCLEAR
    assert says("refund", order) is Truth.UNKNOWN


def test_a_home_visit_without_a_time_may_be_past_the_line(booked: Orders, verdict: Verdicts) -> None:
    order = booked("at_home_phlebotomy", status="reserved", starts_in=None)
    assert verdict(order) is Verdict.UNCLEAR
    assert verdict(order, refund="ignore") is Verdict.DUE


def test_the_margin_is_the_policys(
    booked: Orders, a_policy: Callable[..., Policy], a_case: Callable[..., Case]
) -> None:
    order = booked("at_home_phlebotomy", starts_in=27 * HOUR)
    wide = Refund(margin=Duration.parse("4h"))
    assert plan(a_policy(), a_case(order)).winner is not None
    assert plan(a_policy(home_visit_refund=wide), a_case(order)).winner is None


# --- refused, cancelled, reinstated ------------------------------------------------------------------------


def test_what_junction_refused_is_not_asked_again_until_something_happens(
    an_order: Orders, verdict: Verdicts
) -> None:
    order = an_order("awaiting_registration", after=["ordered"])
    assert order.last is not None
    assert verdict(order, case={"refused_at": frozenset({order.last.id})}) is Verdict.NO
    assert verdict(order, case={"refused_at": frozenset({order.last.id - 1})}) is Verdict.DUE


def test_a_reinstated_order_is_never_cancelled_by_a_rule(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order("ordered", after=["ordered", "cancelled"])) is Verdict.NO


def test_what_we_have_cancelled_ourselves_is_not_cancelled_again(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order(), case={"cancel_confirmed": True}) is Verdict.NO


def test_a_hold_beats_everything(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order(), case={"held": True}) is Verdict.NO


# --- the appointment alone ---------------------------------------------------------------------------------


def test_the_slot_of_a_cancelled_order_can_be_cancelled(
    an_order: Orders, a_slot: Slots, verdict: Verdicts
) -> None:
    slot = a_slot(method="walk_in_test")
    order = an_order("cancelled", method="walk_in_test", after=["appointment_scheduled"], slot=slot)
    assert verdict(order, action=Act.CANCEL_PSC) is Verdict.DUE


@pytest.mark.parametrize(
    "slot",
    [
        {"provider": "sonora_quest"},
        {"provider": "a_new_one"},
        {"status": "in_progress"},
        {"status": "completed"},
        {"starts_in": timedelta(0)},
        {"starts_in": -HOUR},
    ],
    ids=str,
)
def test_a_psc_slot_that_cannot_be_cancelled_is_left_alone(
    slot: dict[str, Any], booked: Orders, verdict: Verdicts
) -> None:
    assert verdict(booked(**slot), action=Act.CANCEL_PSC) is Verdict.NO


def test_without_a_slot_there_is_none_to_cancel(an_order: Orders, verdict: Verdicts) -> None:
    assert verdict(an_order(method="walk_in_test"), action=Act.CANCEL_PSC) is Verdict.NO


def test_a_slot_without_a_time_needs_a_look(booked: Orders, verdict: Verdicts) -> None:
    assert verdict(booked(starts_in=None), action=Act.CANCEL_PSC) is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("method", "action"), [("walk_in_test", Act.CANCEL_PSC), ("at_home_phlebotomy", Act.CANCEL_HOME_VISIT)]
)
def test_an_appointment_nobody_has_seen_needs_a_look(
    method: str, action: Act, an_order: Orders, booked: Orders, verdict: Verdicts, says: Says
) -> None:
    unseen = an_order("appointment_scheduled", method=method)
    assert verdict(unseen, action=action) is Verdict.UNCLEAR
    assert says("slot", unseen, action=action) is says("later", unseen, action=action) is Truth.UNKNOWN
    assert says("later", booked(method, starts_in=None), action=action) is Truth.UNKNOWN
    assert says("later", an_order(method=method), action=action) is Truth.NO


def test_each_kind_of_appointment_has_its_own_action(booked: Orders, verdict: Verdicts) -> None:
    walk_in, at_home = booked("walk_in_test"), booked("at_home_phlebotomy")
    assert verdict(walk_in, action=Act.CANCEL_HOME_VISIT) is Verdict.NO
    assert verdict(at_home, action=Act.CANCEL_PSC) is Verdict.NO
    assert verdict(at_home, action=Act.CANCEL_HOME_VISIT) is Verdict.DUE


def test_a_home_visit_alone_has_the_refund_line_too(booked: Orders, verdict: Verdicts) -> None:
    late = booked("at_home_phlebotomy", starts_in=LINE)
    assert verdict(late, action=Act.CANCEL_HOME_VISIT) is Verdict.NEVER_LEGAL


def test_an_appointment_of_an_order_nobody_understands_is_left_alone(
    booked: Orders, verdict: Verdicts
) -> None:
    order = booked("walk_in_test")
    strange = replace(order, facts=replace(order.facts, team_id="team-2"))
    assert verdict(strange, action=Act.CANCEL_PSC) is Verdict.NO


def test_an_event_that_could_not_be_read_may_have_been_a_shipment(
    an_order: Orders, verdict: Verdicts
) -> None:
    order = an_order()
    assert verdict(order) is Verdict.DUE
    assert verdict(replace(order, facts=replace(order.facts, unreadable_events=1))) is Verdict.UNCLEAR
