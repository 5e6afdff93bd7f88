"""Letting what failed for good run again: the store first, then the queue. A lost push heals by the clock."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection

from receiver.dashboard.desk import Desk
from receiver.dashboard.visit import Visit
from workers.messages import QUEUES, Act, EvaluateOrders, Message, ProjectDeliveries, ResendEvents
from workers.queues import Outcome, QueueUnreachable
from workers.store import controls, failures, inbox
from workers.store.failures import Failure, RecordedFailure

log = logging.getLogger(__name__)

REQUEUED = "requeued"  # the dead message itself, under its id
SENT_ANEW = "sent anew"  # the message was gone; another about the same rows
LEFT_TO_THE_CLOCK = "left to the clock"  # Redis does not answer; the clock finds what is due
NOT_UNDERSTOOD = "not understood"  # of a kind this version does not know

MOST_DEAD = 10_000  # dead messages looked through for those to requeue


def replay(visit: Visit, ids: Sequence[int], reason: str) -> Counter[str]:
    """Replays those of these failures that nobody settled before; says how many went which way.

    Twice is harmless: a settled failure is passed over, and every handler stands a message that comes twice.
    """
    with visit.desk.writing() as connection:
        chosen = [one for one in failures.load_failures(connection, ids) if one.state in failures.UNSETTLED]
        failures.settle(connection, ids, "replayed", actor=visit.session.user, reason=reason, now=visit.now)
        for one in chosen:
            revive(connection, one.failure, visit)
        visit.audit(connection, "replay", _target(chosen), reason=reason, after={"failures": len(chosen)})
    try:
        dead = _dead_messages(visit.desk)
    except QueueUnreachable:
        return Counter({LEFT_TO_THE_CLOCK: len(chosen)})
    return Counter(_queue(visit, one, dead) for one in chosen)


def revive(connection: Connection, failure: Failure, visit: Visit) -> None:
    """What was set aside with the failure is due again."""
    match failure.actor, failure.args:
        case "project", {"ids": list(ids)}:
            inbox.reopen(connection, ids)
        case "evaluate", {"ids": list(ids)}:
            controls.touch(connection, ids, visit.now)


def message_for(failure: Failure) -> Message | None:
    """A message about the same rows; None for a kind of this program's future or past."""
    match failure.actor, failure.args:
        case "project", {"ids": list(ids)}:
            return ProjectDeliveries(ids)
        case "evaluate", {"ids": list(ids)}:
            return EvaluateOrders(ids)
        case "act", {"id": int(id_)}:
            return Act(id_)
        case "resend", {"id": str(id_)}:
            return ResendEvents(id_)
    return None


def _queue(visit: Visit, one: RecordedFailure, dead: dict[str, tuple[str, str]]) -> str:
    try:
        place = dead.get(one.failure.message_id or "")
        if place and visit.desk.queues.requeue_dead(*place, visit.now) is Outcome.REQUEUED:
            return REQUEUED
        message = message_for(one.failure)
        if message is None:
            return NOT_UNDERSTOOD
        visit.desk.publish(message)
    except Exception:  # the store has it, and the next one may get through
        log.warning("replayed failure %s did not reach the queue", one.id, exc_info=True)
        return LEFT_TO_THE_CLOCK
    return SENT_ANEW


def _dead_messages(desk: Desk) -> dict[str, tuple[str, str]]:
    """Message id -> its queue, and its address there."""
    return {
        row.id: (queue, row.redis_id)
        for queue in QUEUES
        for row in desk.queues.messages(queue, "dead", 0, MOST_DEAD)
    }


def _target(chosen: Sequence[RecordedFailure]) -> str:
    ids = [str(one.id) for one in chosen]
    return f"failures {', '.join(ids[:10])}{' …' if len(ids) > 10 else ''}"[:160]
