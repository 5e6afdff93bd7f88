"""What an operator can tell the engine to do: approve, decline, cancel, refresh, stop, start, pause, resume.
Each in one transaction, each in the audit. Used by the command line and the dashboard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection, RowMapping

from workers import limiting
from workers.core import by_hand
from workers.core.action import target_of
from workers.core.by_hand import Obstacle
from workers.core.case import Case
from workers.core.order import Order
from workers.core.plan import RulePlan, Step, Verdict, plan, steps
from workers.core.policy import Act
from workers.services import Active, ActivePolicy
from workers.store import controls, decisions, ledger, limits, orders
from workers.store.audit import note
from workers.store.cases import Surroundings, gather
from workers.store.decisions import Decision


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


NO_SUCH_ORDER = "there is no such order"
NO_POLICY = "no policy is active, so it is not known for which environment this acts"


def stands_against(
    connection: Connection, policy: ActivePolicy, order_ids: Iterable[str], now: datetime
) -> dict[str, tuple[Obstacle, ...]]:
    """What would keep each of these orders from being cancelled by hand, as far as the store can tell."""
    stored, active = orders.load(connection, order_ids), policy.read(connection)
    if active is None:
        return dict.fromkeys(stored, (Obstacle("policy", NO_POLICY),))
    raised = controls.raised(connection, [controls.STOP]).items()
    stopped = [Obstacle(name, f"{name} is on: {why}") for name, why in raised]
    cases = cases_as_stored(connection, active, (one.order for one in stored.values()), now)
    return {id_: (*stopped, *by_hand.obstacles(active.policy, case)) for id_, case in cases.items()}


def cancel(
    connection: Connection,
    policy: ActivePolicy,
    order_ids: Iterable[str],
    said: Said,
    *,
    fee_accepted: bool = False,
) -> dict[str, str | None]:
    """Plans to cancel orders for which no rule asks. Order id -> why not; None: it goes to the gate, where
    every hard guard has to hold on a fresh look. `fee_accepted`: the refund of a home visit may be lost.

    Twice is harmless: an order has one cancellation under way or done at a time.
    """
    ids = sorted(set(order_ids))
    active = policy.read(connection)
    if active is None:
        return dict.fromkeys(ids, NO_POLICY)
    if stopped := controls.lock(connection, [controls.STOP]):
        return dict.fromkeys(ids, f"{controls.STOP} is on: {stopped[controls.STOP]}")
    orders.lock(connection, ids)
    stored = orders.load(connection, ids)
    cases = cases_as_stored(connection, active, (one.order for one in stored.values()), said.now)
    found = {
        id_: _cancel(connection, active, case, stored[id_].facts_version, said, fee_accepted)
        for id_, case in cases.items()
    }
    return {id_: found.get(id_, NO_SUCH_ORDER) for id_ in ids}


def _cancel(
    connection: Connection, active: Active, case: Case, version: int, said: Said, fee_accepted: bool
) -> str | None:
    against = by_hand.obstacles(active.policy, case, fee_accepted=fee_accepted)
    if (sure := next((one for one in against if one.sure), None)) is not None:
        return sure.why
    order_id = case.order.id
    try:
        with connection.begin_nested():
            decision = decisions.record(
                connection, _by_hand(active, case, version, said, fee_accepted), said.now
            )
            assert decision is not None  # it has no key that another could have taken
            ledger.plan(connection, decision, order_id, [(Step.CANCEL_ORDER, order_id)], said.now)
    except ledger.TargetTaken:
        return Outcome.TAKEN.value
    limits.reserve(connection, by_hand.NAME, order_id, decision, said.now)
    after = {"decision": decision, by_hand.FEE_ACCEPTED: fee_accepted}
    note(connection, said.now, said.actor, "cancel", order_id, role="admin", reason=said.reason, after=after)
    return None


def _by_hand(active: Active, case: Case, version: int, said: Said, fee_accepted: bool) -> Decision:
    """No key: what the ledger allows, a person may ask for again."""
    told = by_hand.told(active.policy, case, fee_accepted=fee_accepted)
    return Decision(
        order_id=case.order.id,
        key=None,
        space="live",
        rule=None,
        action=Act.CANCEL_ORDER.value,
        verdict="cancel",
        state="acting",
        mode=None,
        generation=active.number,
        policy_hash=active.hash,
        trigger=by_hand.TRIGGER,
        due_at=None,
        facts_version=version,
        reason=f"asked for by {said.actor}: {said.reason}"[:500],
        trace={**told, "asked_by": said.actor, "asked_why": said.reason},
    )


def refresh(connection: Connection, order_ids: Iterable[str], said: Said) -> None:
    """Orders are asked for at Junction soon, and what is found is stored, though no rule may be due."""
    ids = sorted(set(order_ids))
    orders.ask_for_look(connection, ids, said.now)
    for order_id in ids:
        note(connection, said.now, said.actor, "refresh", order_id, reason=said.reason)


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
    case = cases_as_stored(connection, active, [order], now)[order_id]
    case = replace(case, decided=case.decided - {f"live:{key}"})
    rule = next((rule for rule in plan(active.policy, case).rules if rule.key == key), None)
    if rule is None or rule.verdict not in {Verdict.DUE, Verdict.WAITS, Verdict.UNCLEAR}:
        return None
    return rule, [(step, target_of(step, order)) for step in steps(active.policy, rule.rule, case)]


def cases_as_stored(
    connection: Connection, active: Active, stored: Iterable[Order], now: datetime
) -> dict[str, Case]:
    """Orders as they are stored. Whether this installation may act for them at all is for a
    worker to say, which knows its key's environment and team: here it may."""
    around = Surroundings(
        calendar=active.calendar,
        environment=active.policy.environment,
        team_id="",
        live_since={},
        awake_since=None,
    )
    cases = gather(connection, stored, now, around)
    return {id_: replace(case, team_id=case.order.facts.team_id) for id_, case in cases.items()}
