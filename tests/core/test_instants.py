"""Sets of instants, held against the plainest model there is: asking a predicate at every half-hour."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.core.calendar import EVERY_US_ZONE, NEW_YORK, Calendar, wall
from workers.core.instants import (
    HORIZON,
    Daily,
    Finite,
    Instants,
    Span,
    Spans,
    Truth,
    all_of,
    any_of,
    daily_window,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def at(hours: float) -> datetime:
    return NOON + hours * HOUR


def pieces(spans: Spans, start: datetime, end: datetime) -> list[tuple[datetime, datetime | None]]:
    """The merged stretches of a set that begin between start and end."""
    found = []
    first = spans.first(start)
    while first and first < end:
        last = spans.end_of(first)
        found.append((first, last))
        first = last and spans.first(last)
    return found


# --- Finite sets


def test_never_and_always() -> None:
    assert Spans.never().next(NOON) is None
    assert Spans.always().next(NOON) == Span(NOON, None)
    assert Spans.always().end_of(NOON) is None
    assert ~Spans.never() == Spans.always()
    assert ~Spans.always() == Spans.never()


def test_a_span_holds_its_start_and_not_its_end() -> None:
    spans = Spans.between(at(1), at(2))
    assert at(1) in spans
    assert at(2) not in spans
    assert spans.first(at(0)) == at(1)
    assert spans.first(at(2)) is None
    assert spans.end_of(at(1.5)) == at(2)


def test_a_set_that_does_not_hold_an_instant_ends_there_at_once() -> None:
    assert Spans.since(at(1)).end_of(NOON) == NOON


def test_a_turned_round_span_is_empty() -> None:
    assert Spans.between(at(2), at(1)) == Spans.between(at(1), at(1)) == Spans.never()


def test_touching_and_overlapping_spans_become_one() -> None:
    shuffled = Spans.of(Span(at(4), at(6)), Span(at(1), at(2)), Span(at(2), at(3)), Span(at(5), at(7)))
    assert shuffled == Finite((Span(at(1), at(3)), Span(at(4), at(7))))


def test_before_and_since_make_up_all_time() -> None:
    assert Spans.until(NOON) | Spans.since(NOON) == Spans.always()
    assert ~Spans.until(NOON) == Spans.since(NOON)
    assert Spans.until(NOON) & Spans.since(NOON) == Spans.never()


# --- Daily windows


def nine_to_five(zone: str = "America/New_York", on: Callable[[date], bool] = lambda _: True) -> Daily:
    return Daily(time(9), time(17), ZoneInfo(zone), on)


def test_a_window_keeps_its_wall_clock_when_the_clocks_change() -> None:
    weekend = pieces(nine_to_five(), datetime(2026, 3, 7, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC))
    assert weekend == [
        (datetime(2026, 3, 7, 14, tzinfo=UTC), datetime(2026, 3, 7, 22, tzinfo=UTC)),
        (datetime(2026, 3, 8, 13, tzinfo=UTC), datetime(2026, 3, 8, 21, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("opens", "closes", "day", "length"),
    [
        (time(22), time(6), date(2026, 3, 7), 7 * HOUR),
        (time(22), time(6), date(2026, 10, 31), 9 * HOUR),
        (time(1, 30), time(2, 30), date(2026, 3, 8), HOUR),
        (time(1, 30), time(2, 30), date(2026, 11, 1), 2 * HOUR),
        (time(0), time(0), date(2026, 3, 8), 23 * HOUR),
    ],
)
def test_a_window_over_a_clock_change_is_as_long_as_the_night_was(
    opens: time, closes: time, day: date, length: timedelta
) -> None:
    start = wall(NEW_YORK, day, opens)
    assert Daily(opens, closes, NEW_YORK).next(start) == Span(start, start + length)


def test_a_window_turned_round_by_a_clock_change_is_left_out_that_day() -> None:
    window = Daily(time(2, 30), time(3, 15), NEW_YORK)
    assert window.first(wall(NEW_YORK, date(2026, 3, 8), time(0))) == wall(
        NEW_YORK, date(2026, 3, 9), time(2, 30)
    )


def test_after_midnight_yesterdays_window_is_still_open() -> None:
    night = Daily(time(22), time(6), NEW_YORK)
    five_in_the_morning = wall(NEW_YORK, date(2026, 11, 20), time(5))
    assert five_in_the_morning in night
    assert night.end_of(five_in_the_morning) == five_in_the_morning + HOUR


def test_a_window_for_workdays_steps_over_thanksgiving_weekend() -> None:
    open_days = Calendar(closed=frozenset({date(2026, 11, 27)})).is_workday
    wednesday_evening = wall(NEW_YORK, date(2026, 11, 25), time(18))
    assert nine_to_five(on=open_days).first(wednesday_evening) == wall(NEW_YORK, date(2026, 11, 30), time(9))


def test_a_window_that_no_day_admits_is_never_open() -> None:
    assert nine_to_five(on=lambda _: False).next(NOON) is None
    assert (~nine_to_five(on=lambda _: False)).end_of(NOON) is None


def test_every_zone_must_be_inside_at_once() -> None:
    january = datetime(2026, 1, 15, tzinfo=UTC)
    window = daily_window(time(9), time(20), EVERY_US_ZONE)
    opens_in_honolulu = wall(ZoneInfo("Pacific/Honolulu"), date(2026, 1, 15), time(9))
    closes_in_new_york = wall(NEW_YORK, date(2026, 1, 15), time(20))
    assert pieces(window, january + timedelta(hours=8), january + DAY) == [
        (opens_in_honolulu, closes_in_new_york)
    ]


def test_a_window_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one zone"):
        daily_window(time(9), time(20), [])


# --- Searching is quick, and ends


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The instants from which daily windows have been asked for their next span."""
    asked: list[datetime] = []
    ask = Daily.next

    def count(window: Daily, t: datetime) -> Span | None:
        asked.append(t)
        return ask(window, t)

    monkeypatch.setattr(Daily, "next", count)
    return asked


def test_a_wait_of_150_days_is_leapt_over(looks: list[datetime]) -> None:
    due = Spans.since(NOON + 150 * DAY) & daily_window(time(9), time(20), ["America/New_York"])
    assert due.first(NOON) == wall(NEW_YORK, date(2027, 4, 19), time(9))
    assert len(looks) < 10


def test_disjoint_windows_never_meet_and_the_search_ends(looks: list[datetime]) -> None:
    assert (daily_window(time(9), time(10), EVERY_US_ZONE)).first(NOON) is None
    assert len(looks) < len(EVERY_US_ZONE) * 3 * HORIZON.days


def test_a_search_within_a_search_does_not_start_over_every_day(looks: list[datetime]) -> None:
    early, noon, late = (Daily(time(h), time(h + 1), NEW_YORK) for h in (6, 12, 18))
    never = early & noon
    assert ((never | noon) & (never | late)).first(NOON) is None
    assert len(looks) < 30 * HORIZON.days


def test_what_begins_beyond_the_horizon_is_still_found() -> None:
    morning, evening = (Daily(time(h), time(h + 1), NEW_YORK) for h in (9, 18))
    in_ten_years = NOON + 3650 * DAY
    either = (morning | Spans.since(in_ten_years)) & evening
    assert either.first(NOON) == evening.first(in_ten_years)
    assert (~either).end_of(NOON) == evening.first(in_ten_years)


def test_a_stretch_patched_from_days_ends_at_the_edge_that_ends_it() -> None:
    all_day = Daily(time(0), time(0), NEW_YORK)
    assert all_day.end_of(NOON) is None
    assert (all_day & Spans.until(NOON + 3650 * DAY)).end_of(NOON) == NOON + 3650 * DAY
    long_then_daily = Spans.between(NOON, NOON + 3650 * DAY) | Daily(time(9), time(17), NEW_YORK)
    assert long_then_daily.end_of(NOON) == Daily(time(9), time(17), NEW_YORK).end_of(NOON + 3650 * DAY)


def test_denying_twice_is_saying_it_once() -> None:
    assert ~~nine_to_five() == nine_to_five()


# --- Against the model


@dataclass(frozen=True)
class Modelled:
    """A set and the plain predicate that it should agree with."""

    spans: Spans
    holds: Callable[[datetime], bool]

    def __and__(self, other: "Modelled") -> "Modelled":
        return Modelled(self.spans & other.spans, lambda t: self.holds(t) and other.holds(t))

    def __or__(self, other: "Modelled") -> "Modelled":
        return Modelled(self.spans | other.spans, lambda t: self.holds(t) or other.holds(t))

    def __invert__(self) -> "Modelled":
        return Modelled(~self.spans, lambda t: not self.holds(t))


EXAMPLES = 40
STEP = timedelta(minutes=30)
STEPS = 48 * 4
# Two days before a clock change in New York.
WEEKENDS = [datetime(2026, 3, 6, 5, tzinfo=UTC), datetime(2026, 10, 30, 4, tzinfo=UTC)]
half_hours = st.integers(0, 47).map(lambda n: time(n // 2, n % 2 * 30))


def finite_sets(origin: datetime) -> st.SearchStrategy[Modelled]:
    edge = st.none() | st.integers(0, STEPS).map(lambda n: origin + n * STEP)
    pairs = st.lists(st.tuples(edge, edge), max_size=4)

    def model(pairs: list[tuple[datetime | None, datetime | None]]) -> Modelled:
        spans = [Span(start, end) for start, end in pairs]
        return Modelled(
            Spans.of(*spans),
            lambda t: any((a is None or a <= t) and (b is None or t < b) for a, b in pairs),
        )

    return pairs.map(model)


def clock_sets() -> st.SearchStrategy[Modelled]:
    def model(opens: time, closes: time, name: str, weekdays: frozenset[int]) -> Modelled:
        zone = ZoneInfo(name)

        def holds(t: datetime) -> bool:
            today = t.astimezone(zone).date()
            return any(
                datetime.combine(day, opens, zone).astimezone(UTC)
                <= t
                < datetime.combine(day if opens < closes else day + DAY, closes, zone).astimezone(UTC)
                for day in (today - DAY, today)
                if day.weekday() in weekdays
            )

        return Modelled(Daily(opens, closes, zone, lambda day: day.weekday() in weekdays), holds)

    zones = st.sampled_from(["America/New_York", "America/Los_Angeles", "America/Phoenix"])
    weekdays = st.just(frozenset(range(7))) | st.frozensets(st.integers(0, 6))
    return st.builds(model, half_hours, half_hours, zones, weekdays)


def sets(origin: datetime, leaves: int = 5) -> st.SearchStrategy[Modelled]:
    return st.recursive(
        finite_sets(origin) | clock_sets(),
        lambda smaller: st.one_of(
            st.builds(Modelled.__and__, smaller, smaller),
            st.builds(Modelled.__or__, smaller, smaller),
            smaller.map(Modelled.__invert__),
        ),
        max_leaves=leaves,
    )


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.data(), st.sampled_from(WEEKENDS))
def test_a_set_says_at_every_half_hour_what_its_parts_say(data: st.DataObject, origin: datetime) -> None:
    modelled = data.draw(sets(origin))
    spans = modelled.spans
    instants = [origin + n * STEP for n in range(STEPS)]
    truth = {t: modelled.holds(t) for t in instants}
    horizon = instants[-1] + STEP

    assert {t: t in spans for t in instants} == truth
    for t in reversed(instants[::15]):
        first = next((later for later in instants if later >= t and truth[later]), horizon)
        assert min(spans.first(t) or horizon, horizon) == first

        gap = next((later for later in instants if later >= t and not truth[later]), horizon)
        assert min(spans.end_of(t) or horizon, horizon) == gap

        if span := spans.next(t):
            assert span.start
            assert span.start >= t
            assert all(truth[later] for later in instants if later in Spans.of(span))


@given(st.data(), st.sampled_from(WEEKENDS))
def test_finite_sets_stay_finite_ordered_and_merged(data: st.DataObject, origin: datetime) -> None:
    a, b = (data.draw(finite_sets(origin)).spans for _ in range(2))
    for made in (a & b, a | b, ~a):
        assert isinstance(made, Finite)
        assert all(made.spans)
        for before, after in zip(made.spans, made.spans[1:], strict=False):
            assert before.end
            assert after.start
            assert before.end < after.start


# --- Three values

CERTAINTY = {Truth.NO: 0, Truth.UNKNOWN: 1, Truth.YES: 2}
VALUE = {Truth.NO: Instants.never(), Truth.UNKNOWN: Instants.unknown(), Truth.YES: Instants.always()}


@pytest.mark.parametrize("a", Truth)
@pytest.mark.parametrize("b", Truth)
def test_three_values_combine_as_kleene_has_it(a: Truth, b: Truth) -> None:
    assert (VALUE[a] & VALUE[b]).at(NOON) is min(a, b, key=CERTAINTY.__getitem__)
    assert (VALUE[a] | VALUE[b]).at(NOON) is max(a, b, key=CERTAINTY.__getitem__)


def test_the_opposite_of_unknown_is_unknown() -> None:
    assert (~Instants.unknown()).at(NOON) is Truth.UNKNOWN
    assert (~Instants.always()).at(NOON) is Truth.NO
    assert (~Instants.never()).at(NOON) is Truth.YES


def test_nothing_asked_is_always_met_and_nothing_offered_never() -> None:
    assert all_of([]) == Instants.always()
    assert any_of([]) == Instants.never()


def test_an_unknown_condition_leaves_open_only_what_the_others_allow() -> None:
    afternoon = Instants.known(Spans.since(at(1)))
    both = all_of([afternoon, Instants.unknown()])
    assert both.at(at(0)) is Truth.NO
    assert both.at(at(1)) is Truth.UNKNOWN
    either = any_of([afternoon, Instants.unknown()])
    assert either.at(at(0)) is Truth.UNKNOWN
    assert either.at(at(1)) is Truth.YES


def test_a_later_certainty_shows_as_a_first_sure_instant() -> None:
    due = Instants(yes=Spans.since(at(5)), maybe=Spans.since(at(2))) & Instants.known(Spans.until(at(9)))
    assert due.maybe.first(NOON) == at(2)
    assert due.yes.first(NOON) == at(5)
    assert [due.at(at(hour)) for hour in (1, 3, 6, 9)] == [Truth.NO, Truth.UNKNOWN, Truth.YES, Truth.NO]


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.data(), st.sampled_from(WEEKENDS))
def test_what_is_sure_stays_possible_through_every_operation(data: st.DataObject, origin: datetime) -> None:
    def some() -> Instants:
        known, doubted = (data.draw(sets(origin, leaves=2)).spans for _ in range(2))
        return Instants(yes=known & ~doubted, maybe=known | doubted)

    a, b = some(), some()
    for made in (a & b, a | b, ~a):
        surely_but_not_possibly = made.yes & ~made.maybe
        assert not any(origin + n * STEP in surely_but_not_possibly for n in range(STEPS))
