"""Durations, business days, wall clocks and zones of states."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workers.core.calendar import (
    EVERY_US_ZONE,
    HOLIDAYS,
    LONGEST,
    NEW_YORK,
    Calendar,
    Duration,
    no_holidays,
    ship_cutoff,
    us_federal_holidays,
    wall,
    zones_of_state,
)

ACME = Calendar(closed=frozenset({date(2026, 11, 27)}))


def eastern(text: str) -> datetime:
    """An instant as New York clocks show it, `2026-11-20 10:00`; the first one if they show it twice."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


def later(text: str, duration: str, calendar: Calendar = ACME) -> datetime:
    return calendar.add(eastern(text), Duration.parse(duration))


def earlier(text: str, duration: str, calendar: Calendar = ACME) -> datetime:
    return calendar.subtract(eastern(text), Duration.parse(duration))


# --- Writing durations


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("10s", Duration(seconds=10)),
        ("90m", Duration(seconds=5400)),
        ("24h", Duration(seconds=86_400)),
        ("0m", Duration()),
        ("14d", Duration(days=14)),
        ("2w", Duration(days=14)),
        ("1w2d3h4m5s", Duration(days=9, seconds=3 * 3600 + 4 * 60 + 5)),
        ("5bd", Duration(business_days=5)),
    ],
)
def test_a_duration_is_read(text: str, duration: Duration) -> None:
    assert Duration.parse(text) == duration


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("14 days", "write 14d"),
        ("1 day, 12 hours", "write 1d12h"),
        ("24H", "write 24h"),
        ("2 weeks", "write 2w"),
        ("12h1d", "write 1d12h"),
        ("1d1d", "write 2d"),
        ("5 business days", "write 5bd"),
        ("3 working days", "write 3bd"),
        ("1d5bd", "write 5bd alone, or none"),
        (" 30 ", "the unit is missing: write 30d, 30h or 30m"),
        ("1.5h", "write whole numbers with units"),
        ("-5d", "write whole numbers with units"),
        ("1 month", "write whole numbers with units"),
        ("soon", "write whole numbers with units"),
        ("", "write whole numbers with units"),
    ],
)
def test_a_misspelt_duration_comes_back_with_the_right_spelling(text: str, advice: str) -> None:
    with pytest.raises(ValueError) as refusal:
        Duration.parse(text)
    assert str(refusal.value).startswith(f"{text!r} is not a duration: ")
    assert advice in str(refusal.value)


@pytest.mark.parametrize("text", ["36526d", "9999999999999h", "2001bd"])
def test_a_duration_nobody_can_mean_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        Duration.parse(text)


def test_business_days_mix_with_nothing_and_no_duration_is_negative() -> None:
    with pytest.raises(ValueError, match="do not combine"):
        Duration(days=1, business_days=1)
    with pytest.raises(ValueError, match="negative"):
        Duration(seconds=-1)


durations = st.one_of(
    st.builds(Duration, seconds=st.integers(0, 10**9), days=st.integers(0, 20_000)),
    st.builds(Duration, business_days=st.integers(0, 2_000)),
)


@given(durations)
def test_a_printed_duration_reads_back_as_the_same(duration: Duration) -> None:
    assert Duration.parse(str(duration)) == duration


@pytest.mark.parametrize(
    ("text", "canonical"), [("90m", "1h30m"), ("2w", "14d"), ("24h", "24h"), ("0s", "0m")]
)
def test_a_duration_has_one_printed_form(text: str, canonical: str) -> None:
    assert str(Duration.parse(text)) == canonical


# --- Wall clocks


@pytest.mark.parametrize(
    ("day", "clock", "instant"),
    [
        (date(2026, 3, 8), time(1, 59), datetime(2026, 3, 8, 6, 59, tzinfo=UTC)),
        (date(2026, 3, 8), time(2, 30), datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),  # shown as 03:30
        (date(2026, 3, 8), time(3, 30), datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),
        (date(2026, 11, 1), time(1, 30), datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),  # again an hour later
        (date(2026, 11, 1), time(2, 0), datetime(2026, 11, 1, 7, 0, tzinfo=UTC)),
    ],
)
def test_a_skipped_time_moves_forward_and_of_a_repeated_one_the_first_counts(
    day: date, clock: time, instant: datetime
) -> None:
    assert wall(NEW_YORK, day, clock) == instant
    assert wall(NEW_YORK, day, clock.replace(fold=1)) == instant


# --- Adding and subtracting


def test_hours_are_exact_and_days_keep_the_wall_clock_over_a_clock_change() -> None:
    assert later("2026-03-07 12:00", "24h") == eastern("2026-03-08 13:00")
    assert later("2026-03-07 12:00", "1d") == eastern("2026-03-08 12:00")
    assert later("2026-10-31 12:00", "24h") == eastern("2026-11-01 11:00")
    assert later("2026-10-31 12:00", "1w") == eastern("2026-11-07 12:00")
    assert later("2026-03-07 02:30", "1d") == eastern("2026-03-08 03:30")


def test_days_are_counted_in_the_zone_of_the_calendar() -> None:
    start = datetime(
        2026, 3, 8, 3, tzinfo=UTC
    )  # still the 7th in New York, where the clocks change that night
    assert Calendar(ZoneInfo("UTC")).add(start, Duration(days=1)) == start + timedelta(hours=24)
    assert Calendar(NEW_YORK).add(start, Duration(days=1)) == start + timedelta(hours=23)


def test_days_come_before_hours_and_are_taken_back_after_them() -> None:
    assert later("2026-03-07 01:30", "1d1h") == eastern("2026-03-08 03:30")
    assert earlier("2026-03-08 03:30", "1d1h") == eastern("2026-03-07 01:30")


def test_nothing_added_changes_nothing_even_in_a_repeated_hour() -> None:
    second_half_past_one = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    assert ACME.add(second_half_past_one, Duration()) == second_half_past_one
    assert ACME.subtract(second_half_past_one, Duration()) == second_half_past_one


def test_five_business_days_step_over_thanksgiving_and_a_closed_friday() -> None:
    assert later("2026-11-20 10:00", "5bd") == eastern("2026-12-01 10:00")
    assert earlier("2026-12-01 10:00", "5bd") == eastern("2026-11-20 10:00")


def test_a_weekend_counts_as_the_first_moment_of_the_monday_after_it() -> None:
    assert later("2026-11-14 15:00", "1bd") == eastern("2026-11-17 00:00")
    assert earlier("2026-11-14 15:00", "1bd") == eastern("2026-11-13 00:00")


def test_two_thousand_business_days_are_about_eight_years() -> None:
    assert later("2026-01-02 09:00", "2000bd") == eastern("2034-01-05 09:00")


def test_a_clinic_may_work_on_saturdays_and_holidays() -> None:
    clinic = Calendar(NEW_YORK, frozenset({3, 5}), no_holidays)
    assert later("2026-11-26 08:00", "1bd", clinic) == eastern("2026-11-28 08:00")


@pytest.mark.parametrize("workdays", [frozenset[int](), frozenset({7})])
def test_a_calendar_without_workdays_is_refused(workdays: frozenset[int]) -> None:
    with pytest.raises(ValueError, match="workdays"):
        Calendar(workdays=workdays)


def test_calendars_of_the_same_content_are_equal() -> None:
    same = Calendar(
        ZoneInfo("America/New_York"), frozenset(range(5)), HOLIDAYS["us-federal"], frozenset(ACME.closed)
    )
    assert same == ACME
    assert hash(same) == hash(ACME)


moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
close_to_clock_changes = st.builds(
    lambda day, minutes: wall(NEW_YORK, day, time.min) + timedelta(minutes=minutes),
    st.sampled_from([date(2026, 3, 7), date(2026, 3, 8), date(2026, 10, 31), date(2026, 11, 1)]),
    st.integers(0, 24 * 60),
)


@given(moments | close_to_clock_changes, durations)
def test_adding_never_goes_back(t: datetime, duration: Duration) -> None:
    assert ACME.subtract(t, duration) <= t or duration.business_days
    assert t <= ACME.add(t, duration) <= t + LONGEST


@given(moments | close_to_clock_changes, durations)
def test_what_was_subtracted_adds_up_again(t: datetime, duration: Duration) -> None:
    before = ACME.subtract(t, duration)
    without_seconds = (t - timedelta(seconds=duration.seconds)).astimezone(NEW_YORK)
    assume(not without_seconds.fold)
    assume(
        before.astimezone(NEW_YORK).time() == without_seconds.time()
    )  # or the clock was moved out of a gap
    assume(ACME.is_workday(t.astimezone(NEW_YORK).date()) or not duration.business_days)
    assert ACME.add(before, duration) == t


@given(moments | close_to_clock_changes, st.integers(1, 40))
def test_as_many_business_days_pass_as_were_added(t: datetime, count: int) -> None:
    start, end = (
        each.astimezone(NEW_YORK).date() for each in (t, ACME.add(t, Duration(business_days=count)))
    )
    days = [start + timedelta(days=ahead) for ahead in range((end - start).days)]
    assert sum(map(ACME.is_workday, days)) == count
    assert ACME.is_workday(end)


# --- Holidays


def test_the_federal_holidays_of_2026() -> None:
    assert us_federal_holidays(2026) == {
        date(2026, 1, 1),
        date(2026, 1, 19),
        date(2026, 2, 16),
        date(2026, 5, 25),
        date(2026, 6, 19),
        date(2026, 7, 3),  # the 4th is a Saturday
        date(2026, 9, 7),
        date(2026, 10, 12),
        date(2026, 11, 11),
        date(2026, 11, 26),
        date(2026, 12, 25),
    }


def test_a_new_years_day_on_a_saturday_is_observed_in_the_old_year() -> None:
    assert date(2027, 12, 31) in us_federal_holidays(2027)
    assert date(2028, 1, 1) not in us_federal_holidays(2028)


def test_a_holiday_on_a_sunday_is_observed_on_monday() -> None:
    assert date(2027, 7, 5) in us_federal_holidays(2027)


@given(st.integers(2021, 2200))
def test_no_federal_holiday_is_observed_on_a_weekend(year: int) -> None:
    assert all(day.weekday() < 5 and day.year == year for day in us_federal_holidays(year))
    assert len(us_federal_holidays(year)) in {10, 11, 12}


# --- The time kits leave


@pytest.mark.parametrize(
    ("start", "cutoff"),
    [
        ("2026-11-20 12:59", "2026-11-20 13:00"),
        ("2026-11-20 13:00", "2026-11-23 13:00"),
        ("2026-11-21 08:00", "2026-11-23 13:00"),
        ("2026-11-25 13:01", "2026-11-30 13:00"),  # Thanksgiving, the closed Friday, a weekend
    ],
)
def test_a_kit_leaves_at_the_next_cutoff_of_a_business_day(start: str, cutoff: str) -> None:
    assert ship_cutoff(eastern(start), ACME) == eastern(cutoff)


def test_kits_leave_by_new_york_time_and_never_at_weekends_whatever_the_calendar() -> None:
    elsewhere = Calendar(ZoneInfo("Pacific/Honolulu"), frozenset(range(7)), no_holidays)
    assert ship_cutoff(eastern("2026-11-20 14:00"), elsewhere) == eastern("2026-11-23 13:00")


# --- Zones of states

STATES_AND_TERRITORIES = """
    AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC
    ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY PR VI GU AS MP
"""


@pytest.mark.parametrize(
    ("state", "zones"),
    [
        ("NY", {"America/New_York"}),
        ("ca", {"America/Los_Angeles"}),
        ("TX", {"America/Chicago", "America/Denver"}),
        ("AZ", {"America/Phoenix", "America/Denver"}),
        ("AK", {"America/Anchorage", "America/Adak"}),
        ("PR", {"America/Puerto_Rico"}),
        ("GU", {"Pacific/Guam"}),
        ("", set()),
        ("ZZ", set()),
    ],
)
def test_a_state_has_the_zones_of_all_its_parts(state: str, zones: set[str]) -> None:
    assert zones_of_state(state) == zones


def test_every_state_and_territory_has_a_zone_that_exists() -> None:
    assert len(STATES_AND_TERRITORIES.split()) == 56
    for state in STATES_AND_TERRITORIES.split():
        assert zones_of_state(state)
        assert all(ZoneInfo(zone).key == zone for zone in zones_of_state(state))


def test_an_unknown_state_may_be_anywhere_from_honolulu_to_new_york() -> None:
    january = datetime(2026, 1, 15, tzinfo=UTC)
    offsets = {january.astimezone(ZoneInfo(zone)).utcoffset() for zone in EVERY_US_ZONE}
    assert offsets == {timedelta(hours=-hours) for hours in range(5, 11)}
