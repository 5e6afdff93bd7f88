"""Every message that may be on the queue, and how it gets there. Messages carry ids, never data.

What happens with a message is said in actors.py; how the queue works, in broker.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import dramatiq


@dataclass(frozen=True, slots=True)
class ProjectDeliveries:
    """Inbox rows were committed: fold them into their orders. One message carries a whole intake batch."""

    queue: ClassVar[str] = "events"
    actor: ClassVar[str] = "project"
    ids: list[int]


@dataclass(frozen=True, slots=True)
class EvaluateOrders:
    """These orders are due: look at them afresh and decide."""

    queue: ClassVar[str] = "orders"
    actor: ClassVar[str] = "evaluate"
    ids: list[str]


@dataclass(frozen=True, slots=True)
class Act:
    """A ledger row wants its next step."""

    queue: ClassVar[str] = "actions"
    actor: ClassVar[str] = "act"
    id: int


@dataclass(frozen=True, slots=True)
class ResendEvents:
    """An operator wants Junction to send its events again; see workers/store/resends.py."""

    queue: ClassVar[str] = "actions"
    actor: ClassVar[str] = "resend"
    id: str


Message = ProjectDeliveries | EvaluateOrders | Act | ResendEvents
KINDS: tuple[type[Message], ...] = (ProjectDeliveries, EvaluateOrders, Act, ResendEvents)
QUEUES = ("events", "orders", "actions")


def publish(broker: dramatiq.Broker, message: Message) -> str:
    """Puts a message on the queue; returns its id. Blocks on the network: never on an event loop.

    Raises what the broker raises when the queue cannot be reached. Losing a message is harmless: the sweep
    finds the row that nobody finished.
    """
    envelope: dramatiq.Message[Any] = dramatiq.Message(
        queue_name=message.queue, actor_name=message.actor, args=(), kwargs=asdict(message), options={}
    )
    broker.enqueue(envelope)
    return envelope.message_id
