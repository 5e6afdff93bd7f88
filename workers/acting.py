"""Act: one step of a cancellation. Look, pass the gate, call, look again; every stage is a row before it is a
deed.

Twice is harmless: the row is leased, every change of it is compare-and-set, and whoever finds it `sending`
looks instead of calling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from workers import junction as answers
from workers.core import action as core
from workers.core.action import Action, Confirm, End, Gate, LookAgain, State
from workers.core.order import HOME_VISIT, PSC, Order
from workers.core.plan import RulePlan, Step, Verdict, plan
from workers.limiting import rule_limit
from workers.looking import Looked, NotSeen, look
from workers.messages import Act, EvaluateOrders
from workers.planning import News, as_merged, merge_news, replan
from workers.services import Active, Services
from workers.store import controls, decisions, ledger, orders
from workers.store.cases import gather
from workers.store.database import store_time, writing

log = structlog.get_logger(__name__)

FRESH = timedelta(seconds=10)  # a look older than this no longer opens the gate
SEND_WITHIN = timedelta(seconds=20)  # from passing the gate to the first byte
UNTIMELY = timedelta(minutes=5)  # until the clocks are looked at again
DEATHS = 3  # handlers that died over one row before a person is asked


def act(services: Services, action_id: int) -> None:
    """Does what one ledger row wants next."""
    with writing(services.store) as connection:
        now = store_time(connection)
        row = ledger.lease(connection, action_id, now, now + services.lease)
        if row is None:
            return
        action = ledger.as_action(row)
        if row["attempts"] > DEATHS and action.state is State.PLANNED:
            _end(connection, action, State.FAILED, f"{DEATHS} workers died over it", now)
            return
    asked = services.monotonic()
    match look(services.junction, action.order_id):
        case Looked() as looked:
            _act_on(services, action, looked, asked)
        case NotSeen() as blind:
            _wait(services, action, blind)


def _act_on(services: Services, action: Action, looked: Looked, asked: float) -> None:
    """With a fresh picture in hand: what does it mean, and may we call?"""
    call: Call | None = None
    following: int | None = None
    with writing(services.store) as connection:
        now = store_time(connection)
        merged = merge_news(connection, [News(looked.order)], now)[action.order_id]
        _note(connection, action, looked.exchanges, now)
        seen = replace(action, looks=action.looks + 1)
        match core.after_look(seen, merged.order, now, services.patience):
            case Confirm() as proof:
                following = _confirm(connection, action, proof, now)
            case LookAgain(at=at):
                ledger.move(connection, action, action.state, now, next_at=at, looks=seen.looks)
            case End(state=state, reason=reason):
                _end(connection, action, state, reason, now)
            case Gate():
                call = _gate(connection, services, action, merged.order, looked, now)
        stored = orders.load(connection, [action.order_id])[action.order_id]
        due = replan(connection, services, {action.order_id: as_merged(stored)}, now)
    if due:
        services.publish(EvaluateOrders(list(due)))
    if following is not None:
        services.publish(Act(following))
    if call is not None:
        _send(services, call, asked)


# --- the gate --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotYet:
    """The rule holds, but not at this hour."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Call:
    """A row that has passed the gate, and what the call needs besides."""

    action: Action
    psc_reason: str


def _gate(
    connection: Connection, services: Services, action: Action, order: Order, looked: Looked, now: datetime
) -> Call | None:
    """The last decision before the call, under the locks that holds, stops and signals take too.

    Returns the row as `sending`, or None when it may not go; then the row says why.
    """
    if (why := looked.untimely(now)) is not None:
        ledger.move(connection, action, action.state, now, next_at=now + UNTIMELY, reason=why)
        return None
    active = services.policy.read(connection)
    match _objection(connection, services, active, action, order, now):
        case NotYet(at=at, why=why):
            ledger.move(connection, action, action.state, now, next_at=at, reason=why)
            return None
        case str() as objection:
            _end(connection, action, State.FAILED if action.posts else State.DROPPED, objection, now)
            return None
    assert active is not None
    slot, last = core.slot_of(order, action.target), order.last
    sent = ledger.send(
        connection,
        action,
        now,
        now + SEND_WITHIN,
        baseline=last.id if last else None,
        before=slot.status if slot else None,
    )
    sending = replace(action, state=State.SENDING, posts=action.posts + 1)
    return Call(sending, active.policy.psc_cancel_reason) if sent else None


def _objection(
    connection: Connection,
    services: Services,
    active: Active | None,
    action: Action,
    order: Order,
    now: datetime,
) -> str | NotYet | None:
    """Why the call must not be made after all, or not yet; None when nothing speaks against it."""
    decision = decisions.load(connection, action.decision, lock=True)
    if decision is None or decision["state"] != "acting":
        return "the decision behind it is no longer being acted on"
    rule = decision["rule"]
    switches = [controls.STOP, controls.LIMITS, controls.rule_control(rule), rule_limit(rule)]
    for name, reason in controls.raised(connection, switches, lock=True).items():
        return f"{name} is on: {reason}"
    if active is None or active.number != decision["generation"]:
        return "the policy has changed since the decision"
    found = _replanned(connection, services, active, action, order, decision["key"], now)
    if found is None:
        return "the rule no longer speaks of this order"
    if found.verdict is Verdict.WAITS and found.first is not None and now in found.wanted.yes:
        return NotYet(found.first, "waits for the hours in which patients may be texted")
    if found.verdict is not Verdict.DUE:
        return f"the rule no longer holds: {found.verdict.value}"
    return None


def _replanned(
    connection: Connection,
    services: Services,
    active: Active,
    action: Action,
    order: Order,
    key: str,
    now: datetime,
) -> RulePlan | None:
    """The rule on the fresh order; our own earlier steps and the decision itself are left out."""
    case = gather(connection, [order], now, services.surroundings(connection, active))[order.id]
    mine = ledger.of_decision(connection, action.decision)
    before = core.undone(order, mine)
    case = replace(
        case,
        undone=before if before != order else None,
        decided=case.decided - {f"live:{key}"},
    )
    return next((rule for rule in plan(active.policy, case).rules if rule.key == key), None)


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
    junction, order_id, step = services.junction, call.action.order_id, call.action.step
    if step is Step.CANCEL_ORDER:
        return junction.cancel_order(order_id, before_send=before_send)
    kind = PSC if step is Step.CANCEL_PSC else HOME_VISIT
    reason = services.reasons.find(kind, call.psc_reason)
    if reason is None:
        return answers.NotSent(call=step.value, at=services.now(), why="no_cancellation_reason")
    if step is Step.CANCEL_PSC:
        return junction.cancel_psc_appointment(order_id, reason, before_send=before_send)
    return junction.cancel_home_visit(order_id, reason, before_send=before_send)


def _after_call(
    connection: Connection, services: Services, action: Action, answer: answers.Act, now: datetime
) -> None:
    """Only what surely was not applied goes back to `planned`; all else is unknown until a look tells."""
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
    ledger.move(connection, action, State.CONFIRMED, now, next_at=None, event=proof.event, reason=by)
    following = ledger.wake_next(connection, action.decision, now)
    if following is None:
        decisions.settle(connection, action.decision, "confirmed", f"{by}; seen at Junction", now)
    return following


def _end(connection: Connection, action: Action, state: State, reason: str, now: datetime) -> None:
    """It did not happen. Steps that were to follow are dropped; one that went before makes it partial."""
    ledger.move(connection, action, state, now, next_at=None, reason=reason)
    ledger.drop_planned(connection, action.decision, reason, now)
    done = any(other.state is State.CONFIRMED for other in ledger.of_decision(connection, action.decision))
    outcome = "partial" if done else state.value
    decisions.settle(connection, action.decision, outcome, reason, now)
    if outcome == "dropped":
        decisions.free_key(connection, action.decision)


def _wait(services: Services, action: Action, blind: NotSeen) -> None:
    with writing(services.store) as connection:
        now = store_time(connection)
        _note(connection, action, blind.exchanges, now)
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
