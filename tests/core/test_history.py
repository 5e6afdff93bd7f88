"""A history is a set: whatever arrives late, twice or in the wrong order ends in the same order."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.core.history import Event, History
from workers.core.order import NOTHING_KNOWN, Appointment, Facts, NoAppointment, Order, merge
from workers.core.status import CATALOGUE, Method, Status

Orders = Callable[..., Order]

START = datetime(2026, 11, 1, tzinfo=UTC)

# Few ids, few instants and few words, so that conflicts and ties are common.
instants = st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours))
words = st.sampled_from(["a", "b"])
raws = st.sampled_from(["received.testkit.ordered", "collecting_sample.testkit.transit_customer", "odd"])
events = st.builds(Event, st.integers(1, 3), instants, raws.map(Status), st.none() | words)
slots = st.builds(
    Appointment,
    id=words,
    order_id=st.just("order-1"),
    kind=st.sampled_from(["phlebotomy", "patient_service_center"]),
    provider=st.none(),
    status=st.sampled_from(["confirmed", "cancelled"]),
    start=st.none() | instants,
    end=st.none(),
    zone=st.none(),
    booked_at=st.none() | instants,
    changed_at=instants,
    observed_at=instants,
)
pictures = st.just(NOTHING_KNOWN) | st.builds(
    Facts,
    updated_at=instants,
    observed_at=instants,
    methods=st.frozensets(st.sampled_from(["testkit", "walk_in_test"])),
    team_id=words,
    origin=st.none() | words,
    outbound_tracking=st.booleans(),
    zones=st.sampled_from([(), ("America/New_York",)]),
)
news = st.builds(
    Order,
    id=st.just("order-1"),
    facts=pictures,
    history=st.lists(events, max_size=3).map(History.of),
    appointments=slots.map(lambda slot: (slot,)) | st.just(()),
    appointment_missing=st.none() | instants,
)


@given(st.data())
def test_every_order_of_arrival_with_any_repetition_ends_in_the_same_order(data: st.DataObject) -> None:
    pieces = data.draw(st.lists(news, min_size=1, max_size=6))
    repeated = data.draw(st.lists(st.sampled_from(pieces), max_size=4))
    arrived = data.draw(st.permutations([*pieces, *repeated]))
    assert merge(arrived) == merge(pieces)


@given(st.lists(news, min_size=3, max_size=5))
def test_news_may_be_merged_in_batches(pieces: list[Order]) -> None:
    one_by_one = reduce(Order.merged, pieces)
    from_behind = reduce(lambda late, early: early.merged(late), reversed(pieces))
    assert one_by_one == from_behind


def test_news_of_another_order_is_refused(an_order: Orders) -> None:
    stranger = Order("order-2", NOTHING_KNOWN)
    with pytest.raises(ValueError, match="order-2"):
        an_order().merged(stranger)


def test_a_late_old_event_takes_its_place_in_the_past(a_history: Callable[..., History]) -> None:
    whole = a_history("ordered", "transit_customer", "with_customer")
    late, rest = whole.events[1], History.of((whole.events[0], whole.events[2]))
    assert rest.merged(History((late,))) == whole
    assert whole.last is not None
    assert whole.last.status.name == "with_customer"


def test_events_of_one_instant_go_by_their_id() -> None:
    first, second = (Event(n, START, Status(raw)) for n, raw in ((1, "b"), (2, "a")))
    assert History.of((second, first)).last == second


def test_an_old_picture_does_not_bring_back_old_facts(an_order: Orders, now: datetime) -> None:
    new = an_order(origin="redraw", updated_at=now)
    old = an_order(origin="initial", updated_at=now - timedelta(hours=2))
    assert old.merged(new).facts.origin == "redraw"


def test_of_one_moment_the_later_picture_counts(an_order: Orders, now: datetime) -> None:
    delivered = an_order(origin="initial", updated_at=now, observed_at=now)
    fetched = an_order(origin="redraw", updated_at=now, observed_at=now + timedelta(seconds=5))
    assert fetched.merged(delivered).facts.origin == "redraw"


def test_a_tracking_number_once_seen_stays_seen(an_order: Orders, now: datetime) -> None:
    seen = an_order(outbound_tracking=True, updated_at=now - timedelta(hours=2))
    assert an_order(updated_at=now).merged(seen).has_shipped


def test_a_tracking_number_does_not_tip_the_scales_between_pictures_of_one_moment(
    an_order: Orders, now: datetime
) -> None:
    taken = {"updated_at": now, "observed_at": now}
    first = an_order(team_id="b", zones=("b",), **taken)
    second = an_order(team_id="a", outbound_tracking=True, **taken)
    third = an_order(team_id="b", zones=("a",), outbound_tracking=True, **taken)
    assert merge([first, second, third]) == merge([first, third, second])


# --- what a history tells ----------------------------------------------------------------------------------


def test_a_kit_back_in_received_has_still_shipped(a_history: Callable[..., History]) -> None:
    there_and_back = a_history("awaiting_registration", "transit_customer", "with_customer", "registered")
    assert there_and_back.shipped == there_and_back.events[1]


def test_a_registered_kit_is_out_even_without_any_transit_event(a_history: Callable[..., History]) -> None:
    assert a_history("awaiting_registration", "registered", "requisition_created").shipped is not None


def test_a_stay_begins_where_the_unbroken_run_of_statuses_does(a_history: Callable[..., History]) -> None:
    history = a_history(
        "ordered", "appointment_scheduled", "appointment_cancelled", "ordered", method="walk_in_test"
    )
    assert history.stay(frozenset({"ordered"})) == history.events[3]
    assert history.stay(frozenset({"ordered", "appointment_cancelled"})) == history.events[2]
    assert history.stay(frozenset({"appointment_scheduled"})) is None


def test_a_rescheduled_visit_does_not_begin_a_new_stay(a_history: Callable[..., History]) -> None:
    history = a_history("appointment_scheduled", "appointment_scheduled", method="at_home_phlebotomy")
    assert history.stay(frozenset({"appointment_scheduled"})) == history.events[0]


def test_an_order_alive_after_its_cancellation_is_reinstated(a_history: Callable[..., History]) -> None:
    assert a_history("ordered", "cancelled", "ordered").reinstated
    assert not a_history("ordered", "cancelled").reinstated
    assert not a_history("ordered", "cancelled", "completed").reinstated


def test_a_live_event_dated_before_the_cancellation_reinstates_nothing() -> None:
    cancelled = Event(1, START + timedelta(hours=1), Status("cancelled.testkit.cancelled"))
    late = Event(2, START, Status("received.testkit.awaiting_registration"))
    assert not History.of((cancelled, late)).reinstated


@given(st.data(), st.sampled_from(Method))
def test_how_far_it_has_gone_never_shrinks(data: st.DataObject, method: Method) -> None:
    rows = [row for row in CATALOGUE.values() if row.method is method]
    chosen = data.draw(st.lists(st.sampled_from(rows), max_size=5))
    raws = [f"{row.levels[0]}.{row.method}.{row.name}" for row in chosen]
    history = History.of(Event(n, START, Status(raw)) for n, raw in enumerate(raws))
    assert (history.shipped is not None) == any(row.reach.value >= 1 for row in chosen)
    assert (history.drawn is not None) == any(row.reach.value >= 2 for row in chosen)
    assert (history.collected is not None) == any(row.reach.value >= 3 for row in chosen)


# --- the method and the appointment ------------------------------------------------------------------------


def test_sources_that_disagree_about_the_method_leave_it_unknown(an_order: Orders) -> None:
    order = an_order(method="walk_in_test", methods=frozenset({"at_home_phlebotomy", "walk_in_test"}))
    assert order.method is None
    assert order.entry is None


def test_a_history_that_speaks_of_an_appointment_nobody_has_seen_makes_it_unknown(
    an_order: Orders,
) -> None:
    assert an_order(method="walk_in_test").appointment is NoAppointment.NONE
    booked = an_order("appointment_scheduled", method="walk_in_test")
    assert booked.appointment is NoAppointment.UNKNOWN


def test_a_newer_event_that_contradicts_the_appointment_makes_it_unknown(
    an_order: Orders, a_slot: Callable[..., Appointment]
) -> None:
    slot = a_slot(booked=timedelta(days=6))
    cancelled = an_order("appointment_cancelled", method="at_home_phlebotomy", days_ago=5, slot=slot)
    assert cancelled.appointment is NoAppointment.UNKNOWN
    scheduled = an_order("appointment_scheduled", method="at_home_phlebotomy", days_ago=5, slot=slot)
    assert scheduled.appointment == slot


def test_an_appointment_of_a_status_nobody_knows_is_unknown(
    an_order: Orders, a_slot: Callable[..., Appointment]
) -> None:
    order = an_order("appointment_scheduled", method="at_home_phlebotomy", slot=a_slot(status="paused"))
    assert order.appointment is NoAppointment.UNKNOWN


def test_a_slot_that_has_gone_missing_is_unknown(
    an_order: Orders, a_slot: Callable[..., Appointment], now: datetime
) -> None:
    order = an_order("appointment_scheduled", method="at_home_phlebotomy", slot=a_slot())
    gone = Order("order-1", NOTHING_KNOWN, appointment_missing=now)
    assert order.merged(gone).appointment is NoAppointment.UNKNOWN
