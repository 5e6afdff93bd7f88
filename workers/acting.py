"""Act: one step of a cancellation. Look, pass the gate, call, look again; every stage is a row before it is a
deed.

Twice is harmless: the row is leased, every change of it is compare-and-set, and whoever finds it `sending`
looks instead of calling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, RowMapping

from workers import duplicates
from workers import junction as answers
from workers.core import action as core
from workers.core import by_hand
from workers.core.action import Action, Confirm, End, Gate, LookAgain, State
from workers.core.case import Case
from workers.core.order import HOME_VISIT, PSC, Order
from workers.core.plan import Plan, Step, Verdict, plan, steps
from workers.core.trace import trace
from workers.looking import Looked, NotSeen, look, prepaid
from workers.messages import Act, EvaluateOrders
from workers.planning import News, merge_news, replan
from workers.reasons import NoSuchReason, NotTold
from workers.services import Active, Services
from workers.store import controls, decisions, ledger, orders, outbox
from workers.store.cases import gather
from workers.store.database import store_time, writing

log = structlog.get_logger(__name__)

FRESH = timedelta(seconds=10)  # a look older than this no longer opens the gate, nor lets the first byte out
UNTIMELY = timedelta(minutes=5)  # until the clocks are looked at again
DEATHS = 3  # handlers that died over one row before a person is asked


@dataclass(frozen=True, slots=True)
class Errand:
    """A leased row, and what is to be known before anything is asked of Junction."""

    action: Action
    rule: str | None
    others: tuple[str, ...] = ()  # orders to look at besides
    reason_name: str = ""  # for cancelling an appointment
    worn_out: bool = False  # handlers died over it


def act(services: Services, action_id: int) -> None:
    """Does what one ledger row wants next."""
    with writing(services.store) as connection:
        errand = _take(connection, services, action_id)
    if errand is None:
        return
    if errand.worn_out:
        _bury(services, errand.action)
        return
    and_calls = 1 if errand.action.step is Step.CANCEL_ORDER else 2  # the reason may have to be asked for
    paid = prepaid(services, 1 + len(errand.others), and_calls)
    if isinstance(paid, NotSeen):
        _wait(services, errand.action, paid)
        return
    services, asked = paid, services.monotonic()
    match look(services.junction, errand.action.order_id, errand.others):
        case Looked() as looked:
            _act_on(services, errand, looked, asked)
        case NotSeen() as blind:
            _wait(services, errand.action, blind)


def _take(connection: Connection, services: Services, action_id: int) -> Errand | None:
    now = store_time(connection)
    row = ledger.lease(connection, action_id, now, now + services.lease)
    if row is None:
        return None
    action = ledger.as_action(row)
    if row["attempts"] > DEATHS and action.state is State.PLANNED:
        return Errand(action, None, worn_out=True)
    decision, active = decisions.load(connection, action.decision), services.policy.read(connection)
    if decision is None or active is None:
        return Errand(action, None)
    errand = Errand(action, decision["rule"], reason_name=active.policy.psc_cancel_reason)
    if action.state is State.SENDING or not duplicates.matter(active.policy):
        return errand
    order = orders.load(connection, [action.order_id])[action.order_id].order
    made, case = _replanned(connection, services, active, action, order, decision["key"], now)
    mine = [rule for rule in made.rules if rule.key == decision["key"]]
    return replace(errand, others=duplicates.keepers(mine, case))


def _act_on(services: Services, errand: Errand, looked: Looked, asked: float) -> None:
    """With a fresh picture in hand: what does it mean, and may we call?"""
    action, call, following = errand.action, None, None
    reason = _reason(services, errand)
    with writing(services.store) as connection:
        pause = [controls.rule_control(errand.rule)] if errand.rule else []
        switches = controls.lock(connection, [controls.STOP, *pause])
        now = store_time(connection)
        merged = merge_news(connection, [News(order) for order in looked.orders], now)
        order = merged[action.order_id].order
        _note(connection, action, looked.exchanges, now)
        seen = replace(action, looks=action.looks + 1)
        match core.after_look(seen, order, now, services.patience):
            case Confirm() as proof:
                following = _confirm(connection, action, proof, now)
            case LookAgain(at=at):
                _tell_if_long(connection, services, action, now)
                ledger.move(connection, action, action.state, now, next_at=at, looks=seen.looks)
            case End(state=state, reason=why):
                _end(connection, action, state, why, now)
            case Gate():
                call = _gate(connection, services, action, order, looked, switches, reason, now)
        due = replan(connection, services, merged, now)
    if due:
        services.publish(EvaluateOrders(list(due)))
    if following is not None:
        services.publish(Act(following))
    if call is not None:
        _send(services, call, asked)


# --- the gate --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotYet:
    """Nothing speaks against it but the hour."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Call:
    """A row that has passed the gate, and the reason to give where one is asked for."""

    action: Action
    reason_id: str


Reason = str | NoSuchReason | NotTold


def _reason(services: Services, errand: Errand) -> Reason:
    """Asked for before the gate, so that nothing is on its way while Junction takes its time."""
    if errand.action.step is Step.CANCEL_ORDER:
        return ""
    kind = PSC if errand.action.step is Step.CANCEL_PSC else HOME_VISIT
    return services.reasons.find(services.junction, kind, errand.reason_name)


def _gate(
    connection: Connection,
    services: Services,
    action: Action,
    order: Order,
    looked: Looked,
    switches: dict[str, str],
    reason: Reason,
    now: datetime,
) -> Call | None:
    """The last decision before the call, under the locks that holds, stops and signals take too.

    Returns the row as `sending`, or None when it may not go; then the row says why.
    """
    if (why := looked.untimely(now, services.now())) is not None:
        log.error("no time can be trusted, so nothing is sent", action=action.id, why=why)
        ledger.move(connection, action, action.state, now, next_at=now + UNTIMELY, reason=why)
        return None
    match _objection(connection, services, action, order, looked, switches, now) or reason:
        case NotYet(at=at, why=why):
            ledger.move(connection, action, action.state, now, next_at=at, reason=why)
        case Objection(why=why):
            state = State.FAILED if action.posts else State.DROPPED
            _end(connection, action, state, why, now)
        case NoSuchReason(why=why):
            _end(connection, action, State.FAILED, why, now)
        case NotTold(exchange=exchange):
            _note(connection, action, (exchange,), now)
            later = now + services.patience.first_look
            ledger.move(connection, action, action.state, now, next_at=later, reason=exchange.outcome)
        case str() as reason_id:
            slot, last = core.slot_of(order, action.target), order.last
            sent = ledger.send(
                connection,
                action,
                now,
                now + FRESH,
                baseline=last.id if last else None,
                before=slot.status if slot else None,
            )
            sending = replace(action, state=State.SENDING, posts=action.posts + 1)
            return Call(sending, reason_id) if sent else None
    return None


@dataclass(frozen=True, slots=True)
class Objection:
    """Why the call must not be made after all."""

    why: str


def _objection(
    connection: Connection,
    services: Services,
    action: Action,
    order: Order,
    looked: Looked,
    switches: dict[str, str],
    now: datetime,
) -> Objection | NotYet | None:
    """What speaks against the call, or against making it now; None when nothing does."""
    decision = decisions.load(connection, action.decision, lock=True)
    if decision is None or decision["state"] != "acting":
        return Objection("the decision behind it is no longer being acted on")
    for name, why in switches.items():
        return Objection(f"{name} is on: {why}")
    active = services.policy.read(connection, lock=True)
    if active is not None and decision["trigger"] == by_hand.TRIGGER:
        return _objection_to_a_person(connection, services, active, decision, order, looked, now)
    if active is None or active.number != decision["generation"]:
        return Objection("the policy has changed since the decision")
    key = decision["key"]
    made, case = _replanned(connection, services, active, action, order, key, now, seen=looked.ids)
    found = next((each for each in made.rules if each.rule.name == decision["rule"]), None)
    if found is None:
        return Objection("the rule no longer speaks of this order")
    only_the_hour = found.verdict is Verdict.WAITS and found.key == key and now in found.wanted.yes
    if only_the_hour and found.first is not None:
        return NotYet(found.first, "waits for the hours in which patients may be texted")
    if found.verdict is not Verdict.DUE:
        told = next(each for each in trace(active.policy, case, made)["rules"] if each["key"] == found.key)
        return Objection(f"the rule no longer holds: {told['why']}")
    if found.key != key:
        return Objection("the rule holds for another reason than it did")
    todo = [(step, core.target_of(step, order)) for step in steps(active.policy, found.rule, case)]
    mine = ledger.of_decision(connection, action.decision)
    if todo != [(each.step, each.target) for each in mine if each.state in core.UNDER_WAY]:
        return Objection("what there is to cancel has changed since the decision")
    return None


def _objection_to_a_person(
    connection: Connection,
    services: Services,
    active: Active,
    decision: RowMapping,
    order: Order,
    looked: Looked,
    now: datetime,
) -> Objection | None:
    """No rule has to hold, so the policy may have changed; but every hard guard has to, surely."""
    around = services.surroundings(connection, active)
    case = gather(connection, [order], now, around, looked.ids)[order.id]
    fee_accepted = bool(decision["trace"][by_hand.FEE_ACCEPTED])
    against = next(by_hand.obstacles(active.policy, case, fee_accepted=fee_accepted), None)
    return Objection(against.why) if against else None


def _replanned(
    connection: Connection,
    services: Services,
    active: Active,
    action: Action,
    order: Order,
    key: str | None,
    now: datetime,
    seen: Iterable[str] | None = None,
) -> tuple[Plan, Case]:
    """The plan on the fresh order; our own earlier steps and the decision itself are left out."""
    around = services.surroundings(connection, active)
    fresh = None if seen is None else frozenset(seen)
    case = gather(connection, [order], now, around, fresh)[order.id]
    before = core.undone(order, ledger.of_decision(connection, action.decision))
    case = replace(
        case,
        undone=before if before != order else None,
        decided=case.decided - {f"live:{key}"},
    )
    return plan(active.policy, case), case


# --- the call --------------------------------------------------------------------------------------------


def _send(services: Services, call: Call, asked: float) -> None:
    action, deadline = call.action, asked + FRESH.total_seconds()
    answer = _call(services, call, lambda: services.monotonic() < deadline)
    log.info("called", action=action.id, order=action.order_id, call=answer.call, outcome=answer.outcome)
    with writing(services.store) as connection:
        now = store_time(connection)
        _note(connection, action, (answer,), now)
        _after_call(connection, services, action, answer, now)
    if not isinstance(answer, answers.NotSent | answers.Limited | answers.Postponed):
        act(services, action.id)  # no answer proves anything: look at once


def _call(services: Services, call: Call, before_send: Callable[[], bool]) -> answers.Act:
    junction, order_id = services.junction, call.action.order_id
    match call.action.step:
        case Step.CANCEL_ORDER:
            return junction.cancel_order(order_id, before_send=before_send)
        case Step.CANCEL_PSC:
            return junction.cancel_psc_appointment(order_id, call.reason_id, before_send=before_send)
        case Step.CANCEL_HOME_VISIT:
            return junction.cancel_home_visit(order_id, call.reason_id, before_send=before_send)


def _after_call(
    connection: Connection, services: Services, action: Action, answer: answers.Act, now: datetime
) -> None:
    """Only what surely was not applied goes back to where it was; all else is unknown until a look tells."""
    match answer:
        case answers.NotSent():
            _back(connection, action, now, services.patience.first_look.total_seconds(), answer.outcome)
        case answers.Limited(retry_after=wait) | answers.Postponed(retry_after=wait):
            _back(connection, action, now, wait, answer.outcome)
        case _:
            word = answer.outcome.partition(":")[0]
            ledger.move(
                connection, action, State.UNKNOWN, now, next_at=now, reason=answer.outcome, answer=word
            )


def _back(connection: Connection, action: Action, now: datetime, wait: float, why: str) -> None:
    state = State.PLANNED if action.posts == 1 else State.UNKNOWN
    at = now + timedelta(seconds=wait)
    ledger.move(connection, action, state, now, next_at=at, reason=why, posts=action.posts - 1)


# --- endings ---------------------------------------------------------------------------------------------


def _confirm(connection: Connection, action: Action, proof: Confirm, now: datetime) -> int | None:
    """Proven. Returns the next step, if there is one; else the decision is through."""
    by = "cancelled by us" if proof.ours else "was cancelled already, not by us"
    event = proof.event if proof.ours else None
    ledger.move(connection, action, State.CONFIRMED, now, next_at=None, event=event, reason=by)
    following = ledger.wake_next(connection, action.decision, now)
    if following is None and proof.visit_stands:
        _settle(connection, action, "partial", f"{by}, but the home visit still stands at Junction", now)
    elif following is None:
        _settle(connection, action, "confirmed", f"{by}; seen at Junction", now)
    return following


def _bury(services: Services, action: Action) -> None:
    with writing(services.store) as connection:
        orders.lock(connection, [action.order_id])
        _end(connection, action, State.FAILED, f"{DEATHS} workers died over it", store_time(connection))


def _end(connection: Connection, action: Action, state: State, reason: str, now: datetime) -> None:
    """It did not happen. Steps that were to follow are dropped; one of ours before it makes it partial."""
    ledger.move(connection, action, state, now, next_at=None, reason=reason)
    ledger.drop_planned(connection, action.decision, reason, now)
    steps_taken = ledger.of_decision(connection, action.decision)
    done = any(step.state is State.CONFIRMED and step.ours for step in steps_taken)
    _settle(connection, action, "partial" if done else state.value, reason, now)
    if state is State.DROPPED and not done:
        decisions.free_key(connection, action.decision)
    orders.wake_others(
        connection, [action.order_id], [action.order_id], now
    )  # one may have counted on its end


TOLD = frozenset({"confirmed", "partial", "refused", "failed"})


def _settle(connection: Connection, action: Action, outcome: str, reason: str, now: datetime) -> None:
    """What became of the decision; the platform is told, unless nothing was done."""
    decisions.settle(connection, action.decision, outcome, reason, now)
    if outcome in TOLD:
        _tell(connection, action, outcome, f"decision:{action.decision}:{outcome}", reason, now)


def _tell_if_long(connection: Connection, services: Services, action: Action, now: datetime) -> None:
    """A call that nothing proves for so long is told to people, once."""
    if core.unconfirmed(action, now, services.patience):
        log.error(
            "a cancel is unconfirmed", action=action.id, order=action.order_id, since=str(action.sent_at)
        )
        key = f"action:{action.id}:unconfirmed:{action.posts}"
        _tell(connection, action, "unconfirmed", key, "nothing at Junction shows it yet", now)


def _tell(connection: Connection, action: Action, word: str, key: str, reason: str, now: datetime) -> None:
    body = {
        "order_id": action.order_id,
        "decision": action.decision,
        "step": action.step.value,
        "outcome": word,
        "reason": reason,
    }
    outbox.notify(connection, key, f"autocancel.{word}", action.order_id, body, now)


def _wait(services: Services, action: Action, blind: NotSeen) -> None:
    with writing(services.store) as connection:
        now = store_time(connection)
        _note(connection, action, blind.exchanges, now)
        _tell_if_long(connection, services, action, now)
        at = now + timedelta(seconds=blind.retry_after)
        ledger.move(connection, action, action.state, now, next_at=at, reason=blind.why)


def _note(
    connection: Connection, action: Action, exchanges: tuple[answers.Exchange, ...], now: datetime
) -> None:
    for exchange in exchanges:
        ledger.note_attempt(
            connection,
            action.id,
            now,
            exchange.call,
            exchange.outcome,
            http_status=exchange.http_status,
            latency_ms=exchange.latency_ms,
        )
