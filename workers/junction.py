"""The one place that speaks HTTP to Junction: a call goes out, a value comes back that says what we now know.

Nothing is sent twice from here and no redirect is followed; asking again is for whoever asked. What each
answer means for an order, and who has to do something about it, is in docs/errors.md.
"""

from __future__ import annotations

import copy
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Timer
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar

import httpx
import orjson

from workers.core.events import Json, Keep, read_appointment, read_order, trim_appointment, trim_order
from workers.core.order import HOME_VISIT, PSC, Order
from workers.permits import Granted, Permits, Prepaid, Wait

LARGEST_ANSWER = 4 * 1024 * 1024  # bytes; a hundred long orders are about one megabyte
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 3600.0  # seconds; the bounds of any Retry-After
USUAL_WAIT = 30.0  # seconds, where a 429 does not say how long
WITHOUT_PERMITS = 5.0  # seconds; Redis cannot be asked, and restarts about that fast
NOBODY_BEHIND = (502, 503, 504)  # a gateway answers that Junction does not

Environment = Literal["sandbox", "production"]
ENVIRONMENTS: dict[str, Environment] = {"sk": "sandbox", "pk": "production"}
REGIONS = ("us", "eu")
HOSTS: dict[str, tuple[Environment, str]] = {
    "api.us.junction.com": ("production", "us"),
    "api.eu.junction.com": ("production", "eu"),
    "api.sandbox.us.junction.com": ("sandbox", "us"),
    "api.sandbox.eu.junction.com": ("sandbox", "eu"),
    # From the time when Junction was called Vital; they still answer.
    "api.tryvital.io": ("production", "us"),
    "api.eu.tryvital.io": ("production", "eu"),
    "api.sandbox.tryvital.io": ("sandbox", "us"),
    "api.sandbox.eu.tryvital.io": ("sandbox", "eu"),
}
_APPOINTMENTS = {PSC: "psc", HOME_VISIT: "phlebotomy"}  # as they are called in paths
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_KEY = re.compile(r"(?P<kind>[sp]k)_(?P<region>us|eu)_[A-Za-z0-9_\-]+")
_ID = re.compile(r"[A-Za-z0-9_\-]{1,128}")  # no dot and no slash: an id must not lead to another path
_ALREADY = re.compile(r"already (been )?cancell?ed", re.IGNORECASE)
_TRANSITION = re.compile(r"transition .*not allowed", re.IGNORECASE)
_NOT_ENABLED = re.compile(r"not enabled", re.IGNORECASE)

T = TypeVar("T")


# --- what may come back ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One call, as the attempts table keeps it; the type of the value says what came of it.

    at: when Junction answered, by its own clock if the answer was dated, else by ours.
    date: the answer's `Date`, to compare clocks with; None without an answer or without the header.
    why: the reason in one word of ours, where the type alone does not say it. Never Junction's own text.
    """

    call: str
    at: datetime
    date: datetime | None = None
    http_status: int | None = None
    latency_ms: int | None = None
    why: str | None = None

    @property
    def outcome(self) -> str:
        """`found`, `refused: transition_not_allowed`: at most 64 characters."""
        word = _snake(type(self).__name__)
        return f"{word}: {self.why}"[:64] if self.why else word


@dataclass(frozen=True, slots=True)
class Found(Exchange, Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class Missing(Exchange):
    """404: there is no such order, or it has no such appointment."""


@dataclass(frozen=True, slots=True)
class Denied(Exchange):
    """401 or 403: the key is wrong, or the order is another team's. Somebody must look at the settings."""


@dataclass(frozen=True, slots=True)
class Unavailable(Exchange):
    """503 because scheduling is not enabled, for the team or for this provider. Asking again is no use."""


@dataclass(frozen=True, slots=True)
class Limited(Exchange):
    """Too many calls. Surely not applied; worth trying again after so many seconds."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class Postponed(Exchange):
    """Not even tried: no permit for so many seconds."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class NoAnswer(Exchange):
    """A look that taught us nothing: no answer, or none we can read."""


@dataclass(frozen=True, slots=True)
class Accepted(Exchange):
    """Junction said yes, which proves nothing yet. `order`: what it showed of the order, as news."""

    order: Order | None


@dataclass(frozen=True, slots=True)
class Refused(Exchange):
    """Junction will not do that as things stand. Final until the order changes."""


@dataclass(frozen=True, slots=True)
class AlreadyCancelled(Exchange):
    """What we wish for has happened already."""


@dataclass(frozen=True, slots=True)
class NotSent(Exchange):
    """Surely not applied: no byte of the request has left us."""


@dataclass(frozen=True, slots=True)
class Unknown(Exchange):
    """It may have been applied, now or later. Only looking at the order can tell."""


Look: TypeAlias = Found[T] | Missing | Denied | Unavailable | Limited | Postponed | NoAnswer
Act: TypeAlias = (
    Accepted | Refused | AlreadyCancelled | Missing | Denied | Limited | Postponed | NotSent | Unknown
)


@dataclass(frozen=True, slots=True)
class Page:
    """`unreadable`: orders on this page that could not be read. `more`: another page may follow."""

    orders: tuple[Order, ...]
    unreadable: int
    more: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an appointment may be cancelled, from Junction's own list."""

    id: str
    name: str
    refundable: bool


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end`, aware; at most 60 days apart (Junction's limit for resending)."""

    start: datetime
    end: datetime


# --- the address and the key -----------------------------------------------------------------------------


class WrongAddress(ValueError):
    """The base URL and the API key do not belong together. The text names no key."""


def environment_of(api_key: str) -> Environment | None:
    """What the key is for, by its prefix; None when it is no Junction key."""
    key = _KEY.fullmatch(api_key)
    return ENVIRONMENTS[key["kind"]] if key else None


def check_address(base_url: str, api_key: str) -> None:
    """Raises WrongAddress unless the key belongs to this host. A stand-in on loopback takes sandbox keys."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise WrongAddress(f"the base URL is none: {error}") from None
    key = _KEY.fullmatch(api_key)
    if key is None:
        raise WrongAddress("the API key does not begin with sk_us_, sk_eu_, pk_us_ or pk_eu_")
    if url.userinfo or url.query or url.fragment or url.path != "/":
        raise WrongAddress("the base URL must be a scheme and a host, nothing else")
    environment, region = ENVIRONMENTS[key["kind"]], key["region"]
    if url.host in LOOPBACK and url.scheme in ("http", "https"):
        if environment != "sandbox":
            raise WrongAddress("a production key must not go to a stand-in on this machine")
    elif url.scheme != "https" or url.port is not None or url.host not in HOSTS:
        raise WrongAddress(f"not an address of Junction's: {url}; known are {', '.join(HOSTS)}, by https")
    elif HOSTS[url.host] != (environment, region):
        raise WrongAddress(f"{url.host} does not take a {environment} key of region {region}")


# --- the client ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `read` and `write` bound each wait for the network, `total` the whole exchange."""

    connect: float = 5.0
    read: float = 20.0
    write: float = 5.0
    pool: float = 5.0
    total: float = 30.0


class Junction:
    """Junction's API for one key. Any number of threads may share it.

    keep: what of an order may be kept; all else is cut off here. now: aware UTC. permits: None asks nobody.
    transport: httpx.MockTransport and the like. Raises WrongAddress.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        keep: Keep,
        *,
        now: Callable[[], datetime],
        permits: Permits | None = None,
        timeouts: Timeouts | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        check_address(base_url, api_key)
        self.keep = keep
        self.now = now
        self.permits: Permits | Prepaid | None = permits
        self._bucket = permits
        self.timeouts = timeouts or Timeouts()
        self._client = httpx.Client(
            base_url=base_url,
            headers={
                "x-vital-api-key": api_key,
                "user-agent": "autocancel",
                "accept": "application/json",
                "accept-encoding": "identity",  # what is read stays in proportion to what was sent
                # A fresh connection for each call: one that Junction closed while it lay idle looks just
                # like one that died under our request, and would be a needless "unknown".
                "connection": "close",
            },
            timeout=httpx.Timeout(
                connect=self.timeouts.connect,
                read=self.timeouts.read,
                write=self.timeouts.write,
                pool=self.timeouts.pool,
            ),
            follow_redirects=False,
            trust_env=False,  # the key goes to Junction and to no proxy that a variable names
            transport=transport,
        )

    def close(self) -> None:
        self._client.close()

    def prepaid(self, calls: int) -> Self | Postponed:
        """The same client with permits for so many calls in hand, or how long to wait for them."""
        if self._bucket is None:
            return self
        permit = self._bucket.take(calls)
        if not isinstance(permit, Granted):
            wait = permit.seconds if isinstance(permit, Wait) else WITHOUT_PERMITS
            return Postponed(wait, call="permit", at=self.now())
        # While the circuit is being probed, one call is all that is granted.
        client = copy.copy(self)
        client.permits = Prepaid(self._bucket, 1 if permit.probe else calls)
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Looking changes nothing at Junction.

    def get_order(self, order_id: str) -> Look[Order]:
        return self._look("get_order", "GET", f"/v3/order/{_id(order_id)}", self._order(order_id))

    def get_appointment(self, order_id: str, kind: str) -> Look[Order]:
        """The active appointment, as news of its order. `kind`: PSC or HOME_VISIT."""
        path = f"/v3/order/{_id(order_id)}/{_APPOINTMENTS[kind]}/appointment"
        return self._look("get_appointment", "GET", path, self._appointment(order_id))

    def list_orders(self, updated: Window, page: int = 1, size: int = 100) -> Look[Page]:
        """Orders updated within the window. Not sorted by that: a change under way may shift the pages."""
        query = {
            "updated_start_date": updated.start.isoformat(),
            "updated_end_date": updated.end.isoformat(),
            "page": page,
            "size": size,
        }

        def read(body: object, at: datetime) -> Page | None:
            found = body.get("orders") if isinstance(body, Mapping) else None
            if not isinstance(found, list):
                return None
            orders = [order for item in found if (order := self._read_order(item, at))]
            return Page(tuple(orders), len(found) - len(orders), more=len(found) >= size)

        return self._look("list_orders", "GET", "/v3/orders", read, params=query)

    def cancellation_reasons(self, kind: str) -> Look[tuple[Reason, ...]]:
        """For appointments of this kind, PSC or HOME_VISIT."""
        path = f"/v3/order/{_APPOINTMENTS[kind]}/appointment/cancellation-reasons"
        return self._look("cancellation_reasons", "GET", path, _read_reasons)

    def resend_events(self, which: Sequence[str] | Window) -> Look[tuple[str, ...]]:
        """Asks for the latest event of each order once more; the ids of those that will come.

        Harmless when it happens twice: what is sent again is known already.
        """
        if isinstance(which, Window):
            wish: Json = {"start_at": which.start.isoformat(), "end_at": which.end.isoformat()}
        else:
            wish = {"order_ids": list(which)}
        return self._look("resend_events", "POST", "/v3/order/resend_events", _read_ids, json=wish)

    # Acting does. `before_send` is asked before connecting and again just before the first byte goes out;
    # it must be quick, and False means NotSent.

    def cancel_order(self, order_id: str, *, before_send: Callable[[], bool]) -> Act:
        path = f"/v3/order/{_id(order_id)}/cancel"
        return self._act("cancel_order", "POST", path, self._order(order_id), before_send)

    def cancel_psc_appointment(
        self, order_id: str, reason_id: str, *, before_send: Callable[[], bool]
    ) -> Act:
        path = f"/v3/order/{_id(order_id)}/psc/appointment/cancel"
        wish = {"cancellationReasonId": reason_id}  # as in the reference; the guide spells it like below
        read = self._appointment(order_id)
        return self._act("cancel_psc_appointment", "PATCH", path, read, before_send, json=wish)

    def cancel_home_visit(self, order_id: str, reason_id: str, *, before_send: Callable[[], bool]) -> Act:
        path = f"/v3/order/{_id(order_id)}/phlebotomy/appointment/cancel"
        wish = {"cancellation_reason_id": reason_id}
        read = self._appointment(order_id)
        return self._act("cancel_home_visit", "PATCH", path, read, before_send, json=wish)

    # From an answer to its meaning.

    def _look(self, call: str, method: str, path: str, read: Reader[T], **content: Any) -> Look[T]:
        reply = self._exchange(call, method, path, **content)
        match reply:
            case Postponed():
                return reply
            case _Lost(why=why):
                return NoAnswer(**reply.noted, why=why)
        noted = reply.noted
        match reply.http_status:
            case 200 if (value := read(reply.body, reply.at)) is not None:
                return Found(value, **noted)
            case 200:
                return NoAnswer(**noted, why=reply.why or "unreadable")
            case 401 | 403:
                return Denied(**noted)
            case 404:
                return Missing(**noted)
            case 503 if reply.not_enabled:
                return Unavailable(**noted)
            case 429 | 503 if reply.quiet_for is not None:
                return Limited(reply.quiet_for, **noted)
            case status:
                return NoAnswer(**noted, why=f"http_{status}")

    def _act(
        self,
        call: str,
        method: str,
        path: str,
        read: Reader[Order],
        before_send: Callable[[], bool],
        **content: Any,
    ) -> Act:
        reply = self._exchange(call, method, path, before_send, **content)
        match reply:
            case Postponed():
                return reply
            case _Lost(sent=False, why=why):
                return NotSent(**reply.noted, why=why)
            case _Lost(why=why):
                return Unknown(**reply.noted, why=why)
        noted = reply.noted
        match reply.http_status:
            case 200 if isinstance(reply.body, Mapping):
                return Accepted(read(reply.body, reply.at), **noted)
            case 200:
                return Unknown(**noted, why=reply.why or "unreadable")
            case 400 if _ALREADY.search(reply.message):
                return AlreadyCancelled(**noted)
            case 400 if _TRANSITION.search(reply.message):
                return Refused(**noted, why="transition_not_allowed")
            case 400 | 422 as status:
                return Refused(**noted, why=f"http_{status}")
            case 401 | 403:
                return Denied(**noted)
            case 404:
                return Missing(**noted)
            case 429 if reply.quiet_for is not None:
                return Limited(reply.quiet_for, **noted)
            case status:
                # 409 and redirects too: the request has arrived, and nobody says that it was not applied.
                return Unknown(**noted, why=f"http_{status}")

    def _order(self, order_id: str) -> Reader[Order]:
        """Reads this order, bare or as `{order, status, message}`."""

        def read(body: object, at: datetime) -> Order | None:
            inner = body.get("order", body) if isinstance(body, Mapping) else None
            order = self._read_order(inner, at)
            return order if order and order.id == order_id else None

        return read

    def _read_order(self, body: object, at: datetime) -> Order | None:
        return read_order(trim_order(body, self.keep), at) if isinstance(body, Mapping) else None

    def _appointment(self, order_id: str) -> Reader[Order]:
        def read(body: object, at: datetime) -> Order | None:
            if not isinstance(body, Mapping):
                return None
            order = read_appointment(trim_appointment(body, self.keep), at)
            return order if order and order.id == order_id else None

        return read

    # From a request to an answer.

    def _exchange(
        self, call: str, method: str, path: str, before_send: Callable[[], bool] | None = None, **content: Any
    ) -> _Reply | _Lost | Postponed:
        if before_send and not before_send():
            return _Lost(sent=False, call=call, at=self.now(), why="too_late")
        permit = self.permits.take() if self.permits else Granted(probe=False)
        if not isinstance(permit, Granted):
            wait = permit.seconds if isinstance(permit, Wait) else WITHOUT_PERMITS
            return Postponed(wait, call=call, at=self.now())
        reply = self._send(call, self._client.build_request(method, path, **content), _Wire(before_send))
        if self.permits:
            _report(self.permits, permit, reply)
        return reply

    def _send(self, call: str, request: httpx.Request, wire: _Wire) -> _Reply | _Lost:
        request.extensions["trace"] = wire.trace
        started = time.monotonic()
        try:
            with wire.cut_after(self.timeouts.total):
                answer = self._client.send(request, stream=True)
                body, why = _body_of(answer)
        except (httpx.RequestError, _TooLate) as error:
            sent = wire.sent or not isinstance(error, BEFORE_THE_FIRST_BYTE)
            why = "deadline" if wire.cut else _snake(type(error).__name__)
            latency_ms = _ms_since(started)
            return _Lost(sent=sent, call=call, at=self.now(), latency_ms=latency_ms, why=why)
        date = _date(answer.headers.get("date", ""))
        at = date or self.now()
        return _Reply(
            call=call,
            at=at,
            date=date,
            http_status=answer.status_code,
            latency_ms=_ms_since(started),
            why="deadline" if why and wire.cut else why,
            body=body,
            retry_after=_retry_after(answer.headers.get("retry-after", ""), at),
        )


def _report(permits: Permits | Prepaid, permit: Granted, reply: _Reply | _Lost) -> None:
    """Tells all workers how it went. Neither call raises: the answer in our hands must not get lost."""
    match reply:
        case _Lost(why="too_late"):
            return  # it was we who gave up
        case _Lost():
            permits.report(permit, ok=False)
        case _Reply():
            permits.report(permit, ok=reply.not_enabled or reply.http_status not in NOBODY_BEHIND)
            if reply.quiet_for is not None:
                permits.back_off(reply.quiet_for)


# --- one exchange ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted(Exchange):
    @property
    def noted(self) -> dict[str, Any]:
        """What every outcome repeats; `why` is for the outcome to say."""
        return {field.name: getattr(self, field.name) for field in fields(Exchange) if field.name != "why"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lost(_Noted):
    """No answer. `sent`: some of the request may have reached Junction."""

    sent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply(_Noted):
    """An answer: `body` is its JSON; None when there is none to be had, and `why` says why."""

    body: object
    retry_after: float | None

    @property
    def message(self) -> str:
        """Junction's words, to be matched and never kept: they may name somebody."""
        message = self.body.get("message") if isinstance(self.body, Mapping) else None
        return message if isinstance(message, str) else ""

    @property
    def not_enabled(self) -> bool:
        return self.http_status == 503 and _NOT_ENABLED.search(self.message) is not None

    @property
    def quiet_for(self) -> float | None:
        """How long Junction wants no calls from us, in seconds; None when it does not mind."""
        if self.http_status == 429:
            return self.retry_after or USUAL_WAIT
        return self.retry_after


class _TooLate(Exception):
    """The request must not go out any more."""


BEFORE_THE_FIRST_BYTE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, _TooLate)


class _Wire:
    """Watches one exchange from inside httpcore: has the first byte gone out, and does it end in time?

    httpcore announces each step by name. It never repeats a request by itself: without retries it asks for
    another connection only as long as nothing has been written.
    """

    def __init__(self, before_send: Callable[[], bool] | None) -> None:
        self.sent = False
        self.cut = False
        self._before_send = before_send
        self._socket: socket.socket | None = None

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
        elif event == "http11.send_request_headers.started":
            if (self._before_send and not self._before_send()) or self.cut:
                raise _TooLate
            self.sent = True

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """Ends the connection when the time is up: httpx bounds each wait, but not their sum."""
        timer = Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self.cut = True
        if self._socket is not None:
            with suppress(OSError):  # it has just been closed
                # Not the TLS socket's own method: that one would go on in clear text first.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _body_of(answer: httpx.Response) -> tuple[object, str | None]:
    """The JSON of the answer, or None and why there is none."""
    body = bytearray()
    try:
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > LARGEST_ANSWER:
                return None, "too_large"
        return orjson.loads(body), None
    except httpx.RequestError as error:
        return None, _snake(type(error).__name__)
    except orjson.JSONDecodeError:
        return None, "unreadable"
    finally:
        answer.close()


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _date(text: str) -> datetime | None:
    """An HTTP date as aware UTC, or None."""
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _retry_after(text: str, now: datetime) -> float | None:
    """Seconds from a `Retry-After` of either form, within bounds; None when there is none to read."""
    if re.fullmatch(r"[0-9]{1,9}", text):
        wait = float(text)
    elif until := _date(text):
        wait = (until - now).total_seconds()
    else:
        return None
    return min(max(wait, SHORTEST_WAIT), LONGEST_WAIT)


# --- reading ---------------------------------------------------------------------------------------------

# What a body says, seen at a time; None when it does not say it.
Reader: TypeAlias = Callable[[object, datetime], T | None]


def _read_reasons(body: object, _at: datetime) -> tuple[Reason, ...] | None:
    if not isinstance(body, list):
        return None
    return tuple(
        Reason(item["id"], str(item.get("name", "")), item.get("is_refundable") is True)
        for item in body
        if isinstance(item, Mapping) and _is_id(item.get("id"))
    )


def _read_ids(body: object, _at: datetime) -> tuple[str, ...] | None:
    found = body.get("order_ids") if isinstance(body, Mapping) else None
    return tuple(item for item in found if _is_id(item)) if isinstance(found, list) else None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _id(order_id: str) -> str:
    """For a path. Raises ValueError rather than ask Junction for something else."""
    if not _is_id(order_id):
        raise ValueError(f"no order id: {order_id!r:.80}")
    return order_id


def _snake(name: str) -> str:
    """`ReadTimeout` as `read_timeout`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().lstrip("_")
