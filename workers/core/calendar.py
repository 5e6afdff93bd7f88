"""Durations, business days, wall clocks and the time zones of US states.

Instants go in and come out as aware UTC datetimes; the present time is never read here.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)
WEEKDAYS = frozenset({MON, TUE, WED, THU, FRI})
ONE_DAY = timedelta(days=1)


def wall(zone: ZoneInfo, day: date, clock: time) -> datetime:
    """The UTC instant at which clocks in `zone` show `clock` on `day`.

    A time skipped in spring moves forward by what was skipped (02:30 is 03:30); of a time shown twice in
    autumn the first counts. Both are what RFC 5545 says, and what `fold=0` means.
    """
    return datetime.combine(day, clock.replace(fold=0), zone).astimezone(UTC)


# --- Durations -------------------------------------------------------------------------------------------

LONGEST = timedelta(days=36_525)
MOST_BUSINESS_DAYS = 2_000

_SPELLING = re.compile(r"(?:[0-9]+w)?(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+s)?|[0-9]+bd")
_PART = re.compile(r"([0-9]+)([a-z]+)")
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_DAYS = {"w": 7, "d": 1}

# What people write instead, biggest unit first.
_LOOSE_PART = re.compile(r"([0-9]+)\s*((?:business|working)?\s*[a-z]+)[\s,]*")
_UNIT_WORDS = {
    "w": "w wk wks week weeks",
    "d": "d day days",
    "h": "h hr hrs hour hours",
    "m": "m min mins minute minutes",
    "s": "s sec secs second seconds",
    "bd": "bd bds workday workdays businessday businessdays workingday workingdays",
}
_UNIT_OF = {word: unit for unit, words in _UNIT_WORDS.items() for word in words.split()}


@dataclass(frozen=True, slots=True)
class Duration:
    """Exact seconds and calendar days together, or business days alone; zero is zero in any unit.

    Raises ValueError if negative, mixed with business days, or too long to be meant.
    """

    seconds: int = 0
    days: int = 0
    business_days: int = 0

    def __post_init__(self) -> None:
        if min(self.seconds, self.days, self.business_days) < 0:
            raise ValueError("a duration cannot be negative")
        if self.business_days and (self.seconds or self.days):
            raise ValueError("business days (bd) do not combine with other units")
        if self.business_days > MOST_BUSINESS_DAYS:
            raise ValueError(f"too long: at most {MOST_BUSINESS_DAYS}bd")
        if self.days * 86_400 + self.seconds > LONGEST.total_seconds():
            raise ValueError(f"too long: at most 100 years, that is {LONGEST.days}d")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `90m`, `1d12h`, `2w` or `5bd`; a ValueError says what is wrong and how to write it."""
        if not text or not _SPELLING.fullmatch(text):
            raise ValueError(f"{text!r} is not a duration: {_advice(text)}")
        amounts = {unit: int(number) for number, unit in _PART.findall(text)}
        return cls(
            seconds=sum(amounts.get(unit, 0) * size for unit, size in _SECONDS.items()),
            days=sum(amounts.get(unit, 0) * size for unit, size in _DAYS.items()),
            business_days=amounts.get("bd", 0),
        )

    def __str__(self) -> str:
        if self.business_days:
            return f"{self.business_days}bd"
        minutes, seconds = divmod(self.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        parts = ((self.days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"))
        return "".join(f"{amount}{unit}" for amount, unit in parts if amount) or "0m"


def _advice(text: str) -> str:
    """How to write what was probably meant."""
    meant = text.strip().lower()
    if meant.isdecimal():
        return f"the unit is missing: write {meant}d, {meant}h or {meant}m"
    amounts = Counter[str]()
    for number, words in _LOOSE_PART.findall(meant):
        amounts[_UNIT_OF.get("".join(words.split()), "?")] += int(number)
    if _LOOSE_PART.sub("", meant) or not amounts or "?" in amounts:
        return "write whole numbers with units, the biggest first: 90m, 24h, 1d12h, 14d, 2w, or 5bd alone"
    if "bd" in amounts and len(amounts) > 1:
        return f"business days do not combine: write {amounts['bd']}bd alone, or none"
    return "write " + "".join(f"{amounts[unit]}{unit}" for unit in _UNIT_WORDS if unit in amounts)


# --- Holidays --------------------------------------------------------------------------------------------

# 5 U.S.C. 6103(a) as it stands since Juneteenth was added in 2021.
_FIXED = ((6, 19), (7, 4), (11, 11), (12, 25))
# The first such weekday on or after a date: the third Monday of January is the first one from the 15th.
_FLOATING = ((1, 15, MON), (2, 15, MON), (5, 25, MON), (9, 1, MON), (10, 8, MON), (11, 22, THU))


@lru_cache
def us_federal_holidays(year: int) -> frozenset[date]:
    """When federal holidays are observed in `year`: a Saturday's on Friday, a Sunday's on Monday."""
    # Next year's New Year's Day may be observed on the last day of this one.
    fixed = [date(year, *day) for day in _FIXED] + [date(year, 1, 1), date(year + 1, 1, 1)]
    floating = [_on_or_after(date(year, month, day), weekday) for month, day, weekday in _FLOATING]
    return frozenset(day for day in (*map(_observed, fixed), *floating) if day.year == year)


def _on_or_after(day: date, weekday: int) -> date:
    return day + timedelta(days=(weekday - day.weekday()) % 7)


def _observed(day: date) -> date:
    return day + timedelta(days={SAT: -1, SUN: 1}.get(day.weekday(), 0))


def no_holidays(year: int) -> frozenset[date]:
    """For those who work on every holiday."""
    return frozenset()


HOLIDAYS: dict[str, Callable[[int], frozenset[date]]] = {
    "us-federal": us_federal_holidays,
    "none": no_holidays,
}


# --- Business days ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Calendar:
    """A zone and its business days; `holidays` gives the days off of a year, `closed` names further ones.

    Two calendars with the same content are equal. Raises ValueError if no weekday is a workday.
    """

    zone: ZoneInfo = NEW_YORK
    workdays: frozenset[int] = WEEKDAYS
    holidays: Callable[[int], frozenset[date]] = us_federal_holidays
    closed: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        if not self.workdays or not self.workdays <= set(range(7)):
            raise ValueError("workdays: at least one, from 0 (Monday) to 6 (Sunday)")

    def is_workday(self, day: date) -> bool:
        """Whether business is done on `day`."""
        return (
            day.weekday() in self.workdays and day not in self.closed and day not in self.holidays(day.year)
        )

    def workday_from(self, day: date, step: timedelta = ONE_DAY) -> date:
        """The first business day at or after `day`; with a step of minus one day, at or before."""
        while not self.is_workday(day):
            day += step
        return day

    def add(self, t: datetime, duration: Duration) -> datetime:
        """`duration` after `t`: first its days, which keep the wall clock, then its exact seconds."""
        if duration.business_days:
            return self._move_business_days(t, duration.business_days)
        return self._move_days(t, duration.days) + timedelta(seconds=duration.seconds)

    def subtract(self, t: datetime, duration: Duration) -> datetime:
        """`duration` before `t`: seconds first, then days, so that `add` leads back but for moved clocks."""
        if duration.business_days:
            return self._move_business_days(t, -duration.business_days)
        return self._move_days(t - timedelta(seconds=duration.seconds), -duration.days)

    def _move_days(self, t: datetime, days: int) -> datetime:
        if not days:
            return t
        local = t.astimezone(self.zone)
        return wall(self.zone, local.date() + timedelta(days=days), local.time())

    def _move_business_days(self, t: datetime, count: int) -> datetime:
        """Time stands still on days off: any instant of theirs counts as 00:00 of the next business day."""
        local = t.astimezone(self.zone)
        day, clock = local.date(), local.time()
        if not self.is_workday(day):
            day, clock = self.workday_from(day), time.min
        step = ONE_DAY if count > 0 else -ONE_DAY
        for _ in range(abs(count)):
            day = self.workday_from(day + step, step)
        return wall(self.zone, day, clock)


KITS_LEAVE_AT = time(13)


def ship_cutoff(start: datetime, calendar: Calendar) -> datetime:
    """The first time after `start` at which kits leave: 13:00 in New York, Monday to Friday.

    The holidays and closed days are the calendar's. A kit ordered at 13:00 sharp leaves a business day later.
    """
    shipping = replace(calendar, workdays=WEEKDAYS)
    day = shipping.workday_from(start.astimezone(NEW_YORK).date())
    if wall(NEW_YORK, day, KITS_LEAVE_AT) <= start:
        day = shipping.workday_from(day + ONE_DAY)
    return wall(NEW_YORK, day, KITS_LEAVE_AT)


# --- Zones of states -------------------------------------------------------------------------------------

# Where clocks agree today one zone stands for all (49 CFR 71): New_York for Detroit, Denver for Boise.
_STATES = {
    "America/New_York": "CT DC DE FL GA IN KY MA MD ME MI NC NH NJ NY OH PA RI SC TN VA VT WV",
    "America/Chicago": "AL AR FL IA IL IN KS KY LA MI MN MO MS ND NE OK SD TN TX WI",
    "America/Denver": "AZ CO ID KS MT ND NE NM NV OR SD TX UT WY",  # AZ: the Navajo Nation keeps summer time
    "America/Phoenix": "AZ",
    "America/Los_Angeles": "CA ID NV OR WA",
    "America/Anchorage": "AK",
    "America/Adak": "AK",
    "Pacific/Honolulu": "HI",
}
_TERRITORIES = {
    "America/Puerto_Rico": "PR VI",
    "Pacific/Pago_Pago": "AS",
    "Pacific/Guam": "GU MP",
}

EVERY_US_ZONE: frozenset[str] = frozenset(_STATES)
"""Where a patient of an unknown state may be: Honolulu to New York, without the territories."""


@lru_cache(maxsize=256)
def zones_of_state(code: str) -> frozenset[str]:
    """The IANA zones in use in a US state or territory (`TX`); empty if there is none of that code."""
    places = (_STATES | _TERRITORIES).items()
    return frozenset(zone for zone, codes in places if code.upper() in codes.split())
