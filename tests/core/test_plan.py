"""The plan: which rule acts, when, and why not. First stories, then what is so for every order."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.core.anchors import Anchor
from workers.core.calendar import Calendar, Duration, ship_cutoff
from workers.core.case import Case, Sibling
from workers.core.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DailyClock,
    Duplicate,
    Elapsed,
    InStatus,
    Labelled,
    Negated,
    Patient,
    Remaining,
    SignalStands,
    StatusName,
)
from workers.core.history import Event, History
from workers.core.order import NOTHING_KNOWN, Appointment, Order, merge
from workers.core.plan import Plan, Step, Verdict, effective_mode, plan, steps
from workers.core.policy import Act, Exemption, Mode, Policy, PscIf, Rule
from workers.core.status import CATALOGUE, Method, Status, Window
from workers.core.words import Clock, Word

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

Orders = Callable[..., Order]
Cases = Callable[..., Case]
Rules = Callable[..., Rule]
Policies = Callable[..., Policy]
Conditions = Callable[..., Condition]
Planner = Callable[..., Plan]


@pytest.fixture(scope="session")
def planned(a_case: Cases, a_policy: Policies) -> Planner:
    """The plan of some rules for an order now; what else is said goes into the case."""

    def make(order: Order, *rules: Rule, policy: dict[str, Any] | None = None, **case: Any) -> Plan:
        return plan(a_policy(*rules, **(policy or {})), a_case(order, **case))

    return make


def for_(text: str) -> Duration:
    return Duration.parse(text)


# --- when ------------------------------------------------------------------------------------------------


def test_a_rule_waits_until_the_stay_has_lasted(
    planned: Planner, an_order: Orders, a_rule: Rules, in_status: Conditions, now: datetime
) -> None:
    found = planned(an_order(days_ago=5), a_rule(in_status("ordered", for_="7d")))
    assert found.rules[0].verdict is Verdict.WAITS
    assert found.next_at == now + 2 * DAY


def test_an_order_elsewhere_is_never_looked_at_again(
    planned: Planner, an_order: Orders, a_rule: Rules, in_status: Conditions
) -> None:
    found = planned(an_order(), a_rule(in_status("awaiting_registration", for_="7d")))
    assert (found.rules[0].verdict, found.next_at) == (Verdict.NO, None)


def test_an_order_comes_to_rest_before_it_is_judged(
    planned: Planner, an_order: Orders, a_rule: Rules, now: datetime
) -> None:
    found = planned(an_order(days_ago=0), a_rule(settle=for_("15m")))
    assert found.next_at == now + 15 * MINUTE


def test_nobody_is_texted_before_nine(
    planned: Planner, an_order: Orders, a_rule: Rules, now: datetime
) -> None:
    at_sea = an_order(zones=("Pacific/Honolulu",))  # where it is seven in the morning
    assert planned(at_sea, a_rule(act_any_time=False)).next_at == now + 2 * HOUR
    assert planned(at_sea, a_rule(act_any_time=True)).next_at == now


def test_of_a_patient_in_two_zones_both_clocks_count(
    planned: Planner, an_order: Orders, a_rule: Rules, now: datetime
) -> None:
    somewhere = an_order(zones=("America/New_York", "Pacific/Honolulu"))
    assert planned(somewhere, a_rule(act_any_time=False)).next_at == now + 2 * HOUR


def test_an_unknown_patient_may_live_anywhere_from_honolulu_to_new_york(
    planned: Planner, an_order: Orders, a_rule: Rules, now: datetime
) -> None:
    assert planned(an_order(zones=()), a_rule(act_any_time=False)).next_at == now + 2 * HOUR


def test_what_is_due_only_while_everybody_sleeps_is_reported_as_never_legal(
    planned: Planner, an_order: Orders, a_rule: Rules, a_slot: Callable[..., Appointment], now: datetime
) -> None:
    slot = a_slot(method="walk_in_test", starts_in=16 * HOUR)  # at four in the morning
    order = an_order("appointment_scheduled", method="walk_in_test", slot=slot)
    late = Remaining(Anchor("appointment.start"), for_("1h"), for_("3h"))
    found = planned(order, a_rule(late, act_any_time=False)).rules[0]
    assert (found.verdict, found.first) == (Verdict.NEVER_LEGAL, None)
    assert planned(order, a_rule(late)).rules[0].first == now + 13 * HOUR


def test_a_signal_stops_a_rule_that_has_it_under_unless(
    planned: Planner, an_order: Orders, a_rule: Rules, in_status: Conditions, now: datetime
) -> None:
    rule = a_rule(in_status("ordered"), unless=(SignalStands("address.verified"),))
    assert planned(an_order(), rule).winner is not None
    assert planned(an_order(), rule, signals={"address.verified": now}).winner is None


def test_what_cannot_be_told_stops_a_rule_too(planned: Planner, an_order: Orders, a_rule: Rules) -> None:
    minors = a_rule(unless=(Patient(age_below=18),))
    found = planned(an_order(birth_date=None), minors)
    assert (found.winner, found.rules[0].verdict) == (None, Verdict.UNCLEAR)
    assert found.next_at == found.now  # a look may tell


# --- which -----------------------------------------------------------------------------------------------


def test_the_higher_priority_wins(planned: Planner, an_order: Orders, a_rule: Rules) -> None:
    found = planned(an_order(), a_rule(name="low"), a_rule(name="high", priority=1))
    assert [rule.rule.name for rule in found.due] == ["high", "low"]


def test_among_equals_the_one_due_longer_wins_then_the_one_written_first(
    planned: Planner, an_order: Orders, a_rule: Rules, in_status: Conditions
) -> None:
    late = a_rule(in_status("ordered", for_="3d"), name="late")
    early = a_rule(in_status("ordered", for_="2d"), name="early")
    twin = a_rule(in_status("ordered", for_="2d"), name="twin")
    found = planned(an_order(), late, early, twin)
    assert [rule.rule.name for rule in found.due] == ["early", "twin", "late"]


def test_a_shadow_rule_blocks_nobody(planned: Planner, an_order: Orders, a_rule: Rules) -> None:
    shadow = a_rule(name="shadow", mode=Mode.SHADOW, priority=9)
    found = planned(an_order(), shadow, a_rule(name="live"))
    assert found.winner is not None
    assert found.winner.rule.name == "live"
    assert [rule.rule.name for rule in found.shadows] == ["shadow"]


def test_the_mode_of_the_policy_is_a_ceiling(planned: Planner, an_order: Orders, a_rule: Rules) -> None:
    found = planned(an_order(), a_rule(), policy={"mode": Mode.SHADOW})
    assert (found.winner, len(found.shadows)) == (None, 1)
    assert planned(an_order(), a_rule(), policy={"mode": Mode.OFF}).rules == ()


@pytest.mark.parametrize(("priority", "wins"), [(4, True), (5, False), (6, False)])
def test_a_keep_rule_vetoes_rules_of_lower_or_equal_priority(
    priority: int, wins: bool, planned: Planner, an_order: Orders, a_rule: Rules
) -> None:
    keep = a_rule(name="keep", action=Act.KEEP, priority=priority)
    assert (planned(an_order(), keep, a_rule(priority=5)).winner is not None) is wins


def test_a_keep_rule_that_may_hold_keeps(planned: Planner, an_order: Orders, a_rule: Rules) -> None:
    keep = a_rule(Patient(age_below=18), name="keep", action=Act.KEEP)
    assert planned(an_order(birth_date=None), keep, a_rule()).winner is None


def test_a_keep_rule_in_shadow_keeps_nothing(planned: Planner, an_order: Orders, a_rule: Rules) -> None:
    keep = a_rule(name="keep", action=Act.KEEP, mode=Mode.SHADOW)
    assert planned(an_order(), keep, a_rule()).winner is not None


def test_an_exemption_beats_every_rule_until_it_ends(
    planned: Planner, an_order: Orders, a_rule: Rules, now: datetime
) -> None:
    storm = Exemption("storm", "snow", (Patient(state_in=(Word("AZ"),)),), until=now + 3 * HOUR)
    rule = a_rule(priority=1000)
    assert planned(an_order(state="AZ"), rule, policy={"exemptions": (storm,)}).next_at == now + 3 * HOUR
    assert planned(an_order(state="CA"), rule, policy={"exemptions": (storm,)}).winner is not None


def test_an_exemption_that_cannot_be_told_protects(planned: Planner, an_order: Orders, a_rule: Rules) -> None:
    stock = Exemption("stock", "inventory", (Labelled(("inventory",), "user"),))
    policy = {"exemptions": (stock,)}
    assert planned(an_order(), a_rule(), policy=policy, labels=None).winner is None
    assert planned(an_order(), a_rule(), policy=policy, labels=frozenset()).winner is not None


@pytest.mark.parametrize("keep", ["furthest_along", "first", "last"])
def test_of_three_alike_exactly_one_stays(
    keep: Any, an_order: Orders, a_rule: Rules, a_case: Cases, a_policy: Policies
) -> None:
    orders = [
        replace(an_order(step, days_ago=days), id=name)
        for name, step, days in (("a", "ordered", 1), ("b", "ordered", 1), ("c", "awaiting_registration", 3))
    ]
    policy = a_policy(a_rule(Duplicate(for_("14d"), keep=keep)))
    cancelled = [
        order.id
        for order in orders
        if plan(policy, a_case(order, siblings=tuple(map(sibling, set(orders) - {order})))).winner
    ]
    assert len(cancelled) == 2


def sibling(order: Order) -> Sibling:
    assert order.entry is not None
    return Sibling(order.id, order.facts.lab_test_id, order.created_at, order.entry.progress)


# --- how far ---------------------------------------------------------------------------------------------


def test_what_is_overdue_for_more_than_a_day_is_looked_at_by_a_person(
    planned: Planner,
    an_order: Orders,
    a_rule: Rules,
    in_status: Conditions,
    a_case: Cases,
    a_policy: Policies,
) -> None:
    def mode(lasted: str, **case: Any) -> Mode:
        policy, case_now = a_policy(a_rule(in_status("ordered", for_=lasted))), a_case(an_order(), **case)
        winner = plan(policy, case_now).winner
        assert winner is not None
        return effective_mode(winner, policy, case_now)

    assert mode("4d") is Mode.ENFORCE  # due since exactly a day
    assert mode("3d23h") is Mode.REVIEW
    assert (
        mode("3d23h", awake_since=a_case(an_order()).now - HOUR) is Mode.ENFORCE
    )  # we were stopped on purpose


def test_a_switch_can_only_lower_the_mode(
    an_order: Orders, a_rule: Rules, a_case: Cases, a_policy: Policies
) -> None:
    policy, case = a_policy(a_rule(mode=Mode.REVIEW)), a_case(an_order(days_ago=0))
    winner = plan(policy, case).winner
    assert winner is not None
    assert effective_mode(winner, policy, case, override=Mode.ENFORCE) is Mode.REVIEW
    assert effective_mode(winner, policy, case, override=Mode.OFF) is Mode.OFF


def test_a_decided_occasion_does_not_come_back_until_something_new_happens(
    planned: Planner, an_order: Orders, a_rule: Rules
) -> None:
    order = an_order("awaiting_registration", after=["ordered"])
    (first,) = planned(order, a_rule(name="r")).rules
    decided = frozenset({f"live:{first.key}"})
    (again,) = planned(order, a_rule(name="r"), decided=decided).rules
    assert (again.verdict, again.first, again.maybe) == (Verdict.DECIDED, None, None)
    moved = an_order("requisition_created", after=["ordered", "awaiting_registration"])
    assert planned(moved, a_rule(name="r"), decided=frozenset({f"live:{first.key}"})).winner is None
    shadow = planned(order, a_rule(name="r", mode=Mode.SHADOW), decided=decided)
    assert len(shadow.shadows) == 1  # shadows have keys of their own


def test_a_new_stay_is_a_new_occasion(
    planned: Planner, an_order: Orders, a_rule: Rules, in_status: Conditions
) -> None:
    rule = a_rule(in_status("appointment_cancelled"))
    once = an_order("appointment_cancelled", method="at_home_phlebotomy", after=["ordered"])
    again = an_order(
        "appointment_cancelled",
        method="at_home_phlebotomy",
        after=["ordered", "appointment_cancelled", "appointment_scheduled"],
    )
    assert planned(once, rule).rules[0].key != planned(again, rule).rules[0].key


def test_a_rule_switched_to_act_does_not_act_on_its_backlog(
    planned: Planner, an_order: Orders, a_rule: Rules, in_status: Conditions, now: datetime
) -> None:
    live = {"rule": now - HOUR}
    old = a_rule(in_status("ordered", for_="4d"))
    found = planned(an_order(), old, live_since=live)
    assert (found.rules[0].verdict, found.next_at) == (Verdict.BACKLOG, None)
    assert planned(an_order(), replace(old, backlog="include"), live_since=live).winner is not None
    not_yet_due = a_rule(in_status("ordered", for_="4d23h30m"))
    assert planned(an_order(), not_yet_due, live_since=live).winner is not None


# --- telling the platform first --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def announced(a_rule: Rules, in_status: Conditions) -> Rule:
    """Due two days from now, told a day before."""
    return a_rule(in_status("ordered", for_="7d"), notice=for_("1d"))


def test_the_platform_is_told_ahead(
    planned: Planner, an_order: Orders, announced: Rule, now: datetime
) -> None:
    found = planned(an_order(), announced)
    assert (found.rules[0].verdict, found.rules[0].expected) == (Verdict.WAITS, now + 2 * DAY)
    assert found.next_at == now + DAY
    assert found.notices == ()
    (notice,) = planned(an_order(), announced, now=now + DAY).notices
    assert (notice.send_at, notice.due_at) == (now + DAY, now + 2 * DAY)


def test_without_a_delivered_notice_nothing_is_cancelled(
    planned: Planner, an_order: Orders, announced: Rule, now: datetime
) -> None:
    key = planned(an_order(), announced).rules[0].key
    late = now + 3 * DAY
    assert planned(an_order(), announced, now=late).winner is None
    sent = planned(an_order(), announced, now=late, notices={key: None})
    assert (sent.winner, sent.notices, sent.next_at) == (None, (), None)
    delivered = planned(an_order(), announced, now=late, notices={key: late - HOUR})
    assert delivered.next_at == late + 23 * HOUR


def test_a_shadow_tells_nobody(planned: Planner, an_order: Orders, announced: Rule, now: datetime) -> None:
    shadow = replace(announced, mode=Mode.SHADOW)
    assert planned(an_order(), shadow, now=now + DAY).notices == ()
    assert planned(an_order(), shadow).next_at == now + 2 * DAY


def test_what_is_unclear_is_looked_at_before_anybody_is_told(
    planned: Planner, an_order: Orders, announced: Rule, now: datetime
) -> None:
    order = an_order(team_id=None)
    assert planned(order, announced).next_at == now + 2 * DAY
    assert planned(order, announced, now=now + 2 * DAY).unclear


# --- the steps -------------------------------------------------------------------------------------------

BOTH, ORDER_ONLY = (Step.CANCEL_PSC, Step.CANCEL_ORDER), (Step.CANCEL_ORDER,)


@pytest.mark.parametrize(
    ("choice", "slot", "expected"),
    [
        ("never", {}, ORDER_ONLY),
        ("always", {}, BOTH),
        ("always", {"starts_in": HOUR}, BOTH),
        ("always", {"starts_in": -HOUR}, ORDER_ONLY),
        ("always", {"provider": "sonora_quest"}, ORDER_ONLY),
        ("always", {"status": "cancelled"}, ORDER_ONLY),
        (PscIf(for_("24h"), "keep"), {"starts_in": 24 * HOUR + MINUTE}, BOTH),
        (PscIf(for_("24h"), "keep"), {"starts_in": 24 * HOUR}, ORDER_ONLY),
    ],
    ids=str,
)
def test_the_slot_goes_first_if_it_goes(
    choice: Any,
    slot: dict[str, Any],
    expected: tuple[Step, ...],
    an_order: Orders,
    a_rule: Rules,
    a_case: Cases,
    a_policy: Policies,
    a_slot: Callable[..., Appointment],
) -> None:
    order = an_order(
        "appointment_scheduled", method="walk_in_test", slot=a_slot(method="walk_in_test", **slot)
    )
    rule = a_rule(psc_appointment=choice)
    assert steps(a_policy(rule), rule, a_case(order)) == expected


def test_a_slot_too_near_holds_the_order_until_it_is_over(
    planned: Planner, an_order: Orders, a_rule: Rules, a_slot: Callable[..., Appointment], now: datetime
) -> None:
    rule = a_rule(psc_appointment=PscIf(for_("24h"), "hold"))

    def first(**slot: Any) -> datetime | None:
        booked = a_slot(method="walk_in_test", **slot)
        order = an_order("appointment_scheduled", method="walk_in_test", slot=booked)
        return planned(order, rule).rules[0].first

    assert first(starts_in=24 * HOUR + MINUTE) == now
    assert first(starts_in=24 * HOUR) == now + 36 * HOUR  # over, and twelve hours in which news may come
    assert first(starts_in=9 * DAY, provider="sonora_quest") == now + 9 * DAY + 12 * HOUR


def test_a_home_visit_goes_with_its_order(
    an_order: Orders, a_rule: Rules, a_case: Cases, a_policy: Policies, a_slot: Callable[..., Appointment]
) -> None:
    order = an_order("appointment_scheduled", method="at_home_phlebotomy", slot=a_slot())
    rule = a_rule(psc_appointment="always")
    assert steps(a_policy(rule), rule, a_case(order)) == ORDER_ONLY


def test_our_own_step_does_not_talk_us_out_of_the_next(
    planned: Planner, an_order: Orders, a_rule: Rules, in_status: Conditions, now: datetime
) -> None:
    rule = a_rule(in_status("appointment_scheduled"))
    before = an_order("appointment_scheduled", method="at_home_phlebotomy", after=["ordered"])
    after = an_order(
        "appointment_cancelled", method="at_home_phlebotomy", after=["ordered", "appointment_scheduled"]
    )
    gone = replace(after, history=after.history, appointments=(cancelled_slot(now),))
    assert planned(gone, rule).winner is None
    assert planned(gone, rule, undone=before).winner is not None
    assert planned(gone, rule, undone=before, held=True).winner is None


def cancelled_slot(now: datetime) -> Appointment:
    return Appointment(
        "slot-1", "order-1", "phlebotomy", "getlabs", "cancelled", None, None, None, now, now, now
    )


# --- what holds for every order --------------------------------------------------------------------------

EVERY_STATUS = [*CATALOGUE, *((method, "lab_is_on_strike") for method in Method)]
HAS_LEFT = {
    "transit_customer", "out_for_delivery", "with_customer", "problem_in_transit_customer", "transit_lab",
    "problem_in_transit_lab", "delivered_to_lab", "lab_processing_blocked", "completed", "corrected", "lost",
    "failure_to_deliver_to_customer", "failure_to_deliver_to_lab", "sample_error", "registered",
    "draw_completed", "partial_results", "redraw_available",
}  # fmt: skip


@pytest.mark.parametrize(("method", "name"), EVERY_STATUS, ids="-".join)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_nothing_is_cancelled_that_must_not_be(
    method: Method, name: str, data: st.DataObject, random_orders: Any, planned: Planner, now: datetime
) -> None:
    order = data.draw(random_orders(method, name))
    later = now + data.draw(st.timedeltas(-2 * DAY, 6 * DAY))
    found = planned(order, now=later)
    if found.winner is None:
        return
    assert (method, name) in CATALOGUE
    assert CATALOGUE[method, name].window in {Window.OPEN, Window.UNTIL_SHIPPED}
    lived = {event.status.name for event in order.history.events}
    assert not lived & HAS_LEFT
    assert "lab_is_on_strike" not in lived
    assert not lived & {"cancelled", "do_not_process"}
    assert not order.facts.outbound_tracking
    assert order.facts.origin != "redraw"
    for slot in order.appointments:
        if slot.status != "cancelled":
            assert slot.status in {"pending", "reserved", "confirmed"}
        if method is Method.AT_HOME and slot.status != "cancelled" and slot.start:
            assert later < slot.start - timedelta(hours=24, minutes=30)


@pytest.mark.parametrize("method", Method)
@settings(deadline=None)
@given(data=st.data())
def test_every_order_of_arrival_gives_the_same_plan(
    method: Method, data: st.DataObject, random_orders: Any, planned: Planner
) -> None:
    order = data.draw(random_orders(method))
    pieces = [replace(order, history=History((event,)), appointments=()) for event in order.history.events]
    pieces += [replace(order, history=History(), facts=NOTHING_KNOWN)]
    arrived = data.draw(st.permutations([*pieces, *pieces[:2], replace(order, history=History())]))
    assert planned(merge(arrived)) == planned(order)


# --- the next instant, against stepping through time -----------------------------------------------------

# Starts whose next days have a clock change, and one without.
STARTS = [datetime(2026, 10, 30, 14, tzinfo=UTC), datetime(2027, 3, 12, 14, tzinfo=UTC),
          datetime(2026, 6, 10, 14, tzinfo=UTC)]  # fmt: skip
CALENDAR = Calendar()
DAYS = 5

lengths = st.sampled_from(["0m", "45m", "90s", "26h", "1d", "2d", "1d6h", "1bd", "2bd"]).map(for_)
ends = st.none() | lengths
simple: st.SearchStrategy[Condition] = st.one_of(
    lengths.map(lambda length: InStatus((StatusName("ordered"),), length)),
    lengths.map(lambda length: SignalStands("said", for_=length)),
    st.builds(Elapsed, st.just(Anchor("signal:said")), ends, ends),
    st.builds(Elapsed, st.just(Anchor("order.created")), ends, ends),
    st.builds(Remaining, st.just(Anchor("kit.ship_cutoff")), ends, ends),
    st.builds(
        lambda hours, days: DailyClock(Clock(time(hours[0])), Clock(time(hours[1])), days),
        st.sampled_from([(20, 5), (9, 20), (12, 13)]),
        st.sampled_from(["all", "workdays"]),
    ),
    st.just(SignalStands("never.said")),
)
nested = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        inner.map(Negated),
    ),
    max_leaves=4,
)


def holds(condition: Condition, placed: datetime, said: datetime, t: datetime) -> bool:
    """What a condition says at one instant, without any set of instants."""
    match condition:
        case InStatus(for_=length):
            assert length is not None
            return t >= CALENDAR.add(placed, length)
        case SignalStands(name="said", for_=length):
            assert length is not None
            return t >= CALENDAR.add(said, length)
        case SignalStands():
            return False
        case Elapsed(since, least, most):
            at = said if since.name == "signal:said" else placed
            begun = t >= (CALENDAR.add(at, least) if least else at)
            return begun and (most is None or t < CALENDAR.add(at, most))
        case Remaining(_, least, most):
            at = ship_cutoff(placed, CALENDAR)
            near = most is None or t >= CALENDAR.subtract(at, most)
            return near and t < (CALENDAR.subtract(at, least) if least else at)
        case DailyClock(opens, closes, days):
            return is_open(opens.time.hour, closes.time.hour, t, workdays=days == "workdays")
        case AllOf(parts):
            return all(holds(part, placed, said, t) for part in parts)
        case AnyOf(parts):
            return any(holds(part, placed, said, t) for part in parts)
        case Negated(part):
            return not holds(part, placed, said, t)
    raise AssertionError(condition)


def is_open(
    opens: int, closes: int, t: datetime, zone: str = "America/New_York", workdays: bool = False
) -> bool:
    local = t.astimezone(ZoneInfo(zone))
    tonight = opens <= local.hour and (local.hour < closes or closes <= opens)
    last_night = closes <= opens and local.hour < closes
    day = local.date() - DAY if last_night else local.date()
    return (tonight or last_night) and (not workdays or CALENDAR.is_workday(day))


def placed_at(order: Order, at: datetime) -> Order:
    facts = replace(order.facts, created_at=at, updated_at=at, observed_at=at)
    history = History((Event(1, at, Status("received.testkit.ordered")),))
    return replace(order, facts=facts, history=history)


@pytest.mark.parametrize("start", STARTS, ids=lambda start: f"{start:%B}")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_next_instant_is_the_one_that_stepping_through_time_finds(
    start: datetime, data: st.DataObject, an_order: Orders, a_rule: Rules, planned: Planner
) -> None:
    when, unless = data.draw(nested), data.draw(st.just(()) | st.tuples(nested))
    said = start + timedelta(seconds=data.draw(st.integers(0, 2 * 86_400)))
    now = start + timedelta(minutes=data.draw(st.integers(0, 2 * 1440)))
    any_time = data.draw(st.booleans())
    zones = data.draw(st.sampled_from([("America/New_York",), ("America/New_York", "America/Los_Angeles")]))
    rule = a_rule(when, unless=unless, settle=for_("15m"), act_any_time=any_time)
    order = placed_at(an_order(zones=zones), start)

    def due(t: datetime) -> bool:
        polite = any_time or all(is_open(9, 20, t, zone) for zone in zones)
        wanted = holds(when, start, said, t) and not any(holds(part, start, said, t) for part in unless)
        return wanted and polite and t >= start + 15 * MINUTE

    (found,) = planned(order, rule, now=now, calendar=CALENDAR, signals={"said": said}).rules
    end = now + DAYS * DAY
    stepped = next((t for t in minutes(now, end) if due(t)), None)
    if stepped is not None:
        assert found.first is not None
        assert found.first <= stepped
    if found.first is not None and found.first < end:
        assert due(found.first)
        seconds = (found.first - timedelta(seconds=n) for n in range(1, 10))
        assert not any(due(t) for t in seconds if t >= now)
    around = (edge + timedelta(seconds=n) for edge in found.due.yes.edges for n in (-1, 0, 1))
    for t in (*minutes(now, end, step=37), *around):
        assert (t in found.due.yes) == due(t)


def minutes(begin: datetime, end: datetime, step: int = 1) -> Iterator[datetime]:
    t = begin
    while t < end:
        yield t
        t += step * MINUTE


def test_the_work_does_not_grow_with_the_length_of_time(
    an_order: Orders, a_rule: Rules, in_status: Conditions, planned: Planner, now: datetime
) -> None:
    def work(days_old: int, length: str) -> int:
        order = placed_at(an_order(), now - timedelta(days=days_old))
        rule = a_rule(in_status("ordered", for_=length), act_any_time=False, notice=for_("3d"))
        return calls(lambda: planned(order, rule).next_at)

    work(1, "2d")  # once, so that what is remembered is remembered
    assert work(3000, "9000d") <= 1.2 * work(1, "4d")
    assert work(3000, "5bd") <= 1.2 * work(10, "5bd")


def calls(do: Callable[[], object]) -> int:
    """How many functions are called."""
    seen = []
    sys.setprofile(lambda _frame, event, _arg: seen.append(event) if event == "call" else None)
    try:
        do()
    finally:
        sys.setprofile(None)
    return len(seen)
