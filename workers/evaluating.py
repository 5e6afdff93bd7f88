"""Evaluate: due orders are looked at afresh, and decided. What is decided is done in acting.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from workers.core.order import Appointment, Order
from workers.core.plan import RulePlan, Step, effective_mode, steps
from workers.core.policy import Mode
from workers.core.trace import trace
from workers.limiting import held_back
from workers.looking import Looked, NotSeen, look
from workers.messages import Act
from workers.planning import Merged, News, Planned, as_merged, make_plans, merge_news, put_off, replan
from workers.services import Active, Services
from workers.store import controls, decisions, ledger, limits, orders
from workers.store.database import store_time, writing
from workers.store.decisions import Decision
from workers.store.failures import Failure, record_failure

WHILE_STOPPED = timedelta(minutes=5)  # `start` wakes them at once; this is for a start that got lost
DEATHS = 3  # evaluations of one order that did not come to an end before it is set aside


def evaluate(services: Services, ids: Sequence[str]) -> None:
    """Looks at due orders afresh and decides.

    Twice is harmless: an order that somebody has leased is skipped, and an activation is decided once.
    """
    for order_id in ids:
        if _take(services, order_id) and _needs_look(services, order_id):
            _look_and_decide(services, order_id)


def _take(services: Services, order_id: str) -> bool:
    with writing(services.store) as connection:
        now = store_time(connection)
        attempts = orders.lease(connection, order_id, now, now + services.lease)
        if attempts is not None and attempts > DEATHS:
            orders.set_aside(connection, order_id)
            record_failure(connection, _deadly(services, order_id, now))
            return False
        return attempts is not None


def _deadly(services: Services, order_id: str, now: datetime) -> Failure:
    return Failure(
        queue="orders",
        actor="evaluate",
        error="ProcessDied",
        place="unknown",
        args={"ids": [order_id]},
        version=services.version,
        attempts=DEATHS,
        at=now,
        order_id=order_id,
    )


def _needs_look(services: Services, order_id: str) -> bool:
    """Re-plans by what is stored; only an order that is due, or may be, is worth a call."""
    with writing(services.store) as connection:
        now = store_time(connection)
        found = {order_id: as_merged(orders.load(connection, [order_id], lock=True)[order_id])}
        active = services.policy.read(connection)
        if active is not None:
            one = make_plans(connection, services, active, found, now)[order_id]
            if one.plan.due or one.plan.unclear:
                return True
            _send_notices(connection, one)
        replan(connection, services, found, now)
        return False


def _look_and_decide(services: Services, order_id: str) -> None:
    match look(services.junction, order_id):
        case NotSeen(why=why, retry_after=wait):
            with writing(services.store) as connection:
                orders.postpone(connection, order_id, store_time(connection) + timedelta(seconds=wait), why)
        case Looked() as looked:
            with writing(services.store) as connection:
                now = store_time(connection)
                merged = merge_news(connection, [News(looked.order)], now)
                started = _decide(connection, services, merged, looked, now)
            for action_id in started:
                services.publish(Act(action_id))


def _decide(
    connection: Connection, services: Services, merged: Mapping[str, Merged], looked: Looked, now: datetime
) -> list[int]:
    """One transaction: plan on the fresh order, then write down what follows. Returns actions to start."""
    active = services.policy.read(connection)
    if active is None:
        replan(connection, services, merged, now)
        return []
    (one,) = make_plans(connection, services, active, merged, now).values()
    if (reason := looked.untimely(now)) is not None:
        decisions.record_negative(connection, _negative(one, active, "error", reason), now)
        put_off(connection, active, one, "clock_skew")
        return []
    for shadow in one.plan.shadows:
        _record(connection, one, active, shadow, "shadow", "final", "shadow: nothing is done")
    winner = one.plan.winner
    if winner is not None and (reason := _stopped(connection, winner)):
        decisions.record_negative(connection, _negative(one, active, "held", reason), now)
        put_off(connection, active, one, "stopped", now + WHILE_STOPPED)
        return []
    _send_notices(connection, one)
    started = _carry_out(connection, one, active, winner) if winner else []
    if winner is None and one.plan.unclear:
        reason = f"it cannot be told whether {one.plan.unclear[0].rule.name} holds"
        decisions.record_negative(connection, _negative(one, active, "wait", reason), now)
        put_off(connection, active, one, "unclear")
        return []
    if not one.plan.due:
        reason = "the fresh order is no longer due"
        decisions.record_negative(connection, _negative(one, active, "keep", reason), now)
    replan(connection, services, merged, now)
    return started


def _carry_out(connection: Connection, one: Planned, active: Active, winner: RulePlan) -> list[int]:
    """The winner's decision: an item for a person, or a ledger row a step."""
    mode = effective_mode(winner, active.policy, one.case)
    if mode is Mode.REVIEW:
        _record(connection, one, active, winner, "review", "open", "waits for a person", mode=mode)
        return []
    if (reason := held_back(connection, active, winner.rule, one.plan.order_id, one.plan.now)) is not None:
        _record(connection, one, active, winner, "held", "open", reason, mode=mode)
        return []
    todo = steps(active.policy, winner.rule, one.case)
    decision = _record(
        connection, one, active, winner, "cancel", "acting", "asked for by the rule", mode=mode
    )
    if decision is None:
        return []
    try:
        targets = [(step, target_of(step, one.case.order)) for step in todo]
        ids = ledger.plan(connection, decision, one.plan.order_id, targets, one.plan.now)
        limits.reserve(connection, winner.rule.name, one.plan.order_id, decision, one.plan.now)
    except ledger.TargetTaken:
        decisions.settle(
            connection, decision, "blocked", "another action on it is under way or done", one.plan.now
        )
        return []
    return ids[:1]


def target_of(step: Step, order: Order) -> str:
    """What a step cancels: the order itself, or its active appointment."""
    slot = order.appointment
    if step is Step.CANCEL_ORDER:
        return order.id
    assert isinstance(slot, Appointment)
    return slot.id


def _stopped(connection: Connection, rule: RulePlan) -> str | None:
    names = [controls.STOP, controls.rule_control(rule.rule.name)]
    raised = controls.raised(connection, names, lock=True)
    return next((f"{name}: {raised[name]}" for name in names if name in raised), None)


def _send_notices(connection: Connection, one: Planned) -> None:
    for notice in one.plan.notices:
        body = {"order_id": one.plan.order_id, "key": notice.key, "due_at": notice.due_at.isoformat()}
        decisions.notify(
            connection, notice.key, "autocancel.scheduled", one.plan.order_id, body, one.plan.now
        )


def _record(
    connection: Connection,
    one: Planned,
    active: Active,
    rule: RulePlan,
    verdict: str,
    state: str,
    reason: str,
    *,
    mode: Mode | None = None,
) -> int | None:
    decision = Decision(
        order_id=one.plan.order_id,
        key=rule.key,
        space=rule.space,
        rule=rule.rule.name,
        action=rule.rule.then.action.value,
        verdict=verdict,
        state=state,
        mode=(mode or rule.mode).value,
        generation=active.number,
        policy_hash=active.hash,
        trigger="due",
        due_at=rule.due_since,
        facts_version=one.version,
        reason=reason,
        trace=_trace(active, one),
    )
    return decisions.record(connection, decision, one.plan.now)


def _negative(one: Planned, active: Active, verdict: str, reason: str) -> Decision:
    rule = one.plan.winner or next(iter(one.plan.unclear), None)
    return Decision(
        order_id=one.plan.order_id,
        key=None,
        space="live",
        rule=rule.rule.name if rule else None,
        action=rule.rule.then.action.value if rule else None,
        verdict=verdict,
        state="final",
        mode=rule.mode.value if rule else None,
        generation=active.number,
        policy_hash=active.hash,
        trigger="due",
        due_at=rule.due_since if rule else None,
        facts_version=one.version,
        reason=reason,
        trace=_trace(active, one),
    )


def _trace(active: Active, one: Planned) -> dict[str, Any]:
    return trace(active.policy, one.case, one.plan)
