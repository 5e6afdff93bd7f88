"""Tests of a policy, in YAML: a timeline in, the exact first instants out.

The plan of the engine is asked as the engine asks it, in a world that answers at once: what is due happens, a
notice arrives when it is sent, and an order that is cancelled has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from itertools import zip_longest
from typing import Annotated, Literal

from workers.core.calendar import zones_of_state
from workers.core.case import Case, Scope, Sibling, Signal
from workers.core.history import Event, History
from workers.core.order import CANCELLABLE_PROVIDERS, HOME_VISIT, PSC, Appointment, Facts, Order
from workers.core.plan import Plan, RulePlan, Step, effective_mode, plan, steps
from workers.core.policy import Act, Mode, Policy
from workers.core.status import APPOINTMENT_KIND, Method, Status, entry
from workers.core.trace import render_text, trace
from workers.core.words import Word, Zone
from workers.policy_file import Mistakes, locate, parse, suggestion
from workers.policy_lint import Finding, Tested

# --- what a test file may hold ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Slot:
    """The appointment as it is from now on."""

    status: Annotated[
        Literal["pending", "reserved", "confirmed", "in_progress", "completed", "cancelled"], "its status"
    ]
    kind: Annotated[Literal["psc", "home_visit"] | None, "that of the order's method when left out"] = None
    start: Annotated[datetime | None, "when it begins"] = None
    end: Annotated[datetime | None, "when it ends"] = None
    zone: Annotated[Zone | None, "the zone it was booked in"] = None
    provider: Annotated[Word | None, "one whose slots the API can cancel when left out"] = None


@dataclass(frozen=True)
class Moment:
    """One thing that happens to an order."""

    at: Annotated[datetime, "when"]
    status: Annotated[Word | None, "the order's low-level status, known or not"] = None
    appointment: Annotated[Slot | None, "news of its appointment"] = None
    signal: Annotated[str | None, "a signal of the platform"] = None
    label: Annotated[str | None, "a label is set"] = None
    hold: Annotated[bool | None, "an operator holds the order, or lets it go"] = None
    on: Annotated[Literal["order", "user"], "what a signal or label is on"] = "order"
    retract: Annotated[bool, "the signal or label is taken back"] = False


@dataclass(frozen=True)
class OtherOrder:
    """Another open order of the same user, by the same method."""

    created: Annotated[datetime, "when it was placed"]
    status: Annotated[Word, "its low-level status"]
    lab_test: Annotated[Word | None, "id of its test; the same test when left out"] = None


@dataclass(frozen=True)
class GivenOrder:
    """The order that things happen to."""

    method: Annotated[Method, "the collection method"]
    created: Annotated[datetime, "when it was placed"]
    state: Annotated[Word | None, "of the patient, two letters; unknown when left out"] = None
    age: Annotated[int | None, "of the patient on that day; unknown when left out"] = None
    medical_proxy: Annotated[bool | None, "whether it names one; unknown when left out"] = None
    origin: Annotated[Literal["initial", "redraw", "recreation"] | None, "where it comes from"] = None
    lab_test: Annotated[Word, "id of the test"] = field(default_factory=lambda: Word("a-test"))
    passthrough: Annotated[str | None, "what the platform wrote on it"] = None
    activate_by: Annotated[date | None, "the day it is scheduled for"] = None
    outbound_tracking: Annotated[bool, "whether it has a tracking number"] = False
    order_labels: Annotated[tuple[str, ...], "labels on the order from the beginning"] = ()
    user_labels: Annotated[tuple[str, ...], "labels on its user from the beginning"] = ()
    others: Annotated[tuple[OtherOrder, ...], "the user's other open orders"] = ()


@dataclass(frozen=True)
class Happening:
    """What a rule does at one instant: it tells the platform, or it acts."""

    at: Annotated[datetime, "exactly when"]
    do: Annotated[Act | None, "what is done"] = None
    by: Annotated[str | None, "the rule that does it"] = None
    mode: Annotated[Mode, "how far it goes"] = Mode.ENFORCE
    notice: Annotated[str | None, "the rule that the platform is told of"] = None

    @property
    def rule(self) -> str:
        return self.by or self.notice or ""


@dataclass(frozen=True)
class Scenario:
    """One test: an order, what happens to it, and all that the policy makes of it."""

    name: Annotated[str, "what is tested, as a sentence"]
    order: Annotated[GivenOrder, "the order"]
    timeline: Annotated[tuple[Moment, ...], "what happens to it"]
    expect: Annotated[Literal["never"] | tuple[Happening, ...], "all it comes to, or never"]


@dataclass(frozen=True)
class TestFile:
    """Tests of one policy."""

    tests: Annotated[tuple[Scenario, ...], "the tests"]
    policy_file: Annotated[str | None, "the policy they are about, for people"] = None


# --- running one -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test went. `failure`: what was expected, what happened instead, the rule's tree just then."""

    name: str
    failure: str | None
    acted: frozenset[str]  # the rules that did something
    spared: frozenset[str]  # the rules of the method that did nothing

    @property
    def passed(self) -> bool:
        return self.failure is None


def run_tests(text: str, source: str, policy: Policy) -> list[Outcome] | Mistakes:
    """Run every test of a file against `policy`; Mistakes when the file cannot be read."""
    file = parse(TestFile, text, source)
    if isinstance(file, Mistakes):
        return file
    if wrong := list(_wrong_with(file, policy)):
        return Mistakes(source, locate(text, wrong))
    return [_run(scenario, policy) for scenario in file.tests]


def coverage(outcomes: list[Outcome]) -> Tested:
    """Which rules passing tests have seen acting, and which not acting."""
    passed = [outcome for outcome in outcomes if outcome.passed]
    return Tested(
        positive=frozenset().union(*(outcome.acted for outcome in passed)),
        negative=frozenset().union(*(outcome.spared for outcome in passed)),
    )


def _run(scenario: Scenario, policy: Policy) -> Outcome:
    world = _World(scenario, policy)
    world.run()
    acted = frozenset(happening.by for happening in world.happened if happening.by)
    rules = frozenset(rule.name for rule in policy.rules if scenario.order.method in rule.methods)
    return Outcome(scenario.name, _failure(scenario, policy, world.happened), acted, rules - acted)


def _failure(scenario: Scenario, policy: Policy, happened: list[Happening]) -> str | None:
    """The first difference: what comes after one mostly follows from it."""
    wanted = () if scenario.expect == "never" else scenario.expect
    for want, got in zip_longest(wanted, happened):
        if want != got:
            first = want or got
            assert first is not None
            return "\n".join([*_differences(want, got), _explained(scenario, policy, first)])
    return None


def _differences(want: Happening | None, got: Happening | None) -> Iterator[str]:
    for name in (part.name for part in fields(Happening)):
        wanted, found = (_shown(getattr(it, name, None)) for it in (want, got))
        if wanted != found and not (name == "mode" and None in {want, got}):
            yield f"{name:6}  expected {wanted:28}  actual {found}"


def _explained(scenario: Scenario, policy: Policy, first: Happening) -> str:
    world = _World(scenario, policy)
    world.run(until=first.at)
    case = world.case(first.at)
    traced = trace(policy, case, plan(policy, case))
    for key in ("rules", "left_out"):
        traced[key] = [rule for rule in traced[key] if rule["rule"] == first.rule]
    return render_text(traced, policy.time.zone.info, full=True)


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return "-" if value is None else str(value)


def _wrong_with(file: TestFile, policy: Policy) -> Iterator[Finding]:
    rules = [rule.name for rule in policy.rules]
    for index, scenario in enumerate(file.tests):
        state = scenario.order.state
        if state is not None and not zones_of_state(str(state)):
            yield Finding(("tests", index, "order", "state"), "wrong-value", f"unknown state {str(state)!r}")
        for place, moment in enumerate(scenario.timeline):
            if wrong := _wrong_moment(moment):
                yield Finding(("tests", index, "timeline", place), "one-thing", wrong)
        for place, happening in enumerate(() if scenario.expect == "never" else scenario.expect):
            path = ("tests", index, "expect", place)
            if (happening.notice is None) == (happening.do is None or happening.by is None):
                yield Finding(path, "one-thing", "expected either notice, or do and by")
            for key in ("by", "notice"):
                name = getattr(happening, key)
                if name is not None and name not in rules:
                    yield Finding((*path, key), "unknown-rule", f"no rule {name!r}", suggestion(name, rules))


def _wrong_moment(moment: Moment) -> str | None:
    happens = (moment.status or moment.appointment, moment.signal, moment.label, moment.hold)
    if sum(it is not None for it in happens) != 1:
        return "expected exactly one of status (or appointment), signal, label and hold"
    if (moment.retract or moment.on != "order") and moment.signal is None and moment.label is None:
        return "`on` and `retract` are about a signal or a label"
    return None


# --- the world of one test -------------------------------------------------------------------------------

ORDER, TEAM = "under-test", "team"


class _World:
    """An order as it stands at any instant, and what our own acts have made of it."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        self.happened: list[Happening] = []
        self._given = scenario.order
        self._timeline = sorted(scenario.timeline, key=lambda moment: moment.at)
        self._policy = policy
        self._calendar = policy.time.calendar()
        self._ours: list[Moment] = []
        self._decided: set[str] = set()
        self._notices: dict[str, datetime | None] = {}

    def run(self, until: datetime | None = None) -> None:
        """Let everything happen; with `until`, everything before it."""
        now: datetime | None = self._timeline[0].at
        while now is not None and (until is None or now < until):
            case = self.case(now)
            found = plan(self._policy, case)
            if not self._tell(found) and not self._act(found, case):
                now = self._next(found)

    def case(self, now: datetime) -> Case:
        """What is known at `now`."""
        every = enumerate([*self._timeline, *self._ours])
        so_far = sorted(
            ((moment.at, number, moment) for number, moment in every if self._is_past(moment, now)),
            key=lambda found: found[:2],
        )
        moments = [moment for _, _, moment in so_far]
        history = History.of(
            Event(number, at, self._status(moment.status)) for at, number, moment in so_far if moment.status
        )
        held = [moment.hold for moment in moments if moment.hold is not None]
        return Case(
            order=Order(ORDER, self._facts(history), history, self._slots(moments)),
            now=now,
            calendar=self._calendar,
            environment=self._policy.environment,
            team_id=TEAM,
            signals=_signals(moments),
            labels=_labels(self._given, moments),
            siblings=tuple(self._siblings(now)),
            held=bool(held and held[-1]),
            own_events=frozenset(range(len(self._timeline), len(self._timeline) + len(self._ours))),
            cancel_confirmed=self._cancelled_at is not None,
            decided=frozenset(self._decided),
            notices=self._notices,
        )

    @property
    def _cancelled_at(self) -> datetime | None:
        return next((moment.at for moment in self._ours if str(moment.status) == "cancelled"), None)

    def _is_past(self, moment: Moment, now: datetime) -> bool:
        """Whether it has happened by `now`. To an order that we have cancelled Junction does nothing more."""
        by_junction = moment.status is not None or moment.appointment is not None
        end = self._cancelled_at
        return moment.at <= now and not (by_junction and end is not None and moment.at > end)

    # --- what happens

    def _tell(self, found: Plan) -> bool:
        told = [rule for rule in found.rules if rule.notice and rule.notice.send_at <= found.now]
        for rule in told:
            self.happened.append(Happening(at=found.now, notice=rule.rule.name))
            self._notices[rule.key] = found.now
        return bool(told)

    def _act(self, found: Plan, case: Case) -> bool:
        firing = [*([found.winner] if found.winner else []), *found.shadows]
        for rule in firing:
            mode = effective_mode(rule, self._policy, case)
            action = rule.rule.then.action
            self.happened.append(Happening(at=found.now, do=action, by=rule.rule.name, mode=mode))
            self._decided.add(f"{rule.space}:{rule.key}")
            if mode is Mode.ENFORCE:
                self._carry_out(rule, case)
        return bool(firing)

    def _carry_out(self, rule: RulePlan, case: Case) -> None:
        slot = Slot("cancelled") if case.appointment_or_none else None
        for step in steps(self._policy, rule.rule, case):
            if step is Step.CANCEL_ORDER:
                goes_along = slot if self._given.method is Method.AT_HOME else None
                self._ours.append(Moment(case.now, status=Word("cancelled"), appointment=goes_along))
            else:
                status = Word("appointment_cancelled") if case.order.open else None
                self._ours.append(Moment(case.now, status=status, appointment=slot))

    def _next(self, found: Plan) -> datetime | None:
        """The next instant at which anything may change; what is unclear now stays so until then."""
        instants = [rule.first for rule in found.rules if rule.first is not None]
        instants += [rule.notice.send_at for rule in found.rules if rule.notice is not None]
        instants += [moment.at for moment in self._timeline]
        return min((at for at in instants if at > found.now), default=None)

    # --- what is known

    def _status(self, name: Word) -> Status:
        known = entry(self._given.method, str(name))
        return Status(f"{known.levels[0] if known else 'unknown'}.{self._given.method}.{name}")

    def _facts(self, history: History) -> Facts:
        given = self._given
        seen = history.last.at if history.last else given.created
        return Facts(
            updated_at=seen,
            observed_at=seen,
            methods=frozenset({given.method.value}),
            team_id=TEAM,
            user_id="user",
            created_at=given.created,
            activate_by=given.activate_by,
            origin=given.origin,
            lab_test_id=str(given.lab_test),
            outbound_tracking=given.outbound_tracking,
            zones=tuple(sorted(zones_of_state(str(given.state)))) if given.state else (),
            birth_date=self._birthday(),
            state=str(given.state) if given.state else None,
            has_medical_proxy=given.medical_proxy,
            passthrough=given.passthrough,
        )

    def _birthday(self) -> date | None:
        """As many years ago as the patient is old; not on a 29th, which few years have."""
        if self._given.age is None:
            return None
        placed = self._given.created.astimezone(self._calendar.zone).date()
        return placed.replace(year=placed.year - self._given.age, day=min(placed.day, 28))

    def _slots(self, moments: list[Moment]) -> tuple[Appointment, ...]:
        slots: list[Appointment] = []
        for moment in moments:
            if moment.appointment is not None:
                self._book(slots, moment.at, moment.appointment)
            elif slots and str(moment.status) == "appointment_cancelled":
                slots[-1] = replace(
                    slots[-1], status="cancelled", changed_at=moment.at, observed_at=moment.at
                )
        return tuple(slots)

    def _book(self, slots: list[Appointment], at: datetime, news: Slot) -> None:
        """News of the slot there is; after a cancelled one, any other news is of a new slot."""
        known = (
            slots.pop() if slots and (slots[-1].status != "cancelled" or news.status == "cancelled") else None
        )
        kinds = {"psc": PSC, "home_visit": HOME_VISIT, None: APPOINTMENT_KIND.get(self._given.method, "")}
        kind = kinds[news.kind]
        usual = min(CANCELLABLE_PROVIDERS.get(kind, {""}))
        slots.append(
            Appointment(
                id=known.id if known else f"appointment-{len(slots) + 1}",
                order_id=ORDER,
                kind=kind,
                provider=str(news.provider or (known.provider if known else usual)),
                status=news.status,
                start=news.start or (known.start if known else None),
                end=news.end or (known.end if known else None),
                zone=str(news.zone) if news.zone else None,
                booked_at=known.booked_at if known else at,
                changed_at=at,
                observed_at=at,
            )
        )

    def _siblings(self, now: datetime) -> Iterator[Sibling]:
        for number, other in enumerate(self._given.others):
            if other.created <= now:
                known = entry(self._given.method, str(other.status))
                test = str(other.lab_test or self._given.lab_test)
                yield Sibling(f"other-{number}", test, other.created, known.progress if known else None)


def _signals(moments: list[Moment]) -> tuple[Signal, ...]:
    standing: dict[tuple[str, Scope], Signal] = {}
    for moment in moments:
        if moment.signal is not None:
            key = (moment.signal, moment.on)
            if moment.retract:
                standing.pop(key, None)
            else:
                standing.setdefault(key, Signal(moment.signal, moment.on, moment.at))
    return tuple(standing.values())


def _labels(given: GivenOrder, moments: list[Moment]) -> frozenset[tuple[Scope, str]]:
    carried: set[tuple[Scope, str]] = {("order", label) for label in given.order_labels}
    carried |= {("user", label) for label in given.user_labels}
    for moment in moments:
        if moment.label is not None and moment.retract:
            carried.discard((moment.on, moment.label))
        elif moment.label is not None:
            carried.add((moment.on, moment.label))
    return frozenset(carried)
