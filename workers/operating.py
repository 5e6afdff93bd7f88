"""What an operator can tell the engine to do: approve, decline, stop, start, pause, resume. Each in one
transaction, each in the audit. Used by the command line and the dashboard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection, RowMapping

from workers import limiting
from workers.core.action import target_of
from workers.core.plan import RulePlan, Step, Verdict, plan, steps
from workers.services import Active, ActivePolicy
from workers.store import controls, decisions, ledger, limits, orders
from workers.store.audit import note
from workers.store.cases import Surroundings, gather


class Outcome(Enum):
    """What came of it, in words for whoever asked."""

    DONE = "done"
    NOT_OPEN = "this decision does not wait for anybody (any more)"
    NOT_KNOWN = "there is no such thing"
    NO_LONGER_TRUE = "the rule no longer holds for this order, so there is nothing to approve"
    TAKEN = "another cancellation of it is under way or done"


@dataclass(frozen=True, slots=True)
class Said:
    """Who says it, why, and when (the store's time, UTC)."""

    actor: str
    reason: str
    now: datetime


def approve(connection: Connection, policy: ActivePolicy, decision_id: int, said: Said) -> Outcome:
    """Lets a review item happen. The gate still looks afresh before every call."""
    active = policy.read(connection)
    if active is not None:
        limiting.lock(connection, active.policy)
    row = _locked(connection, decision_id)
    if row is None or active is None:
        return Outcome.NOT_KNOWN
    if (row["state"], row["verdict"]) != ("open", "review"):
        return Outcome.NOT_OPEN
    found = _rule_on(connection, active, row["order_id"], row["key"], said.now)
    if found is None:
        decisions.settle(connection, decision_id, "lapsed", Outcome.NO_LONGER_TRUE.value, said.now)
        return Outcome.NO_LONGER_TRUE
    rule, todo = found
    try:
        ledger.plan(connection, decision_id, row["order_id"], todo, said.now)
    except ledger.TargetTaken:
        return Outcome.TAKEN
    decisions.adopt(connection, decision_id, active.number, active.hash, said.actor)
    limits.reserve(connection, rule.rule.name, row["order_id"], decision_id, said.now)
    note(connection, said.now, said.actor, "approve", f"decision:{decision_id}", reason=said.reason)
    return Outcome.DONE


def decline(connection: Connection, decision_id: int, said: Said) -> Outcome:
    """The review item or held decision is not to happen; the same occasion does not come back."""
    row = _locked(connection, decision_id)
    if row is None:
        return Outcome.NOT_KNOWN
    if row["state"] != "open":
        return Outcome.NOT_OPEN
    decisions.settle(connection, decision_id, "declined", said.reason or "declined", said.now, by=said.actor)
    note(connection, said.now, said.actor, "decline", f"decision:{decision_id}", reason=said.reason)
    return Outcome.DONE


def stop(connection: Connection, said: Said) -> int:
    """The global stop: from now on nothing is decided and nothing is sent. Returns for how many calls it
    comes too late."""
    controls.switch(connection, controls.STOP, on=True, actor=said.actor, reason=said.reason, now=said.now)
    return ledger.on_their_way(connection)


def start(connection: Connection, said: Said) -> None:
    """Ends the global stop; what became due meanwhile is looked at now."""
    controls.switch(connection, controls.STOP, on=False, actor=said.actor, reason=said.reason, now=said.now)
    orders.wake_stopped(connection, said.now)


def pause(connection: Connection, rule: str, said: Said) -> None:
    """One rule decides and sends nothing."""
    name = controls.rule_control(rule)
    controls.switch(connection, name, on=True, actor=said.actor, reason=said.reason, now=said.now)


def resume(connection: Connection, policy: ActivePolicy, rule: str | None, said: Said) -> int | None:
    """Ends a rule's pause and resets tripped limits (of the rule, or of the policy). Returns how many held
    decisions go on, at most what fits; None when there is no such rule."""
    active = policy.read(connection)
    found = active.policy.rule(rule) if active and rule else None
    if active is None or (rule is not None and found is None):
        return None
    if rule is not None:
        name = controls.rule_control(rule)
        controls.switch(connection, name, on=False, actor=said.actor, reason=said.reason, now=said.now)
    gone_on = limiting.resume(connection, active, found, said.actor, said.reason, said.now)
    orders.wake_stopped(connection, said.now)
    return gone_on


def _locked(connection: Connection, decision_id: int) -> RowMapping | None:
    """The decision with its order, which goes first: handlers take them in this order."""
    row = decisions.load(connection, decision_id)
    if row is None:
        return None
    orders.lock(connection, [row["order_id"]])
    return decisions.load(connection, decision_id, lock=True)


def _rule_on(
    connection: Connection, active: Active, order_id: str, key: str, now: datetime
) -> tuple[RulePlan, list[tuple[Step, str]]] | None:
    """The rule behind a key as it stands on the stored order, and the steps it would take now."""
    order = orders.load(connection, [order_id])[order_id].order
    around = Surroundings(
        calendar=active.calendar,
        environment=active.policy.environment,
        team_id=order.facts.team_id or "",
        live_since={},
        awake_since=None,
    )
    case = gather(connection, [order], now, around)[order_id]
    case = replace(case, decided=case.decided - {f"live:{key}"})
    rule = next((rule for rule in plan(active.policy, case).rules if rule.key == key), None)
    if rule is None or rule.verdict not in {Verdict.DUE, Verdict.WAITS, Verdict.UNCLEAR}:
        return None
    return rule, [(step, target_of(step, order)) for step in steps(active.policy, rule.rule, case)]
