"""Judges what a policy says: what is wrong although each value is right, and what is allowed but doubtful.

A finding carries a path of keys and indexes; policy_file.py knows where in the text that leads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

from workers.core.anchors import Anchor
from workers.core.calendar import EVERY_US_ZONE, Duration, zones_of_state
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
    OfAppointment,
    OfOrder,
    Patient,
    Remaining,
    Seen,
)
from workers.core.instants import Spans, daily_window
from workers.core.policy import Act, Include, Mode, Policy, Rule, Then, Time
from workers.core.status import Method, names_of
from workers.core.words import Zone

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to say about one place of a policy."""

    path: Path
    code: str
    message: str
    suggestion: str | None = None

    def below(self, *path: str | int) -> Finding:
        return replace(self, path=(*path, *self.path))


# --- mistakes: values that are right by themselves only --------------------------------------------------

Said = Mapping[str, Any]  # the keys of one mapping; what could not be read is missing

ORIGINS = ("initial", "redraw", "recreation")
METHOD_OF = {Act.CANCEL_PSC: Method.WALK_IN, Act.CANCEL_HOME_VISIT: Method.AT_HOME}


def wrong_with(cls: type, said: Said) -> Iterator[Finding]:
    """What is wrong in a mapping that is read into `cls`."""
    yield from CHECKS[cls](said) if cls in CHECKS else ()


def _empty_window(said: Said) -> Iterator[Finding]:
    match said:
        case {"at_least": Duration() as least, "at_most": Duration() as most} if _no_longer(most, least):
            yield Finding(("at_most",), "never-true", f"never true: at_most must be longer than {least}")


def _zone_of_many(said: Said) -> Iterator[Finding]:
    if said.get("zone") == Zone("patient"):
        yield Finding(("zone",), "wrong-value", "time.zone is one zone; patients live in several")


def _slot_without_order(said: Said) -> Iterator[Finding]:
    act = said.get("action", Act.CANCEL_ORDER)
    if act is not Act.CANCEL_ORDER and "psc_appointment" in said:
        yield Finding(("psc_appointment",), "no-effect", f"psc_appointment means nothing with {act}")


def _method_of_action(said: Said) -> Iterator[Finding]:
    match said:
        case {"methods": methods, "then": Then(action=act)} if METHOD_OF.get(act, methods[0]) not in methods:
            yield Finding(("then", "action"), "no-effect", f"{act} needs {METHOD_OF[act]} among the methods")


def _states(said: Said) -> Iterator[Finding]:
    for index, state in enumerate(map(str, said.get("state_in", ()))):
        known = bool(zones_of_state(state))
        if not known or not state.isupper():
            meant = state.upper() if known else None
            yield Finding(("state_in", index), "wrong-value", f"unknown state {state!r}", meant)


def _origins(said: Said) -> Iterator[Finding]:
    for index, origin in enumerate(map(str, said.get("origin", ()))):
        if origin not in ORIGINS:
            meant = " or ".join(ORIGINS)
            yield Finding(("origin", index), "wrong-value", f"unknown origin {origin!r}", meant)


CHECKS: dict[type, Callable[[Said], Iterator[Finding]]] = {
    Elapsed: _empty_window,
    Remaining: _empty_window,
    Time: _zone_of_many,
    Then: _slot_without_order,
    Rule: _method_of_action,
    Patient: _states,
    OfOrder: _origins,
}


# --- warnings: what a policy may say, and probably should not --------------------------------------------


@dataclass(frozen=True, slots=True)
class Tested:
    """Names of the rules that a test file sees acting, and of those that it sees not acting."""

    positive: frozenset[str]
    negative: frozenset[str]


def lint(policy: Policy, tested: Tested | None = None) -> tuple[Finding, ...]:
    """All warnings about a policy, rule by rule; those about tests only when it is known what is tested."""
    live = [(at, rule) for at, rule in enumerate(policy.rules) if policy.mode_of(rule) is not Mode.OFF]
    found = [
        finding.below("rules", at)
        for at, rule in live
        for look in RULE_LINTS
        for finding in look(policy, rule)
    ]
    found += _rivals(policy)
    found += _untested(policy, tested) if tested else ()
    return tuple(found)


def _unreachable(_policy: Policy, rule: Rule) -> Iterator[Finding]:
    for key, conditions in (("when", rule.when), ("unless", rule.unless)):
        for path, condition in _walk(conditions, (key,)):
            for at, name in _statuses(condition):
                without = [method for method in rule.methods if name not in names_of(method)]
                if without:
                    message = f"no order of {' or '.join(without)} is ever {name!r}"
                    yield Finding((*path, *at), "unreachable-status", message)


def _after_delivery(_policy: Policy, rule: Rule) -> Iterator[Finding]:
    """Registrable kits come back to these from the patient's hands."""
    late = {"registered", "testkit_registered", "requisition_created"}
    for path, condition in _asked(rule):
        if isinstance(condition, InStatus) and Method.TESTKIT in rule.methods:
            for at, name in _statuses(condition):
                if name in late:
                    message = f"a test kit is mostly {name!r} after its delivery, when it cannot be cancelled"
                    yield Finding((*path, *at), "after-delivery", message)


def _opted_in(_policy: Policy, rule: Rule) -> Iterator[Finding]:
    said = {
        Include.REGISTERED_KITS: "cancels kits that are in somebody's hands",
        Include.DRAWN: "cancels orders whose blood is drawn",
    }
    for index, include in enumerate(rule.include):
        if include in said:
            yield Finding(("include", index), "too-late", f"{include} {said[include]}")


def _short_walk_in(_policy: Policy, rule: Rule) -> Iterator[Finding]:
    """A patient service centre takes walk-ins without appointment or news, once there is a requisition."""
    if Method.WALK_IN not in rule.methods or any(_about_appointment(part) for _, part in _asked(rule)):
        return
    may_go = {"requisition_created", "requisition_bypassed", "appointment_cancelled"}
    for path, condition in _asked(rule):
        match condition:
            case InStatus(in_=names, for_=Duration() as stay) if (
                may_go & set(map(str, names)) and _days(stay) < 60
            ):
                message = "a patient may still walk in: wait 60d or more, or ask about the appointment"
                yield Finding((*path, "for"), "short-walk-in", message)


def _refund_lost(_policy: Policy, rule: Rule) -> Iterator[Finding]:
    if rule.refund == "ignore" and Method.AT_HOME in rule.methods:
        yield Finding(("refund",), "refund-ignored", "cancels home visits that are no longer refunded")


def _slot_taken(policy: Policy, rule: Rule) -> Iterator[Finding]:
    cancels = rule.then.action is Act.CANCEL_ORDER and Method.WALK_IN in rule.methods
    if cancels and policy.psc_choice(rule) == "always" and rule.notice is None:
        message = "takes PSC slots away without telling the platform before; add a notice"
        yield Finding(("then", "psc_appointment"), "no-notice", message)


def _stock(policy: Policy, rule: Rule) -> Iterator[Finding]:
    """Clinics bind a hundred kits to one stock user; all but one of them look like duplicates."""
    spared = [*rule.unless, *(part for exemption in policy.exemptions for part in exemption.if_)]
    inventory = any(
        isinstance(part, Labelled) and any("inventory" in label for label in part.any_of)
        for condition in spared
        for part in condition.walk()
    )
    if Method.TESTKIT in rule.methods and not inventory:
        for path, condition in _asked(rule):
            if isinstance(condition, Duplicate):
                message = "kits in stock look like duplicates; exempt a label such as inventory"
                yield Finding(path, "no-inventory-exemption", message)


def _idle_keep(policy: Policy, rule: Rule) -> Iterator[Finding]:
    if rule.then.action is Act.KEEP and policy.mode_of(rule) is Mode.SHADOW:
        yield Finding(
            ("then", "action"), "idle-keep", "a keep rule in shadow keeps nothing; say mode: enforce"
        )


def _never_open(policy: Policy, rule: Rule) -> Iterator[Finding]:
    if rule.act_any_time or rule.then.action is Act.KEEP:
        return
    for path, condition in _walk(rule.when, ("when",), into=AllOf):
        if isinstance(condition, DailyClock) and not _ever_together(policy, condition):
            message = "never open: outside time.act_between all year; see act_any_time"
            yield Finding(path, "never-true", message)


RULE_LINTS: tuple[Callable[[Policy, Rule], Iterator[Finding]], ...] = (
    _unreachable,
    _after_delivery,
    _opted_in,
    _short_walk_in,
    _refund_lost,
    _slot_taken,
    _stock,
    _idle_keep,
    _never_open,
)


def _rivals(policy: Policy) -> Iterator[Finding]:
    """Rules that may both be due, without a priority to tell which one acts."""
    acting = [
        (at, rule)
        for at, rule in enumerate(policy.rules)
        if policy.mode_of(rule) is Mode.ENFORCE and rule.then.action is not Act.KEEP
    ]
    for (_, first), (at, second) in combinations(acting, 2):
        if first.priority == second.priority and _may_overlap(first, second):
            message = f"may be due together with {first.name!r}, and neither has priority"
            yield Finding(("rules", at, "name"), "equal-priority", message)


def _untested(policy: Policy, tested: Tested) -> Iterator[Finding]:
    for at, rule in enumerate(policy.rules):
        if policy.mode_of(rule) is Mode.ENFORCE:
            for kind, names in (("acts", tested.positive), ("does not act", tested.negative)):
                if rule.name not in names:
                    yield Finding(("rules", at, "name"), "untested", f"no test in which {rule.name!r} {kind}")


# --- looking into conditions -----------------------------------------------------------------------------


def _walk(
    conditions: Iterable[Condition], path: Path, into: type | tuple[type, ...] = Condition
) -> Iterator[tuple[Path, Condition]]:
    """Conditions with their paths, and what is inside those of the types `into`."""
    for index, condition in enumerate(conditions):
        yield from _descend(condition, (*path, index), into)


def _descend(
    condition: Condition, path: Path, into: type | tuple[type, ...]
) -> Iterator[tuple[Path, Condition]]:
    here = (*path, condition.key)
    yield here, condition
    if isinstance(condition, Negated) and isinstance(condition, into):
        yield from _descend(condition.condition, here, into)
    elif isinstance(condition, into):
        yield from _walk(condition.parts(), here, into)


def _asked(rule: Rule) -> Iterator[tuple[Path, Condition]]:
    """What may have to hold for the rule to fire; nothing that is negated."""
    return _walk(rule.when, ("when",), into=(AllOf, AnyOf))


def _statuses(condition: Condition) -> Iterator[tuple[Path, str]]:
    match condition:
        case InStatus(in_=names):
            yield from ((("in", index), str(name)) for index, name in enumerate(names))
        case Seen(status=name):
            yield ("status",), str(name)


def _about_appointment(condition: Condition) -> bool:
    match condition:
        case OfAppointment():
            return True
        case Elapsed(since=Anchor(name)) | Remaining(until=Anchor(name)):
            return name.startswith("appointment.")
    return False


def _may_overlap(first: Rule, second: Rule) -> bool:
    """Whether one order may satisfy both, as far as statuses of order and appointment can tell."""
    return any(
        _meet(_names(first, method), _names(second, method)) and _meet(_visits(first), _visits(second))
        for method in set(first.methods) & set(second.methods)
    )


Values = frozenset[str] | None  # None: any


def _meet(first: Values, second: Values) -> bool:
    return first is None or second is None or bool(first & second)


def _names(rule: Rule, method: Method) -> Values:
    return _values(AllOf(rule.when), lambda part: part.names(method) if isinstance(part, InStatus) else None)


def _visits(rule: Rule) -> Values:
    def read(part: Condition) -> Values:
        return frozenset(map(str, part.is_)) if isinstance(part, OfAppointment) else None

    return _values(AllOf(rule.when), read)


def _values(condition: Condition, read: Callable[[Condition], Values]) -> Values:
    """The values that something can have while a condition holds; `read` tells what a simple one admits."""
    inside = [_values(part, read) for part in condition.parts()]
    match condition:
        case AllOf():
            return _all_of(inside)
        case AnyOf():
            return None if None in inside else frozenset[str]().union(*filter(None, inside))
    return read(condition)


def _all_of(inside: list[Values]) -> Values:
    known = [values for values in inside if values is not None]
    return frozenset.intersection(*known) if known else None


def _ever_together(policy: Policy, clock: DailyClock) -> bool:
    """Whether a clock condition and the acting hours are open at once, wherever the patient lives."""
    act, calendar = policy.time.act_between, policy.time.calendar()
    workday = calendar.is_workday if clock.days == "workdays" else (lambda _day: True)

    def open_in(patient: str) -> Spans:
        def zone(name: Zone | None) -> str:
            return str(policy.time.zone if name is None else patient if name.is_patient else name)

        hours = daily_window(act.from_.time, act.to.time, {zone(act.zone)})
        return hours & daily_window(clock.from_.time, clock.to.time, {zone(clock.zone)}, workday)

    any_year = datetime(2026, 1, 1, tzinfo=UTC)
    return any(open_in(patient).first(any_year) is not None for patient in EVERY_US_ZONE)


def _no_longer(one: Duration, other: Duration) -> bool:
    """Whether one duration is surely no longer than another; business days compare with each other only."""
    return bool(one.business_days) is bool(other.business_days) and _days(one) <= _days(other)


def _days(duration: Duration) -> float:
    """About how many days; five business days are seven."""
    return duration.business_days * 7 / 5 + duration.days + duration.seconds / 86_400
