"""Signed webhooks, delivered as Junction's sender does: at least once, in no promised order, for a day."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

import httpx
import orjson

from sandbox.background import Background
from sandbox.config import Config
from sandbox.faults import Faults, WebhookDelay, WebhookDrop, WebhookDuplicate, WebhookReorder
from sandbox.orders import Json, Order, with_z

RETRY_WAITS = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)  # seconds before each attempt
AT_ONCE = 16
JITTER = 0.2


def signature_headers(config: Config, message_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of the Standard Webhooks scheme; one signature for each secret in force."""
    timestamp = str(int(sent_at.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    family = config.header_family
    return {
        f"{family}-id": message_id,
        f"{family}-timestamp": timestamp,
        f"{family}-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in config.secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a delivery: the receiver's status, or why there was none."""

    at: datetime
    status: int | None = None
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(slots=True)
class Message:
    event_type: str
    order_id: UUID
    id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")
    state: Literal["pending", "delivered", "exhausted"] = "pending"
    attempts: list[Attempt] = field(default_factory=list)


class Sender:
    """Everything on its way to the receiver. Sending never holds the API up."""

    def __init__(
        self, config: Config, faults: Faults, background: Background, client: httpx.AsyncClient
    ) -> None:
        self._config = config
        self._url = config.webhook_url or ""
        self._faults = faults
        self._background = background
        self._client = client
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._open = asyncio.Event()
        self._open.set()
        self.messages: list[Message] = []

    def announce(self, event_type: str, order: Order, data: Json) -> None:
        """Put one event on its way, in the envelope the receiver expects."""
        if not self._url:
            return
        envelope = {
            "event_type": event_type,
            "team_id": str(order.team_id),
            "user_id": str(order.user_id),
            "client_user_id": order.client_user_id,
            "data": data,
        }
        message = Message(event_type, order.id)
        self.messages.append(message)
        self._background.spawn(self._deliver(message, orjson.dumps(envelope)))

    @property
    def pending(self) -> int:
        return sum(message.state == "pending" for message in self.messages)

    def pause(self) -> None:
        """Hold all attempts back, as an outage of the sender does."""
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    def forget(self) -> None:
        self.messages.clear()
        self._open.set()

    async def _deliver(self, message: Message, body: bytes) -> None:
        lost = 0
        for fault in self._faults.strike_delivery(message.event_type, message.order_id):
            match fault:
                case WebhookDuplicate():
                    self._background.spawn(self._try(message, body, RETRY_WAITS[:1]))
                case WebhookReorder(seconds=seconds):
                    await asyncio.sleep(self._faults.dice.uniform(0, seconds))
                case WebhookDelay(seconds=seconds):
                    await asyncio.sleep(seconds)
                case WebhookDrop(attempts=attempts):
                    lost = attempts
        await self._try(message, body, RETRY_WAITS, lost)
        if message.state == "pending":
            message.state = "exhausted"

    async def _try(self, message: Message, body: bytes, waits: Sequence[float], lost: int = 0) -> None:
        for number, wait in enumerate(waits):
            await asyncio.sleep(
                wait * self._config.retry_scale * self._faults.dice.uniform(1 - JITTER, 1 + JITTER)
            )
            await self._open.wait()
            async with self._slots:
                attempt = self._lost() if number < lost else await self._attempt(message.id, body)
            message.attempts.append(attempt)
            if attempt.succeeded:
                message.state = "delivered"
                return

    def _lost(self) -> Attempt:
        return Attempt(self._config.now(), error="lost on the way")

    async def _attempt(self, message_id: str, body: bytes) -> Attempt:
        sent_at = self._config.now()
        headers = signature_headers(self._config, message_id, sent_at, body)
        headers["content-type"] = "application/json"
        try:
            async with asyncio.timeout(self._config.attempt_timeout):
                answer = await self._client.post(self._url, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            return Attempt(sent_at, error=type(error).__name__)
        return Attempt(sent_at, status=answer.status_code)


def message_json(message: Message) -> Json:
    return {
        "id": message.id,
        "event_type": message.event_type,
        "order_id": str(message.order_id),
        "state": message.state,
        "attempts": [
            {"at": with_z(attempt.at), "status": attempt.status, "error": attempt.error}
            for attempt in message.attempts
        ],
    }


def exhausted_json(message: Message) -> Json:
    """The operational event about a message that ran out of attempts."""
    last = message.attempts[-1]
    return {
        "type": "message.attempt.exhausted",
        "data": {
            "msg_id": message.id,
            "last_attempt": {"timestamp": with_z(last.at), "response_status_code": last.status or 0},
        },
    }
