"""Message -> handler, one line each, with its options. The only place where dramatiq meets our work."""

from __future__ import annotations

import dramatiq

from workers.acting import act
from workers.evaluating import evaluate
from workers.projecting import project
from workers.resending import resend
from workers.services import Services

# Each handler asks Junction a few times at most, and each answer may take its time; see junction.Timeouts.
CALLS_MS = 120_000


def declare(broker: dramatiq.Broker, services: Services) -> None:
    """Tells the broker what to do with each message. What a handler needs comes with `services`."""

    def actor(name: str, queue: str, time_limit: int = 30_000):  # type: ignore[no-untyped-def]  # dramatiq's decorator is generic
        return dramatiq.actor(broker=broker, actor_name=name, queue_name=queue, time_limit=time_limit)

    actor("project", "events")(lambda ids: project(services, ids))
    actor("evaluate", "orders", CALLS_MS)(lambda ids: evaluate(services, ids))
    actor("act", "actions", CALLS_MS)(lambda id: act(services, id))  # noqa: A006 - the message's own word
    actor("resend", "actions", CALLS_MS)(lambda id: resend(services, id))  # noqa: A006 - as well
