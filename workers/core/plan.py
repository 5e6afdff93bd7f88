"""The plan: what a policy means for one order. Policy and case in, plan out; no clock, database or network.

    due = yes(when) ∩ not(unless) ∩ guards ∩ not(exemptions, holds) ∩ settled ∩ not(kept) ∩ hours [∩ notice]

Everything is a set of instants, so the same computation says whether a rule fires, when it will, and why not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property

from workers.core.calendar import Duration
from workers.core.case import Case
from workers.core.guards import GUARDS, REFUND
from workers.core.instants import NEVER, Instants, Spans, all_of, any_of
from workers.core.order import PSC, WAITING, Appointment
from workers.core.policy import Act, Exemption, Mode, Policy, PscIf, Rule, Wish
from workers.core.status import Entry, Method


class Verdict(Enum):
    """What a rule says about an order at one instant."""

    DUE = "due"
    WAITS = "waits"  # will be due at a known instant
    UNCLEAR = "unclear"  # may be due; only a look can tell
    NO = "no"
    DECIDED = "decided"  # was due, and this very occasion has been decided
    BACKLOG = "backlog"  # was already due when the rule was switched to act
    NEVER_LEGAL = "never legal"  # would be due, but never within the hours or before the refund line


@dataclass(frozen=True, slots=True)
class Notice:
    """The platform wants to be told ahead: `send_at`, for an activation that would be due at `due_at`."""

    key: str
    rule: str
    send_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class RulePlan:
    """What one rule means for one order."""

    rule: Rule
    mode: Mode
    case: Case = field(repr=False)
    wanted: Instants  # due, but for the hours and the notice
    due: Instants
    verdict: Verdict
    first: datetime | None = None  # the first instant at or after now that is surely due
    maybe: datetime | None = None  # the same for possibly due
    expected: datetime | None = None  # `first`, or about what it will be once the platform has got its notice
    due_since: datetime | None = None  # when it became due, hours apart; only while it is due
    notice: Notice | None = None

    @property
    def key(self) -> str:
        """The activation: at most one decision each."""
        return activation_key(self.rule, self.case)

    @property
    def space(self) -> str:
        """Shadow decisions have a key space of their own."""
        return _space(self.mode)

    @property
    def acts(self) -> bool:
        return self.rule.then.action is not Act.KEEP


@dataclass(frozen=True)
class Plan:
    """What all rules mean for one order, and when to look at it next."""

    order_id: str
    now: datetime
    rules: tuple[RulePlan, ...]

    @cached_property
    def due(self) -> tuple[RulePlan, ...]:
        """Rules that fire now, the winner first: priority, then earlier due, then the file's order."""
        firing = [plan for plan in self.rules if plan.verdict is Verdict.DUE and plan.acts]
        return tuple(sorted(firing, key=lambda plan: (-plan.rule.priority, plan.due_since or self.now)))

    @property
    def winner(self) -> RulePlan | None:
        """The one that acts; shadow rules block nobody."""
        return next((plan for plan in self.due if plan.space == "live"), None)

    @property
    def shadows(self) -> tuple[RulePlan, ...]:
        return tuple(plan for plan in self.due if plan.space == "shadow")

    @property
    def unclear(self) -> tuple[RulePlan, ...]:
        """Rules that a fresh look might make due now."""
        return tuple(p for p in self.rules if p.verdict is Verdict.UNCLEAR and p.maybe == self.now and p.acts)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the platform should have been told by now."""
        found = (plan.notice for plan in self.rules if plan.notice is not None)
        return tuple(notice for notice in found if notice.send_at <= self.now)

    @cached_property
    def next_at(self) -> datetime | None:
        """The least instant at or after now at which a rule may be due or a notice is to be sent."""
        instants = [plan.maybe for plan in self.rules if plan.maybe is not None and plan.acts]
        instants += [max(plan.notice.send_at, self.now) for plan in self.rules if plan.notice is not None]
        return min(instants, default=None)

    @property
    def next_rule(self) -> RulePlan | None:
        """The rule that would act first, for lists and countdowns."""
        coming = [
            (plan.expected, -plan.rule.priority, index)
            for index, plan in enumerate(self.rules)
            if plan.expected is not None and plan.acts and plan.space == "live"
        ]
        return self.rules[min(coming)[-1]] if coming else None


def plan(policy: Policy, case: Case) -> Plan:
    """The plan at `case.now`. Rules of other methods and rules that are off have no part in it."""
    entry = case.order.entry if case.undone is None else None
    shared = _Shared(policy, case, entry)
    rules = tuple(_rule_plan(shared, rule, mode) for rule, mode in policy.live[case.order.method])
    return Plan(order_id=case.order.id, now=case.now, rules=rules)


def _rule_plan(shared: _Shared, rule: Rule, mode: Mode) -> RulePlan:
    policy, case, now = shared.policy, shared.case, shared.case.now
    would = all_of(_members(shared, rule))
    if would.maybe is NEVER and not case.decided:
        return RulePlan(rule, mode, case, would, would, Verdict.NO)
    key = activation_key(rule, case)
    wanted = would & _refundable(policy, rule, case)
    opens = wanted.yes.first(now)
    ahead = _told_ahead(rule, mode)
    due = wanted & Instants.known(hours(policy, rule, case)) & _noticed(ahead, case, key, opens)
    first = due.yes.first(now)
    maybe = first if due.certain else due.maybe.first(now)
    expected = opens if ahead and case.notices.get(key) is None else first
    notice = _notice(rule, ahead, case, key, opens)
    if f"{_space(mode)}:{key}" in case.decided:
        verdict, first, maybe, expected, notice = Verdict.DECIDED, None, None, None, None
    elif _backlog(rule, case, wanted):
        verdict, first, maybe, expected, notice = Verdict.BACKLOG, None, None, None, None
    elif first == now:
        verdict = Verdict.DUE
    elif maybe == now:
        verdict = Verdict.UNCLEAR
    elif expected or maybe:
        verdict = Verdict.WAITS
    else:
        verdict = Verdict.NEVER_LEGAL if would.yes.first(now) else Verdict.NO
    due_since = _due_since(rule, case, due) if verdict is Verdict.DUE else None
    return RulePlan(rule, mode, case, wanted, due, verdict, first, maybe, expected, due_since, notice)


def _space(mode: Mode) -> str:
    return "shadow" if mode is Mode.SHADOW else "live"


# --- the members of the intersection ---------------------------------------------------------------------


@dataclass
class _Shared:
    """What the rules of one plan have in common: worked out once, when the first of them asks."""

    policy: Policy
    case: Case
    entry: Entry | None  # the status; None: unknown, or conditions see another, a step of ours being undone
    _permits: dict[Wish, Instants] = field(default_factory=dict)

    def permits(self, wish: Wish) -> Instants:
        """When every hard guard permits it, apart from the refund line."""
        if wish not in self._permits:
            asked = (guard for guard in GUARDS[wish.action] if guard is not REFUND)
            self._permits[wish] = all_of(guard.permits(self.policy, wish, self.case) for guard in asked)
        return self._permits[wish]

    @cached_property
    def unspared(self) -> Instants:
        return ~any_of(exempts(exemption, self.case) for exemption in self.policy.exemptions)

    @cached_property
    def vetoes(self) -> tuple[tuple[int, Instants], ...]:
        """The priority of each `keep` rule, and when it holds. One that may hold protects, too; one in shadow
        only shows itself."""
        return tuple(
            (
                rule.priority,
                all_of(condition.instants(self.case) for condition in rule.when)
                & ~any_of(condition.instants(self.case) for condition in rule.unless),
            )
            for rule, mode in self.policy.live[self.case.order.method]
            if rule.then.action is Act.KEEP and mode is not Mode.SHADOW
        )


def _members(shared: _Shared, rule: Rule) -> Iterator[Instants]:
    """All but the refund line, the hours and the notice. Worked out one by one, as far as anybody asks."""
    policy, case = shared.policy, shared.case
    if shared.entry is not None and shared.entry.key not in rule.statuses:
        yield Instants.never()
    before = case.before_our_step()
    yield from (condition.instants(before) for condition in rule.when)
    yield from (~condition.instants(case) for condition in rule.unless)
    if rule.then.action is Act.KEEP:
        return
    if case.held:
        yield Instants.never()
    yield shared.permits(rule.wish)
    yield shared.unspared
    yield from (~veto for priority, veto in shared.vetoes if priority >= rule.priority)
    yield settled(policy, rule, case)
    yield psc_permits(policy, rule, case)


def _refundable(policy: Policy, rule: Rule, case: Case) -> Instants:
    guarded = REFUND in GUARDS[rule.then.action]
    return REFUND.permits(policy, rule.wish, case) if guarded else Instants.always()


def exempts(exemption: Exemption, case: Case) -> Instants:
    """When an exemption covers the order."""
    lasts = Instants.known(Spans.until(exemption.until)) if exemption.until else Instants.always()
    return all_of(condition.instants(case) for condition in exemption.if_) & lasts


def settled(policy: Policy, rule: Rule, case: Case) -> Instants:
    """Webhooks arrive unordered: wait a while after the newest event. Our own doing settles at once."""
    before = case.before_our_step().order.last
    if before is None:
        return Instants.always()
    return Instants.known(Spans.since(case.calendar.add(before.at, rule.settle or policy.time.settle)))


def hours(policy: Policy, rule: Rule, case: Case) -> Spans:
    """When the patient may be texted, which is what a cancellation does."""
    if rule.act_any_time or rule.then.action is Act.KEEP:
        return Spans.always()
    return policy.time.act_between.clock.window(case)


def psc_permits(policy: Policy, rule: Rule, case: Case) -> Instants:
    """`otherwise: hold`: while the slot is too near to be cancelled, or cannot be, wait until it is over."""
    choice = policy.psc_choice(rule)
    if (
        rule.then.action is not Act.CANCEL_ORDER
        or not isinstance(choice, PscIf)
        or choice.otherwise == "keep"
    ):
        return Instants.always()
    slot = case.appointment_or_none
    if case.order.method is not Method.WALK_IN or slot is None or slot.status not in WAITING:
        return Instants.always()
    if slot.start is None:
        return Instants.unknown()
    near = case.calendar.subtract(slot.start, choice.if_more_than) if slot.cancellable_provider else None
    over = slot.end or slot.start
    held = Spans.between(near, over) if near else Spans.until(over)
    return Instants.known(~held)


def _told_ahead(rule: Rule, mode: Mode) -> Duration | None:
    """How long ahead the platform is told. Of what a shadow rule would do nobody is told."""
    return None if mode is Mode.SHADOW or rule.then.action is Act.KEEP else rule.notice


def _noticed(ahead: Duration | None, case: Case, key: str, opens: datetime | None) -> Instants:
    if ahead is None:
        return Instants.always()
    if delivered := case.notices.get(key):
        return Instants.known(Spans.since(case.calendar.add(delivered, ahead)))
    if key not in case.notices and opens is None:
        return Instants.unknown()  # only a look can tell whether there is anything to give notice of
    return Instants.never()


def _notice(
    rule: Rule, ahead: Duration | None, case: Case, key: str, opens: datetime | None
) -> Notice | None:
    """The notice still to be sent: so long before the first due instant, or now if that is past."""
    if ahead is None or opens is None or key in case.notices:
        return None
    return Notice(key, rule.name, case.calendar.subtract(opens, ahead), opens)


def _due_since(rule: Rule, case: Case, due: Instants) -> datetime:
    """When this activation first became due. Being unable to act before a resume is not being late."""
    began = case.order.history.stay(_stay_names(rule, case))
    since = due.yes.first(began.at) if began else case.now
    floor = [since or case.now]
    floor += [t for t in (case.awake_since, case.live_since.get(rule.name)) if t is not None]
    return min(max(floor), case.now)


def _backlog(rule: Rule, case: Case, wanted: Instants) -> bool:
    """Due already at the moment the rule was switched to act, in the same activation."""
    live_since = case.live_since.get(rule.name)
    if live_since is None or rule.backlog == "include" or rule.then.action is Act.KEEP:
        return False
    began = case.order.history.stay(_stay_names(rule, case))
    return began is not None and began.at < live_since and live_since in wanted.yes


# --- activation and steps -----------------------------------------------------------------------------------


def activation_key(rule: Rule, case: Case) -> str:
    """(order, action, rule, the event that began the stay, or the appointment): one decision each, so that
    held, refused and declined decisions do not come back until something new happens."""
    action = rule.then.action
    if action in {Act.CANCEL_PSC, Act.CANCEL_HOME_VISIT}:
        slot = case.before_our_step().appointment_or_none
        occasion = f"appointment:{slot.id}" if slot else "none"
    else:
        stay = case.before_our_step().order.history.stay(_stay_names(rule, case))
        occasion = f"event:{stay.id}" if stay else "none"
    return f"{case.order.id}:{action}:{rule.name}:{occasion}"


def _stay_names(rule: Rule, case: Case) -> frozenset[str]:
    """The statuses whose unbroken stay the rule is about: those the condition names with the present one."""
    order = case.before_our_step().order
    current = order.last.status.name if order.last else ""
    for condition in rule.stays:
        if current in (names := condition.names(order.method)):
            return names
    return frozenset({current})


class Step(Enum):
    """One call to Junction, in the order in which they are made."""

    CANCEL_PSC = "cancel_psc_appointment"
    CANCEL_HOME_VISIT = "cancel_home_visit"
    CANCEL_ORDER = "cancel_order"


def steps(policy: Policy, rule: Rule, case: Case) -> tuple[Step, ...]:
    """What the rule does now: the slot first, then the order, since the state diagram allows cancelling from
    `appointment_cancelled` (FACTS, section 1). At-home visits go with their order at Junction."""
    match rule.then.action:
        case Act.KEEP:
            return ()
        case Act.CANCEL_PSC:
            return (Step.CANCEL_PSC,)
        case Act.CANCEL_HOME_VISIT:
            return (Step.CANCEL_HOME_VISIT,)
        case Act.CANCEL_ORDER:
            goes = _slot_goes(policy, rule, case)
            return (Step.CANCEL_PSC, Step.CANCEL_ORDER) if goes else (Step.CANCEL_ORDER,)


def _slot_goes(policy: Policy, rule: Rule, case: Case) -> bool:
    slot = case.appointment_or_none
    if case.order.method is not Method.WALK_IN or slot is None or not _can_go(slot, case.now):
        return False
    match policy.psc_choice(rule):
        case "never":
            return False
        case "always":
            return True
        case PscIf(if_more_than=distance):
            return slot.start is not None and case.now < case.calendar.subtract(slot.start, distance)


def _can_go(slot: Appointment, now: datetime) -> bool:
    waiting = slot.kind == PSC and slot.status in WAITING and slot.cancellable_provider
    return waiting and (slot.start is None or slot.start > now)


def effective_mode(plan: RulePlan, policy: Policy, case: Case, override: Mode | None = None) -> Mode:
    """min(policy, rule, override), and review for what is more overdue than `catch_up` (we were down)."""
    mode = min(plan.mode, override or plan.mode, key=lambda mode: mode.rank)
    overdue = case.now - (plan.due_since or case.now)
    patience = case.calendar.add(case.now, policy.time.catch_up) - case.now
    late = overdue > max(patience, timedelta(0))
    return min(mode, Mode.REVIEW, key=lambda mode: mode.rank) if late else mode
