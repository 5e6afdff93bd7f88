"""Evaluate: due orders are looked at afresh, and decided. What is decided is done in acting.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from workers import duplicates, limiting
from workers.core.action import target_of
from workers.core.plan import RulePlan, effective_mode, steps
from workers.core.policy import Mode
from workers.core.trace import changes, trace
from workers.looking import Looked, NotSeen, look, prepaid
from workers.messages import Act
from workers.planning import News, Planned, as_merged, make_plans, merge_news, put_off, replan
from workers.services import Active, Services
from workers.store import controls, decisions, ledger, limits, orders, outbox
from workers.store.database import store_time, writing
from workers.store.decisions import Decision
from workers.store.failures import Failure, record_failure

log = structlog.get_logger(__name__)

UNTIMELY = timedelta(minutes=5)  # until the clocks are looked at again
WHILE_STOPPED = timedelta(minutes=5)  # `start` wakes them at once; this is for a start that got lost
WHILE_COUNTING = timedelta(seconds=2)  # a new policy is being worked through, thousands of orders a minute
DEATHS = 3  # evaluations of one order that did not come to an end before it is set aside


@dataclass(frozen=True, slots=True)
class Wanted:
    """Why an order is worth a look: a rule that is due, or may be, by what is stored, with the other orders
    that have to be looked at besides; or a person who asked for it at `asked_at`."""

    rule: RulePlan | None
    others: tuple[str, ...] = ()
    asked_at: datetime | None = None


def evaluate(services: Services, ids: Sequence[str]) -> None:
    """Looks at due orders afresh and decides.

    Twice is harmless: an order that somebody has leased is skipped, and an activation is decided once.
    """
    for order_id in ids:
        if _take(services, order_id) and (wanted := _wanted(services, order_id)) is not None:
            _look_and_decide(services, order_id, wanted)


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


def _wanted(services: Services, order_id: str) -> Wanted | None:
    """Re-plans by what is stored; worth a call is only an order that is due, or may be, and one that a person
    wants looked at. None: it is not."""
    with writing(services.store) as connection:
        now = store_time(connection)
        orders.lock(connection, [order_id])
        stored = orders.load(connection, [order_id])[order_id]
        if stored.look_asked_at is not None:
            return Wanted(None, asked_at=stored.look_asked_at)
        found = {order_id: as_merged(stored)}
        active = services.policy.read(connection)
        if active is not None and stored.generation == active.number:
            one = replace(make_plans(connection, services, active, found, now)[order_id], before=None)
            asking = (*one.plan.due, *one.plan.unclear)
            if asking and not _stopped(connection, active, one):
                return Wanted(asking[0], duplicates.keepers(asking, one.case))
            held_back = _send_notices(connection, one)
            if held_back and not asking:
                put_off(connection, active, one, "stopped", now + WHILE_STOPPED)
            if held_back or asking:
                return None
        replan(connection, services, found, now)
        return None


def _look_and_decide(services: Services, order_id: str, wanted: Wanted) -> None:
    paid = prepaid(services, 1 + len(wanted.others))
    match paid if isinstance(paid, NotSeen) else look(paid.junction, order_id, wanted.others):
        case NotSeen(why=why, retry_after=wait):
            with writing(services.store) as connection:
                orders.postpone(connection, order_id, store_time(connection) + timedelta(seconds=wait), why)
        case Looked() as looked:
            with writing(services.store) as connection:
                started = _decide(connection, services, looked, wanted)
            for action_id in started:
                services.publish(Act(action_id))


def _decide(connection: Connection, services: Services, looked: Looked, wanted: Wanted) -> list[int]:
    """One transaction: plan on the fresh order, then write down what follows. Returns actions to start."""
    active = services.policy.read(connection)
    if active is not None:
        controls.lock(connection, _switches(active))
        limiting.lock(connection, active.policy)
    now = store_time(connection)
    merged = merge_news(connection, [News(order) for order in looked.orders], now)
    if wanted.asked_at is not None:
        orders.note_look(connection, looked.order.id, wanted.asked_at)
    if active is None:
        replan(connection, services, merged, now)
        return []
    own = {looked.order.id: merged.pop(looked.order.id)}
    replan(connection, services, merged, now)
    (one,) = make_plans(connection, services, active, own, now, seen=looked.ids).values()
    if (reason := looked.untimely(now, services.now())) is not None:
        log.error("no time can be trusted, so nothing is decided", order=one.plan.order_id, why=reason)
        decisions.record_negative(connection, _negative(one, active, "error", reason), now)
        put_off(connection, active, one, "clock_skew", now + UNTIMELY)
        return []
    for shadow in one.plan.shadows:
        _record(connection, one, active, shadow, "shadow", "final", "shadow: nothing is done")
    winner = one.plan.winner
    _send_notices(connection, one)
    if _stopped(connection, active, one):
        return []
    if winner is not None and not limiting.may_count(connection, active, now):
        orders.postpone(connection, one.plan.order_id, now + WHILE_COUNTING, "others are planned")
        return []
    started = _carry_out(connection, one, active, winner) if winner else []
    if winner is None and set(duplicates.keepers(one.plan.unclear, one.case)) - {*wanted.others}:
        replan(
            connection, services, own, now
        )  # yet another would live in its place: again, with a look at that one
        return []
    if winner is None and one.plan.unclear:
        reason = f"it cannot be told whether {one.plan.unclear[0].rule.name} holds"
        decisions.record_negative(connection, _negative(one, active, "wait", reason), now)
        put_off(connection, active, one, "unclear")
        return []
    if not one.plan.due and wanted.rule is not None:
        reason = "the fresh order is no longer due"
        decisions.record_negative(connection, _negative(one, active, "keep", reason, wanted.rule), now)
    replan(connection, services, own, now)
    return started


def _carry_out(connection: Connection, one: Planned, active: Active, winner: RulePlan) -> list[int]:
    """The winner's decision: an item for a person, or a ledger row a step."""
    mode = effective_mode(winner, active.policy, one.case)
    if mode is Mode.REVIEW or ledger.gave_up(connection, one.plan.order_id):
        mode = Mode.REVIEW
        _record(connection, one, active, winner, "review", "open", "waits for a person", mode=mode)
        return []
    if (
        reason := limiting.held_back(connection, active, winner.rule, one.plan.order_id, one.plan.now)
    ) is not None:
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


def _stopped(connection: Connection, active: Active, one: Planned) -> bool:
    """Whether nothing may be decided about it now, by the global stop or a pause of the rule that would act;
    then that is written down, and no call is wasted on it."""
    acting = one.plan.winner or next((rule for rule in one.plan.unclear if rule.space == "live"), None)
    if acting is None:
        return False
    raised = controls.raised(connection, [controls.STOP, controls.rule_control(acting.rule.name)])
    if not raised:
        return False
    said = "; ".join(f"{name} is on: {reason}" for name, reason in raised.items())
    decisions.record_negative(connection, _negative(one, active, "held", said), one.plan.now)
    put_off(connection, active, one, "stopped", one.plan.now + WHILE_STOPPED)
    return True


def _switches(active: Active) -> list[str]:
    """Everything that may stop a decision."""
    return [controls.STOP, *(controls.rule_control(rule.name) for rule in active.policy.rules)]


def _send_notices(connection: Connection, one: Planned) -> bool:
    """Tells ahead what rules will do, but for those that a stop or a pause keeps from doing it. Whether there
    were any of these."""
    ripe = {notice: {controls.STOP, controls.rule_control(notice.rule)} for notice in one.plan.notices}
    raised = set(controls.raised(connection, set().union(*ripe.values()))) if ripe else set()
    going = [notice for notice, switches in ripe.items() if not switches & raised]
    for notice in going:
        body = {"order_id": one.plan.order_id, "key": notice.key, "due_at": notice.due_at.isoformat()}
        outbox.notify(connection, notice.key, outbox.SCHEDULED, one.plan.order_id, body, one.plan.now)
    return len(going) < len(ripe)


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


def _negative(
    one: Planned, active: Active, verdict: str, reason: str, was_due: RulePlan | None = None
) -> Decision:
    """`was_due`: the rule that the look was for, where none is due any more."""
    rule = was_due or one.plan.winner or next(iter(one.plan.unclear), None)
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
    """With `fresh_look`, what the look changed (None: nothing), if there was one."""
    traced = trace(active.policy, one.case, one.plan)
    return traced if one.before is None else {**traced, "fresh_look": changes(one.before, one.case.order)}
