"""POST /webhooks/junction: from bytes to a durable inbox row, or a plain word why not.

A bare ASGI application: on the one busy route, Request and Response would take a third of the time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from starlette.types import Receive, Scope, Send

from receiver.hashing import sha256_hex
from receiver.intake import Intake, NotStored
from receiver.metrics import Metrics
from receiver.signature import NotVerified, Secret, Verified, verify
from workers.core.events import Keep, Unreadable, trim
from workers.store.inbox import Arrival, Recorded

Headers = tuple[tuple[bytes, bytes], ...]

DEEPEST = 64  # levels of nesting, far more than any real event has
OVERSHOOT = 1 << 20  # bytes read and dropped past the limit, so that a sender just too big sees our answer
CLOSE: Headers = ((b"connection", b"close"),)  # what else comes on this connection is not worth reading
COME_AGAIN: Headers = ((b"retry-after", b"5"),)  # seconds, as Junction's own second attempt


@dataclass(frozen=True, slots=True)
class Limits:
    """`body` in bytes, counted as they come; all within `body_time`; `tolerance` of the signing time."""

    body: int
    body_time: timedelta
    tolerance: timedelta


@dataclass(frozen=True, slots=True)
class Accepted:
    """The delivery is durable: `outcome` says whether by this request, `state` what it was stored as."""

    delivery_id: str
    outcome: str
    state: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A request that was not let in: `reason` for counting, `sentence` for whoever looks into it."""

    status: int
    reason: str
    sentence: str
    headers: Headers = ()


NOT_POST = TurnedAway(405, "not_post", "Deliveries are sent with POST.", ((b"allow", b"POST"),))
NOT_JSON = TurnedAway(415, "not_json", "Deliveries are sent as application/json.")
TOO_LARGE = TurnedAway(413, "body_too_large", "The body is larger than this receiver takes.", CLOSE)
TOO_SLOW = TurnedAway(408, "body_too_slow", "The body did not arrive in time.", CLOSE)
STOPPING = TurnedAway(503, "stopping", "The receiver is stopping. Send it again.", CLOSE + COME_AGAIN)


class Gone(Exception):
    """The sender left before its body was complete."""


class JunctionWebhook:
    """The endpoint. `secrets` says which are in use at a time."""

    def __init__(
        self,
        intake: Intake,
        secrets: Callable[[datetime], Sequence[Secret]],
        keep: Keep,
        limits: Limits,
        clock: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._intake = intake
        self._secrets = secrets
        self._keep = keep
        self._limits = limits
        self._clock = clock
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        try:
            answer = await self._answer(scope, receive)
        except Gone:
            return
        except asyncio.CancelledError:
            answer = STOPPING  # only the server cancels a request: at its stop, when it can wait no longer
        match answer:
            case Accepted(delivery_id, outcome, state):
                await _send(send, 202, {"status": outcome, "delivery": delivery_id, "stored_as": state})
                self._metrics.ack_seconds.observe(time.perf_counter() - started)
            case TurnedAway(status, reason, sentence, headers):
                self._intake.count_turned_away(reason)
                await _send(send, status, {"error": reason, "message": sentence}, headers)

    async def _answer(self, scope: Scope, receive: Receive) -> Accepted | TurnedAway:
        if scope["method"] != "POST":
            return NOT_POST
        if not _says_json(scope["headers"]):
            return NOT_JSON
        body = await _read(receive, self._limits)
        if isinstance(body, TurnedAway):
            return body
        now = self._clock()
        match verify(scope["headers"], body, self._secrets(now), now, self._limits.tolerance):
            case NotVerified(reason, sentence):
                return TurnedAway(401, reason, sentence)
            case Verified() as verified:
                self._metrics.secret_hits.labels(verified.secret.label).inc()
                return await self._store(examine(verified, body, self._keep))

    async def _store(self, arrival: Arrival) -> Accepted | TurnedAway:
        match await self._intake.store(arrival):
            case Recorded(outcome=outcome):
                self._metrics.deliveries.labels(outcome, arrival.state).inc()
                return Accepted(arrival.delivery_id, outcome, arrival.state)
            case NotStored(reason):
                return TurnedAway(503, reason, "The delivery could not be stored. Send it again.", COME_AGAIN)


def examine(verified: Verified, body: bytes, keep: Keep) -> Arrival:
    """What of a verified delivery is to be stored: no content if it cannot be read or is another team's."""
    arrival = partial(
        Arrival,
        delivery_id=verified.delivery_id,
        signed_at=verified.signed_at,
        secret_label=verified.secret.label,
        size=len(body),
        sha256=sha256_hex(body),
    )
    try:
        trimmed = trim(_parsed(body), keep)
    except Unreadable:
        return arrival(state="unreadable")
    arrival = partial(arrival, event_type=trimmed.event_type, team_id=trimmed.team_id)
    if trimmed.team_id != verified.secret.team_id:
        return arrival(state="foreign")
    return arrival(state="new", order_id=trimmed.order_id, body=trimmed.body)


def _parsed(body: bytes) -> object:
    try:
        payload: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("not JSON that Python can read") from error
    # What opens no more often cannot be deeper, and to count that is quicker than to look.
    if body.count(b"{") + body.count(b"[") >= DEEPEST and _is_deeper_than(DEEPEST, payload):
        raise Unreadable(f"nested deeper than {DEEPEST} levels")
    return payload


def _is_deeper_than(depth: int, payload: object) -> bool:
    level = [payload]
    for _ in range(depth):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def _says_json(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"content-type" and value.partition(b";")[0].strip().lower() == b"application/json"
        for name, value in headers
    )


async def _read(receive: Receive, limits: Limits) -> bytes | TurnedAway:
    try:
        async with asyncio.timeout(limits.body_time.total_seconds()):
            return await _read_up_to(limits.body, receive)
    except TimeoutError:
        return TOO_SLOW


async def _read_up_to(limit: int, receive: Receive) -> bytes | TurnedAway:
    """Raises Gone. Counts what really comes, whatever its sender declared."""
    body, size, more = bytearray(), 0, True
    while more and size <= limit + OVERSHOOT:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            body += part
        more = message.get("more_body", False)
    return bytes(body) if size <= limit else TOO_LARGE


async def _send(send: Send, status: int, content: Mapping[str, str], headers: Headers = ()) -> None:
    body = json.dumps(content).encode()
    fixed: Headers = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
