"""A policy: what its file may say, as values. Reading the file is policy_file.py; what a policy means for an
order is plan.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from workers.core.calendar import HOLIDAYS, Calendar, Duration
from workers.core.conditions import Condition, DailyClock, InStatus
from workers.core.status import CATALOGUE, Entry, Method, Window
from workers.core.words import Clock, Zone


class Mode(StrEnum):
    """How far a rule may go. Each contains less danger than the next."""

    OFF = "off"
    SHADOW = "shadow"  # decisions are recorded, nothing is done
    REVIEW = "review"  # a person approves or declines each
    ENFORCE = "enforce"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {mode: rank for rank, mode in enumerate(Mode)}


def lowest(*modes: Mode) -> Mode:
    return min(modes, key=_RANKS.__getitem__)


class Act(StrEnum):
    """What a rule asks for."""

    CANCEL_ORDER = "cancel_order"
    CANCEL_PSC = "cancel_psc_appointment"
    CANCEL_HOME_VISIT = "cancel_home_visit"
    KEEP = "keep"


class Include(StrEnum):
    """Orders a rule leaves alone unless it names them."""

    REDRAWS = "redraws"
    SCHEDULED = "scheduled"
    REGISTERED_KITS = "registered_kits"
    DRAWN = "drawn"


@dataclass(frozen=True, slots=True)
class Percent:
    """A share, `3%`."""

    value: float

    pattern: ClassVar[str] = r"\d+(\.\d+)?%"
    example: ClassVar[str] = "3%"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError unless it is a number from 0 to 100 and a percent sign."""
        number = text.removesuffix("%")
        if number == text or not number.replace(".", "", 1).isdigit() or float(number) > 100:
            raise ValueError(f"{text!r} is not a share; write 3%")
        return cls(float(number))

    def __str__(self) -> str:
        return f"{self.value:g}%"


@dataclass(frozen=True)
class PscIf:
    """Cancel the slot only if it starts later than this, else keep it, or hold the whole decision."""

    if_more_than: Annotated[Duration, "how far ahead the slot must start to be cancelled"]
    otherwise: Annotated[Literal["keep", "hold"], "keep: leave the slot, cancel the order; hold: do neither"]


PscChoice = Literal["never", "always"] | PscIf


@dataclass(frozen=True)
class ActBetween:
    """Hours in which a patient may be texted."""

    from_: Annotated[Clock, "opens at"] = field(default_factory=lambda: Clock.parse("09:00"))
    to: Annotated[Clock, "closes at"] = field(default_factory=lambda: Clock.parse("20:00"))
    zone: Annotated[Zone, "whose clocks; `patient`: every zone of the patient's state"] = field(
        default_factory=lambda: Zone("patient")
    )

    @cached_property
    def clock(self) -> DailyClock:
        return DailyClock(from_=self.from_, to=self.to, zone=self.zone)


@dataclass(frozen=True)
class Time:
    """What days, hours and waiting mean."""

    zone: Annotated[Zone, "meaning of `d`, `w`, `bd` and of clocks without a zone"] = field(
        default_factory=lambda: Zone("America/New_York")
    )
    workdays: Annotated[
        tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], "the days that count for `bd`"
    ] = ("mon", "tue", "wed", "thu", "fri")
    holidays: Annotated[Literal["us-federal", "none"], "a table that comes with the program"] = "us-federal"
    closed: Annotated[tuple[date, ...], "further closed days"] = ()
    settle: Annotated[Duration, "wait after an order's newest event, since webhooks arrive unordered"] = (
        field(default_factory=lambda: Duration.parse("15m"))
    )
    act_between: Annotated[ActBetween, "when a patient may be texted about a cancellation"] = field(
        default_factory=ActBetween
    )
    catch_up: Annotated[Duration, "a decision more overdue than this goes to review"] = field(
        default_factory=lambda: Duration.parse("24h")
    )

    def calendar(self) -> Calendar:
        days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
        return Calendar(
            zone=self.zone.info,
            workdays=frozenset(days.index(day) for day in self.workdays),
            holidays=HOLIDAYS[self.holidays],
            closed=frozenset(self.closed),
        )


@dataclass(frozen=True)
class Limits:
    """How many orders may be acted on before everything stops for a person to look."""

    per_hour: Annotated[int, "orders in any 60 minutes"] = 25
    per_day: Annotated[int, "orders in any 24 hours"] = 150
    share_of_open: Annotated[Percent, "of the orders open at the start of the day, in any 24 hours"] = field(
        default_factory=lambda: Percent(3)
    )
    floor: Annotated[int, "the share is never tighter than this many orders"] = 10
    on_exceed: Annotated[Literal["trip"], "stop and alert until a person resumes"] = "trip"


@dataclass(frozen=True)
class RuleLimits:
    """Limits of one rule, inside those of the policy."""

    per_hour: Annotated[int | None, "orders in any 60 minutes"] = None
    per_day: Annotated[int | None, "orders in any 24 hours"] = None


@dataclass(frozen=True)
class Refund:
    """When a cancelled home visit is still refunded in full."""

    window: Annotated[Duration, "Junction refunds a visit cancelled more than this ahead"] = field(
        default_factory=lambda: Duration.parse("24h")
    )
    margin: Annotated[Duration, "our safety on top of it"] = field(
        default_factory=lambda: Duration.parse("30m")
    )


@dataclass(frozen=True)
class Exemption:
    """Orders that no rule touches."""

    name: Annotated[str, "its name"]
    reason: Annotated[str, "why; shown to operators"]
    if_: Annotated[tuple[Condition, ...], "all must hold; one that cannot be told protects too"]
    until: Annotated[datetime | None, "ends at this instant"] = None


@dataclass(frozen=True)
class Then:
    """What is done when a rule fires."""

    action: Annotated[Act, "what to do"]
    psc_appointment: Annotated[
        PscChoice | None, "what becomes of the PSC slot; the policy's choice when left out"
    ] = None


class Wish(NamedTuple):
    """All that the hard guards know of a rule: those who wish alike get one answer."""

    action: Act
    include: tuple[Include, ...]
    refund: Literal["required", "ignore"]

    def admits(self, entry: Entry) -> bool:
        """Whether the status is one in which the act may be done: FACTS, section 1, column P."""
        if self.action is not Act.CANCEL_ORDER:
            return True
        match entry.window:
            case Window.OPEN | Window.UNTIL_SHIPPED:  # whether it has shipped is another guard's question
                return True
            case Window.REGISTERED_KITS:
                return Include.REGISTERED_KITS in self.include
            case Window.DRAWN:
                return Include.DRAWN in self.include
            case Window.CLOSED:
                return False


@dataclass(frozen=True)
class Rule:
    """When which orders are cancelled."""

    name: Annotated[str, "identity for limits, statistics and history"]
    methods: Annotated[tuple[Method, ...], "the collection methods it applies to"]
    when: Annotated[tuple[Condition, ...], "all must surely hold"]
    then: Annotated[Then, "what is done"]
    renamed_from: Annotated[str | None, "the name it had; its history comes along"] = None
    describe: Annotated[str | None, "a sentence for operators"] = None
    mode: Annotated[Mode, "how far it may go"] = Mode.SHADOW
    priority: Annotated[int, "the larger wins"] = 0
    settle: Annotated[Duration | None, "instead of time.settle"] = None
    act_any_time: Annotated[bool, "do not wait for time.act_between"] = False
    refund: Annotated[Literal["required", "ignore"], "whether a home visit must still be refundable"] = (
        "required"
    )
    include: Annotated[tuple[Include, ...], "orders otherwise left alone"] = ()
    backlog: Annotated[Literal["skip", "include"], "orders already due when it is switched to act"] = "skip"
    notice: Annotated[
        Duration | None, "tell the platform this long ahead; no notice delivered, no cancellation"
    ] = None
    limits: Annotated[RuleLimits | None, "its own limits"] = None
    unless: Annotated[tuple[Condition, ...], "none may possibly hold"] = ()

    @cached_property
    def wish(self) -> Wish:
        return Wish(self.then.action, self.include, self.refund)

    @cached_property
    def statuses(self) -> frozenset[tuple[Method, str]]:
        """Those in which it may hold at all, so that it need not be looked at in any other."""
        return frozenset(
            key
            for key, entry in CATALOGUE.items()
            if self.wish.admits(entry) and all(condition.admits(entry) for condition in self.when)
        )

    @cached_property
    def stays(self) -> tuple[InStatus, ...]:
        """Its conditions about being in some status, however deep."""
        parts = (part for condition in self.when for part in condition.walk())
        return tuple(part for part in parts if isinstance(part, InStatus))


@dataclass(frozen=True)
class Policy:
    """One policy file."""

    version: Annotated[Literal[1], "of this language"]
    policy: Annotated[str, "its name"]
    environment: Annotated[Literal["sandbox", "production"], "must match the API key's, else nothing acts"]
    rules: Annotated[tuple[Rule, ...], "what to cancel"]
    mode: Annotated[Mode, "ceiling for every rule"] = Mode.ENFORCE
    time: Annotated[Time, "what days, hours and waiting mean"] = field(default_factory=Time)
    limits: Annotated[Limits, "all rules together"] = field(default_factory=Limits)
    home_visit_refund: Annotated[Refund, "the refund line of home visits"] = field(default_factory=Refund)
    psc_appointment: Annotated[PscChoice, "what becomes of the PSC slot of a cancelled order"] = "never"
    psc_cancel_reason: Annotated[str, "name of the reason told to the PSC"] = "Other"
    exemptions: Annotated[tuple[Exemption, ...], "beat every rule"] = ()

    def mode_of(self, rule: Rule) -> Mode:
        return lowest(self.mode, rule.mode)

    @cached_property
    def live(self) -> dict[Method | None, tuple[tuple[Rule, Mode], ...]]:
        """The rules that are not off, by method, with their modes; none for an order of no known method."""
        modes = [(rule, self.mode_of(rule)) for rule in self.rules]
        on = [(rule, mode) for rule, mode in modes if mode is not Mode.OFF]
        return {
            method: tuple((rule, mode) for rule, mode in on if method in rule.methods)
            for method in (*Method, None)
        }

    @cached_property
    def statuses(self) -> frozenset[tuple[Method, str]]:
        """Those in which a rule may act at all."""
        acting = (rule for rule in self.rules if rule.then.action is not Act.KEEP)
        return frozenset().union(*(rule.statuses for rule in acting))

    def psc_choice(self, rule: Rule) -> PscChoice:
        return rule.then.psc_appointment or self.psc_appointment

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)
