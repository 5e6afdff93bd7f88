"""Faults on demand: what can go wrong with an API call or a delivery, for whom, and how often.

This file decides which faults strike; calls.py plays those of the API, webhooks.py those of the deliveries.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from random import Random
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

HANG = 120.0  # seconds; longer than any client of ours waits


def _error_status(status: int) -> int:
    if HTTPStatus(status) < HTTPStatus.BAD_REQUEST:
        raise ValueError("a fault answers with an error status")
    return status


Seconds = Annotated[float, Field(ge=0.0, le=86_400.0)]
ErrorStatus = Annotated[int, AfterValidator(_error_status)]


class Fault(BaseModel):
    """Whom a fault strikes. An empty field matches all.

    operation: an operation name such as `cancel_order`, a path, or an event type; `*` matches any part.
    count: how many times it strikes before it is used up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: str = "*"
    order_id: UUID | None = None
    probability: float = Field(default=1.0, ge=0.0, le=1.0)
    count: int | None = Field(default=None, ge=1)


class Latency(Fault):
    """Answer later; other faults may strike as well."""

    kind: Literal["latency"]
    seconds: Seconds


class Status(Fault):
    """Refuse without applying, with `Retry-After` where given."""

    kind: Literal["status"]
    status: ErrorStatus = 503
    retry_after: int | None = Field(default=None, ge=0)


class TimeoutBefore(Fault):
    """Never answer, never apply."""

    kind: Literal["timeout_before"]
    seconds: Seconds = HANG


class TimeoutAfter(Fault):
    """Apply, then never answer."""

    kind: Literal["timeout_after"]
    seconds: Seconds = HANG


class Drop(Fault):
    """Cut the connection after `at_byte` bytes of the answer, its head included."""

    kind: Literal["drop"]
    applied: bool = True
    at_byte: int = Field(default=0, ge=0)


class ApplyLate(Fault):
    """Answer with `status` now (None: never), take effect after `seconds`."""

    kind: Literal["apply_late"]
    seconds: Seconds
    status: ErrorStatus | None = 504


class BadJson(Fault):
    """Apply, and answer 200 with half of the JSON."""

    kind: Literal["bad_json"]


class WebhookDuplicate(Fault):
    """Deliver the same message twice."""

    kind: Literal["webhook_duplicate"]


class WebhookReorder(Fault):
    """Hold the message back for a random time, so that later ones overtake it."""

    kind: Literal["webhook_reorder"]
    seconds: Seconds = 2.0


class WebhookDelay(Fault):
    """Hold the message back for exactly so long."""

    kind: Literal["webhook_delay"]
    seconds: Seconds


class WebhookDrop(Fault):
    """Lose the first attempts; the retries bring the message in the end."""

    kind: Literal["webhook_drop"]
    attempts: int = Field(default=1, ge=1)


CallFault = Latency | Status | TimeoutBefore | TimeoutAfter | Drop | ApplyLate | BadJson
WebhookFault = WebhookDuplicate | WebhookReorder | WebhookDelay | WebhookDrop
AnyFault = Annotated[CallFault | WebhookFault, Field(discriminator="kind")]
FAULTS: TypeAdapter[list[AnyFault]] = TypeAdapter(list[AnyFault])


@dataclass(slots=True)
class _Armed:
    fault: CallFault | WebhookFault
    left: int | None


class Faults:
    """The faults in force. Dice are seeded, so one seed plays one story."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self._armed: list[_Armed] = []

    def arm(self, faults: list[CallFault | WebhookFault]) -> None:
        self._armed += [_Armed(fault, fault.count) for fault in faults]

    def clear(self) -> None:
        self._armed.clear()

    def strike_call(self, operation: str, path: str, order_id: UUID | None) -> list[CallFault]:
        return [
            armed.fault
            for armed in self._armed
            if isinstance(armed.fault, CallFault) and self._strikes(armed, (operation, path), order_id)
        ]

    def strike_delivery(self, event_type: str, order_id: UUID) -> list[WebhookFault]:
        return [
            armed.fault
            for armed in self._armed
            if isinstance(armed.fault, WebhookFault) and self._strikes(armed, (event_type,), order_id)
        ]

    def _strikes(self, armed: _Armed, names: tuple[str, ...], order_id: UUID | None) -> bool:
        fault = armed.fault
        hit = (
            armed.left != 0
            and fault.order_id in (None, order_id)
            and any(fnmatchcase(name, fault.operation) for name in names)
            and self.dice.random() < fault.probability
        )
        if hit and armed.left is not None:
            armed.left -= 1
        return hit
