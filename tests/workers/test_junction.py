"""Calls to Junction: each answer, each way to lose one, and that an act goes out at most once."""

import gzip
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any, Self

import httpx
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from sandbox import canaries
from sandbox.running import RunningSandbox
from workers.core.events import Keep
from workers.core.order import HOME_VISIT, PSC, NoAppointment, Order
from workers.junction import (
    LARGEST_ANSWER,
    Accepted,
    Act,
    AlreadyCancelled,
    Denied,
    Exchange,
    Found,
    Junction,
    Limited,
    Look,
    Missing,
    NoAnswer,
    NotSent,
    Postponed,
    Refused,
    Timeouts,
    Unavailable,
    Unknown,
    Window,
    WrongAddress,
    check_address,
    environment_of,
)
from workers.permits import Permits, Wait, traffic

KEY = "sk_us_sandbox"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ORDER = "84d9ad92-3bd9-4b46-8c1c-4d11e9a6a101"
DATED = {"date": "Mon, 02 Mar 2026 11:59:58 GMT"}
KEEP = Keep(b"a key for tests")
PATIENT = Timeouts()
IMPATIENT = Timeouts(read=0.2)
IN_A_HURRY = Timeouts(total=0.3)


def a_junction(
    base_url: str,
    *,
    timeouts: Timeouts = PATIENT,
    permits: Permits | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Junction:
    return Junction(
        base_url, KEY, KEEP, now=lambda: NOW, permits=permits, timeouts=timeouts, transport=transport
    )


def answering(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Junction:
    """Junction's API, always with the same answer."""
    answer = {"content": body} if isinstance(body, bytes) else {"json": body}
    transport = httpx.MockTransport(lambda _: httpx.Response(status, headers=headers or {}, **answer))
    return a_junction("http://127.0.0.1", transport=transport)


def breaking(error: Exception) -> Junction:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    return a_junction("http://127.0.0.1", transport=httpx.MockTransport(fail))


def cancelled(junction: Junction, order_id: str = ORDER) -> Act:
    return junction.cancel_order(order_id, before_send=lambda: True)


def an_order(order_id: str = ORDER, status: str = "received.testkit.ordered") -> dict[str, Any]:
    event = {"id": 1, "created_at": "2026-03-01T10:00:00Z", "status": status}
    return {"id": order_id, "details": {"type": "testkit"}, "events": [event]}


# --- raw servers ----------------------------------------------------------------------------------------


class RawServer:
    """Plays a script to each connection, then closes it; keeps the requests it has read."""

    def __init__(self, script: "Script") -> None:
        self.script = script
        self.connections = 0
        self.requests: list[bytes] = []
        self.over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:  # grows while the first of them, which accepts, is waited for
            thread.join()
        self._listener.close()

    def read(self, connection: socket.socket) -> None:
        """One request without a body; ConnectionError when the client has gone."""
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            if not (piece := connection.recv(65_536)):
                raise ConnectionError
            request += piece
        self.requests.append(request)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        """Until the test is over and nobody waits at the door any more."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                if self.over.is_set():
                    return
                continue
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client may well leave first
            self.script(self, connection)


Script = Callable[[RawServer, socket.socket], None]


def hang_up(_server: RawServer, _connection: socket.socket) -> None:
    """Not a word."""


def stay_silent(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    server.over.wait()


def answer(*pieces: bytes) -> Script:
    def script(server: RawServer, connection: socket.socket) -> None:
        server.read(connection)
        for piece in pieces:
            connection.sendall(piece)

    return script


def trickle(beginning: bytes, rest: bytes) -> Script:
    """The rest again and again, slowly, until the client has gone."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(beginning)
        while not server.over.wait(0.05):
            connection.sendall(rest)

    return script


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
REDIRECT = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n"
WAYS_TO_LOSE_AN_ANSWER: dict[str, tuple[Script, Timeouts, str]] = {
    "closed after the request": (answer(), PATIENT, "remote_protocol_error"),
    "never answered": (stay_silent, IMPATIENT, "read_timeout"),
    "garbage": (answer(b"\x00\xff garbage\r\n\r\n"), PATIENT, "remote_protocol_error"),
    "cut in the head": (answer(HEAD), PATIENT, "remote_protocol_error"),
    "cut in the body": (
        answer(HEAD + b'content-length: 400\r\n\r\n{"order": '),
        PATIENT,
        "remote_protocol_error",
    ),
    "half of the JSON": (answer(HEAD + b'content-length: 10\r\n\r\n{"order": '), PATIENT, "unreadable"),
    "no JSON": (answer(HEAD + b"content-length: 4\r\n\r\nfine"), PATIENT, "unreadable"),
    "nothing but a head": (answer(HEAD + b"content-length: 0\r\n\r\n"), PATIENT, "unreadable"),
    "a giant": (answer(HEAD + b"\r\n", *[b" " * 2**20] * 5), PATIENT, "too_large"),
    "a giant in a small parcel": (
        answer(HEAD + b"content-encoding: gzip\r\n\r\n", gzip.compress(b" " * 2**23)),
        PATIENT,
        "too_large",
    ),
    "a broken parcel": (
        answer(HEAD + b"content-encoding: gzip\r\n\r\nnot gzip"),
        PATIENT,
        "decoding_error",
    ),
    "a slow body": (trickle(HEAD + b"\r\n", b" "), IN_A_HURRY, "deadline"),
    "a slow head": (trickle(HEAD, b"x-so-slow: 1\r\n"), IN_A_HURRY, "deadline"),
    "a redirect": (answer(REDIRECT % b"/elsewhere"), PATIENT, "http_307"),
    "a redirect to nowhere": (answer(REDIRECT % b"http://host:port/"), PATIENT, "remote_protocol_error"),
}


@pytest.fixture(params=WAYS_TO_LOSE_AN_ANSWER)
def losing(request: pytest.FixtureRequest) -> Iterator[tuple[RawServer, Timeouts, str]]:
    """A server that reads the request and loses the answer in one of many ways; and our word for it."""
    script, timeouts, why = WAYS_TO_LOSE_AN_ANSWER[request.param]
    with RawServer(script) as server:
        yield server, timeouts, why


def test_an_act_whose_answer_is_lost_is_unknown_and_never_repeated(
    losing: tuple[RawServer, Timeouts, str],
) -> None:
    server, timeouts, why = losing
    with a_junction(server.url, timeouts=timeouts) as junction:
        outcome = cancelled(junction)
    assert isinstance(outcome, Unknown)
    assert outcome.why == why
    assert server.connections == len(server.requests) == 1


def test_a_look_whose_answer_is_lost_teaches_nothing(losing: tuple[RawServer, Timeouts, str]) -> None:
    server, timeouts, why = losing
    with a_junction(server.url, timeouts=timeouts) as junction:
        outcome = junction.get_order(ORDER)
    assert isinstance(outcome, NoAnswer)
    assert outcome.why == why
    assert server.connections == len(server.requests) == 1


def test_a_connection_that_ends_at_once_leaves_us_in_doubt() -> None:
    """The request may have been on its way."""
    with RawServer(hang_up) as server, a_junction(server.url) as junction:
        assert isinstance(cancelled(junction), Unknown)
    assert server.connections == 1


# --- not sent -------------------------------------------------------------------------------------------


def test_a_refused_connection_means_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with a_junction(url) as junction:
        outcome = cancelled(junction)
    assert isinstance(outcome, NotSent)
    assert outcome.outcome == "not_sent: connect_error"


@pytest.mark.parametrize(("script", "why"), [(answer(), "connect_timeout"), (hang_up, "connect_error")])
def test_a_tls_handshake_that_fails_means_not_sent(script: Script, why: str) -> None:
    with RawServer(script) as server:
        url = server.url.replace("http:", "https:")
        with a_junction(url, timeouts=Timeouts(connect=0.2)) as junction:
            outcome = cancelled(junction)
    assert isinstance(outcome, NotSent)
    assert outcome.why == why


def test_a_server_that_never_takes_the_connection_leaves_us_in_doubt() -> None:
    # The kernel connects and takes the request in the server's name; the server may read it some day.
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        a_junction(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts=IMPATIENT) as junction,
    ):
        assert isinstance(cancelled(junction), Unknown)


@pytest.fixture
def attentive() -> RawServer:
    """A server that keeps whatever reaches it, be it a single byte."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.requests.append(connection.recv(1))

    return RawServer(script)


def test_whoever_is_too_late_before_connecting_does_not_connect(attentive: RawServer) -> None:
    with attentive, a_junction(attentive.url) as junction:
        outcome = junction.cancel_order(ORDER, before_send=lambda: False)
    assert isinstance(outcome, NotSent)
    assert outcome.why == "too_late"
    assert attentive.connections == 0


def test_whoever_is_too_late_once_connected_sends_nothing(attentive: RawServer) -> None:
    answers = iter([True, False])
    with attentive, a_junction(attentive.url) as junction:
        outcome = junction.cancel_order(ORDER, before_send=lambda: next(answers))
    assert isinstance(outcome, NotSent)
    assert outcome.why == "too_late"
    assert attentive.requests == [b""]


def test_a_deadline_that_passes_before_the_first_byte_means_not_sent(attentive: RawServer) -> None:
    pauses = iter([0.0, 0.5])

    def slow_to_agree() -> bool:
        attentive.over.wait(next(pauses))
        return True

    with attentive, a_junction(attentive.url, timeouts=Timeouts(total=0.1)) as junction:
        outcome = junction.cancel_order(ORDER, before_send=slow_to_agree)
    assert isinstance(outcome, NotSent)
    assert outcome.why == "deadline"
    assert attentive.requests == [b""]


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_errors_from_before_the_first_byte_mean_not_sent(error: type[httpx.TransportError]) -> None:
    assert isinstance(cancelled(breaking(error("boom"))), NotSent)


@pytest.mark.parametrize(
    "error",
    [
        httpx.WriteError,
        httpx.WriteTimeout,
        httpx.ReadError,
        httpx.ReadTimeout,
        httpx.RemoteProtocolError,
        httpx.LocalProtocolError,
        httpx.ProxyError,
        httpx.CloseError,
        httpx.DecodingError,
    ],
)
def test_any_other_error_means_unknown(error: type[httpx.RequestError]) -> None:
    assert isinstance(cancelled(breaking(error("boom"))), Unknown)


def test_no_error_after_the_first_byte_can_mean_not_sent() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        request.extensions["trace"]("http11.send_request_headers.started", {})
        raise httpx.ConnectError("the wrong name for it")

    outcome = cancelled(a_junction("http://127.0.0.1", transport=httpx.MockTransport(fail)))
    assert isinstance(outcome, Unknown)


# --- connections ----------------------------------------------------------------------------------------


def test_each_call_has_a_connection_of_its_own() -> None:
    """So none can die of old age under a request."""

    def serve_many(server: RawServer, connection: socket.socket) -> None:
        while True:
            server.read(connection)
            connection.sendall(HEAD + b"content-length: 2\r\n\r\n{}")

    with RawServer(serve_many) as server, a_junction(server.url) as junction:
        for _ in range(3):
            assert isinstance(cancelled(junction), Accepted)
    assert server.connections == len(server.requests) == 3


def test_a_request_is_complete_in_itself_and_asks_for_nothing_fancy() -> None:
    with (
        RawServer(answer(HEAD + b"content-length: 2\r\n\r\n{}")) as server,
        a_junction(server.url) as junction,
    ):
        cancelled(junction)
    (request,) = server.requests
    line, *headers = request.decode().lower().split("\r\n")
    assert line == f"post /v3/order/{ORDER}/cancel http/1.1"
    assert {f"x-vital-api-key: {KEY}", "connection: close", "accept-encoding: identity"} <= set(headers)


def test_a_proxy_named_by_the_environment_never_sees_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answer()) as proxy, RawServer(answer()) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with a_junction(server.url) as junction:
            cancelled(junction)
    assert (proxy.connections, server.connections) == (0, 1)


# --- the meaning of each answer ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "meaning", "why"),
    [
        (400, Refused, "http_400"),
        (401, Denied, None),
        (403, Denied, None),
        (404, Missing, None),
        (409, Unknown, "http_409"),
        (422, Refused, "http_422"),
        (429, Limited, None),
        (418, Unknown, "http_418"),
        (408, Unknown, "http_408"),
        (201, Unknown, "http_201"),
        (302, Unknown, "http_302"),
        (500, Unknown, "http_500"),
        (502, Unknown, "http_502"),
        (503, Unknown, "http_503"),
        (504, Unknown, "http_504"),
    ],
)
@pytest.mark.parametrize("body", [{}, b"<html>"])
def test_what_an_act_learns_from_a_status(
    status: int, meaning: type[Exchange], why: str | None, body: object
) -> None:
    outcome = cancelled(answering(status, body))
    assert type(outcome) is meaning
    assert (outcome.http_status, outcome.why) == (status, why)


@pytest.mark.parametrize(
    ("status", "headers", "meaning"),
    [
        (400, {}, NoAnswer),
        (401, {}, Denied),
        (403, {}, Denied),
        (404, {}, Missing),
        (422, {}, NoAnswer),
        (429, {}, Limited),
        (500, {}, NoAnswer),
        (503, {}, NoAnswer),
        (503, {"retry-after": "7"}, Limited),
    ],
)
def test_what_a_look_learns_from_a_status(
    status: int, headers: dict[str, str], meaning: type[Exchange]
) -> None:
    assert type(answering(status, {}, headers).get_order(ORDER)) is meaning


@pytest.mark.parametrize(
    ("message", "meaning", "why"),
    [
        ("Transition from current_status to cancelled is not allowed", Refused, "transition_not_allowed"),
        ("Order already cancelled", AlreadyCancelled, None),
        ("This appointment has already been canceled.", AlreadyCancelled, None),
        ("The order is already completed and cannot be cancelled", Refused, "http_400"),
        (["odd"], Refused, "http_400"),
    ],
)
def test_a_400_is_understood_by_its_message(
    message: object, meaning: type[Exchange], why: str | None
) -> None:
    outcome = cancelled(answering(400, {"error": "Bad Request", "message": message, "status_code": 400}))
    assert type(outcome) is meaning
    assert outcome.why == why


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 1.0),
        ("999999", 3600.0),
        ("Mon, 02 Mar 2026 12:01:00 GMT", 62.0),  # counted from the answer's own date
        ("Mon, 02 Mar 2026 11:00:00 GMT", 1.0),
        ("Mon, 02 Mar 2099 11:00:00 GMT", 3600.0),
        ("-5", 30.0),
        ("soon", 30.0),
        ("٣", 30.0),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(header: str, seconds: float) -> None:
    headers = DATED | {"retry-after": header}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    transport = httpx.MockTransport(lambda _: httpx.Response(429, headers=raw))
    outcome = cancelled(a_junction("http://127.0.0.1", transport=transport))
    assert isinstance(outcome, Limited)
    assert outcome.retry_after == seconds


def test_an_answer_is_as_old_as_its_date_header_says() -> None:
    found = answering(200, an_order(), DATED).get_order(ORDER)
    assert isinstance(found, Found)
    assert found.date == found.at == found.value.facts.observed_at == NOW - timedelta(seconds=2)


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}, {"date": "Mon, 02 Mar 2026 25:00:00 GMT"}])
def test_without_a_date_header_our_own_clock_counts(headers: dict[str, str]) -> None:
    found = answering(200, an_order(), headers).get_order(ORDER)
    assert isinstance(found, Found)
    assert found.date is None
    assert found.at == found.value.facts.observed_at == NOW


@pytest.mark.parametrize(
    "body", [None, [], "text", {}, {"id": None}, {"id": ORDER.replace("8", "9")}, {"order": {}}]
)
def test_a_200_that_does_not_show_the_order_is_no_answer(body: object) -> None:
    looked = answering(200, body).get_order(ORDER)
    assert isinstance(looked, NoAnswer)
    assert looked.why == "unreadable"


@pytest.mark.parametrize("body", [{}, {"order": None}, an_order("another"), {"message": "order cancelled"}])
def test_an_accepted_act_need_not_show_the_order(body: object) -> None:
    outcome = cancelled(answering(200, body))
    assert isinstance(outcome, Accepted)
    assert outcome.order is None


@pytest.mark.parametrize("text", ["..", "a/b", "a?b", "", "ä", "a" * 200, "a\r\nb"])
def test_an_id_cannot_lead_to_another_path(text: str) -> None:
    with pytest.raises(ValueError, match="no order id"):
        answering(200, {}).get_order(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
strange_orders = st.fixed_dictionaries(
    {"id": st.just(ORDER) | json_values},
    optional={
        name: json_values
        | st.lists(st.fixed_dictionaries({"id": json_values, "created_at": json_values, "status": st.text()}))
        | st.fixed_dictionaries({"type": json_values, "method": json_values, "data": json_values})
        for name in ("order", "order_id", "events", "last_event", "details", "lab_test", "updated_at")
    },
)


@settings(deadline=None)  # a busy machine is no failure
@given(body=json_values | strange_orders, date=st.text(), wait=st.text())
def test_no_answer_whatever_it_says_raises(body: object, date: str, wait: str) -> None:
    raw = [(b"date", date.encode()), (b"retry-after", wait.encode())]
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=raw, json=body))
    with a_junction("http://127.0.0.1", transport=transport) as junction:
        assert isinstance(junction.get_order(ORDER), Found | NoAnswer)
        assert isinstance(junction.get_appointment(ORDER, PSC), Found | NoAnswer)
        assert isinstance(junction.cancellation_reasons(PSC), Found | NoAnswer)
        assert isinstance(junction.list_orders(Window(NOW, NOW)), Found | NoAnswer)
        assert isinstance(cancelled(junction), Accepted | Unknown)


# --- against the sandbox ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox() as running:
        yield running


@pytest.fixture
def junction(sandbox: RunningSandbox) -> Iterator[Junction]:
    with a_junction(sandbox.url) as client:
        yield client


def test_a_cancelled_order_shows_it_and_refuses_to_be_cancelled_again(
    sandbox: RunningSandbox, junction: Junction
) -> None:
    order_id = sandbox.order()["id"]

    first, second = cancelled(junction, order_id), cancelled(junction, order_id)

    assert isinstance(first, Accepted)
    assert first.order is not None
    assert first.order.status is not None
    assert first.order.status.raw == "cancelled.testkit.cancelled"
    assert isinstance(second, Refused)
    assert second.outcome == "refused: transition_not_allowed"
    assert [call["status"] for call in sandbox.calls(operation="cancel_order", order_id=order_id)] == [
        200,
        400,
    ]


def test_the_bare_answer_of_the_guide_is_understood_too() -> None:
    with RunningSandbox(cancel_answer="bare") as sandbox, a_junction(sandbox.url) as junction:
        outcome = cancelled(junction, sandbox.order()["id"])
    assert isinstance(outcome, Accepted)
    assert outcome.order is not None
    assert not outcome.order.open


@pytest.mark.parametrize(
    ("method", "kind", "cancel"),
    [
        ("walk_in_test", PSC, Junction.cancel_psc_appointment),
        ("at_home_phlebotomy", HOME_VISIT, Junction.cancel_home_visit),
    ],
)
def test_an_appointment_is_found_and_cancelled_with_a_reason_from_the_list(
    sandbox: RunningSandbox,
    junction: Junction,
    method: str,
    kind: str,
    cancel: Callable[..., Act],
) -> None:
    order_id = sandbox.order(method=method)["id"]
    sandbox.appointment(order_id)
    reasons = junction.cancellation_reasons(kind)
    assert isinstance(reasons, Found)
    assert {reason.name: reason.refundable for reason in reasons.value}["Patient did not show up"] is False

    assert statuses(junction.get_appointment(order_id, kind)) == ["confirmed"]
    assert statuses(cancel(junction, order_id, reasons.value[0].id, before_send=lambda: True)) == [
        "cancelled"
    ]
    assert isinstance(junction.get_appointment(order_id, kind), Missing)
    assert isinstance(cancel(junction, order_id, reasons.value[0].id, before_send=lambda: True), Missing)


def statuses(outcome: Exchange) -> list[str]:
    """Of the appointments that the outcome brings news of."""
    match outcome:
        case Found(Order() as order) | Accepted(Order() as order):
            return [appointment.status for appointment in order.appointments]
        case _:
            return [outcome.outcome]


def test_an_unknown_reason_is_refused(sandbox: RunningSandbox, junction: Junction) -> None:
    order_id = sandbox.order(method="walk_in_test")["id"]
    sandbox.appointment(order_id)
    outcome = junction.cancel_psc_appointment(order_id, "no-such-reason", before_send=lambda: True)
    assert isinstance(outcome, Refused)


def test_an_order_without_an_appointment_says_so(sandbox: RunningSandbox, junction: Junction) -> None:
    order_id = sandbox.order(method="walk_in_test")["id"]
    assert isinstance(junction.get_appointment(order_id, PSC), Missing)
    found = junction.get_order(order_id)
    assert isinstance(found, Found)
    assert found.value.appointment is NoAppointment.NONE


def test_a_team_without_scheduling_is_told_apart_from_a_busy_junction() -> None:
    with RunningSandbox(psc_scheduling=False) as sandbox, a_junction(sandbox.url) as junction:
        order_id = sandbox.order(method="walk_in_test")["id"]
        assert isinstance(junction.get_appointment(order_id, PSC), Unavailable)
        sandbox.fault("status", status=503, count=1)
        assert isinstance(junction.get_order(order_id), NoAnswer)


def test_all_orders_of_a_window_are_found_page_by_page() -> None:
    with RunningSandbox() as sandbox, a_junction(sandbox.url) as junction:
        placed = {sandbox.order(created_at="2026-02-01T12:00:00Z")["id"] for _ in range(5)}
        sandbox.order(created_at="2026-01-01T12:00:00Z")
        window = Window(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC))
        pages = [junction.list_orders(window, page=page, size=2) for page in (1, 2, 3)]
    found = [page.value for page in pages if isinstance(page, Found)]
    assert [page.more for page in found] == [True, True, False]
    assert {order.id for page in found for order in page.orders} == placed


def test_an_order_that_cannot_be_read_does_not_hide_the_others() -> None:
    page = answering(200, {"orders": [an_order(), {"id": None}, 7]}).list_orders(Window(NOW, NOW))
    assert isinstance(page, Found)
    assert [order.id for order in page.value.orders] == [ORDER]
    assert page.value.unreadable == 2


def test_events_are_sent_again_by_order_or_by_window(sandbox: RunningSandbox, junction: Junction) -> None:
    order_id = sandbox.order()["id"]
    assert ids_of(junction.resend_events([order_id])) == {order_id}
    today = datetime.fromisoformat(sandbox.calls()[-1]["at"])
    assert order_id in ids_of(junction.resend_events(Window(today - timedelta(days=2), today)))


def ids_of(outcome: Look[tuple[str, ...]]) -> set[str]:
    assert isinstance(outcome, Found)
    return set(outcome.value)


@pytest.mark.parametrize(
    "fault", [{"kind": "timeout_after", "seconds": 0}, {"kind": "bad_json"}, {"kind": "drop"}]
)
def test_an_act_that_was_applied_without_an_answer_is_unknown_and_was_made_once(
    sandbox: RunningSandbox, junction: Junction, fault: dict[str, Any]
) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault(**fault, operation="cancel_order", order_id=order_id)
    assert isinstance(cancelled(junction, order_id), Unknown)
    assert [call["applied"] for call in sandbox.calls(operation="cancel_order", order_id=order_id)] == [True]


def test_an_answer_cut_at_any_byte_is_never_taken_for_no_call(
    sandbox: RunningSandbox, junction: Junction
) -> None:
    for at_byte in range(0, 400, 7):
        order_id = sandbox.order(quiet=True)["id"]
        sandbox.fault("drop", operation="cancel_order", order_id=order_id, at_byte=at_byte)
        assert isinstance(cancelled(junction, order_id), Unknown), at_byte


def test_another_teams_order_is_denied(sandbox: RunningSandbox, junction: Junction) -> None:
    order_id = sandbox.order(team_id="11111111-1111-4111-8111-111111111111")["id"]
    assert isinstance(junction.get_order(order_id), Denied)
    assert isinstance(cancelled(junction, order_id), Denied)


def test_a_wrong_key_is_denied(sandbox: RunningSandbox) -> None:
    with Junction(sandbox.url, "sk_us_wrong", KEEP, now=lambda: NOW) as junction:
        assert isinstance(junction.get_order(ORDER), Denied)


def test_nothing_that_comes_back_or_is_logged_names_the_patient_or_the_key(
    sandbox: RunningSandbox, junction: Junction, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    order_id = sandbox.order(method="walk_in_test", passthrough=canaries.EMAIL)["id"]
    sandbox.appointment(order_id)
    caplog.clear()
    always = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC))
    outcomes: list[object] = [
        junction.get_order(order_id),
        junction.get_appointment(order_id, PSC),
        junction.list_orders(always),
        junction.cancel_psc_appointment(order_id, canaries.NOTES, before_send=lambda: True),
        cancelled(junction, order_id),
        cancelled(junction, order_id),
        cancelled(answering(400, {"message": f"{canaries.RECEIVER} already has a kit"})),
        answering(500, {"message": canaries.RECEIVER}).get_order(ORDER),
        junction,
    ]
    text = "\n".join(map(repr, outcomes)) + caplog.text
    assert [canary for canary in (*canaries.ALL, canaries.DATE_OF_BIRTH, KEY) if canary in text] == []


def test_every_exchange_fits_the_attempts_table(sandbox: RunningSandbox, junction: Junction) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault("drop", operation="get_order", order_id=order_id, count=1)
    lost, found, gone = junction.get_order(order_id), junction.get_order(order_id), junction.get_order(ORDER)
    assert [exchange.outcome for exchange in (lost, found, gone)] == [
        "no_answer: remote_protocol_error",
        "found",
        "missing",
    ]
    assert [exchange.http_status for exchange in (lost, found, gone)] == [None, 200, 404]
    assert all(exchange.call == "get_order" and exchange.latency_ms is not None for exchange in (lost, found))


# --- permits ----------------------------------------------------------------------------------------------


@pytest.fixture
def our_redis(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def test_without_a_permit_nothing_is_sent(sandbox: RunningSandbox, our_redis: redis.Redis) -> None:
    order_id = sandbox.order()["id"]
    permits = Permits(our_redis, "junction", rate_per_second=0.001, burst=1)
    with a_junction(sandbox.url, permits=permits) as junction:
        assert isinstance(junction.get_order(order_id), Found)
        postponed = cancelled(junction, order_id)
    assert isinstance(postponed, Postponed)
    assert postponed.retry_after > 900
    assert sandbox.calls(operation="cancel_order", order_id=order_id) == []


def test_whoever_cannot_ask_for_a_permit_waits(sandbox: RunningSandbox) -> None:
    with (
        redis.Redis(port=1, retry=Retry(NoBackoff(), 0)) as nobody,
        a_junction(sandbox.url, permits=Permits(nobody, "junction", 1, 1)) as junction,
    ):
        postponed = junction.get_order(ORDER)
    assert isinstance(postponed, Postponed)
    assert postponed.retry_after > 0


@pytest.mark.parametrize("status", [429, 503])
def test_when_junction_asks_for_quiet_all_workers_keep_quiet(
    sandbox: RunningSandbox, our_redis: redis.Redis, status: int
) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault("status", status=status, retry_after=120, order_id=order_id)
    permits, of_another_worker = (Permits(our_redis, "junction", 100, 100) for _ in range(2))
    with a_junction(sandbox.url, permits=permits) as junction:
        cancelled(junction, order_id)
    wait = of_another_worker.take()
    assert isinstance(wait, Wait)
    assert 100 < wait.seconds <= 120


@pytest.mark.parametrize(
    ("status", "circuit"), [(502, "open"), (504, "open"), (404, "closed"), (500, "closed")]
)
def test_a_junction_that_is_not_there_is_left_alone_for_a_while(
    sandbox: RunningSandbox, our_redis: redis.Redis, status: int, circuit: str
) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault("status", status=status, order_id=order_id)
    permits = Permits(our_redis, "junction", 100, 100)
    with a_junction(sandbox.url, permits=permits) as junction:
        for _ in range(5):
            junction.get_order(order_id)
    assert traffic(our_redis, "junction").circuit == circuit


def test_a_team_without_scheduling_does_not_silence_the_other_calls(our_redis: redis.Redis) -> None:
    permits = Permits(our_redis, "junction", 100, 100)
    with (
        RunningSandbox(psc_scheduling=False) as sandbox,
        a_junction(sandbox.url, permits=permits) as junction,
    ):
        order_id = sandbox.order(method="walk_in_test")["id"]
        for _ in range(5):
            junction.get_appointment(order_id, PSC)
    assert traffic(our_redis, "junction").circuit == "closed"


def test_being_too_late_says_nothing_about_junction(attentive: RawServer, our_redis: redis.Redis) -> None:
    permits = Permits(our_redis, "junction", 100, 100)
    with attentive, a_junction(attentive.url, permits=permits) as junction:
        for _ in range(10):
            junction.cancel_order(ORDER, before_send=cycle([True, False]).__next__)
    assert attentive.connections == 10
    assert traffic(our_redis, "junction").circuit == "closed"


# --- the address and the key ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "environment"),
    [
        ("sk_us_abc", "sandbox"),
        ("sk_eu_abc", "sandbox"),
        ("pk_us_abc", "production"),
        ("pk_eu_abc", "production"),
        ("sk_us_", None),
        ("sk_ap_abc", None),
        ("abc", None),
        ("sk_us_abc\n", None),
        ("sk_us_äbc", None),
    ],
)
def test_a_key_says_what_it_is_for(key: str, environment: str | None) -> None:
    assert environment_of(key) == environment


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.us.junction.com", "pk_us_abc"),
        ("https://api.eu.junction.com/", "pk_eu_abc"),
        ("https://api.sandbox.us.junction.com", "sk_us_abc"),
        ("https://api.sandbox.eu.tryvital.io", "sk_eu_abc"),
        ("http://127.0.0.1:8000", "sk_us_abc"),
        ("http://localhost:8000", "sk_eu_abc"),
        ("http://[::1]:8000", "sk_us_abc"),
    ],
)
def test_a_key_fits_its_own_host(url: str, key: str) -> None:
    check_address(url, key)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.us.junction.com", "sk_us_abc"),
        ("https://api.sandbox.us.junction.com", "pk_us_abc"),
        ("https://api.eu.junction.com", "pk_us_abc"),
        ("http://api.us.junction.com", "pk_us_abc"),
        ("https://api.us.junction.com:8443", "pk_us_abc"),
        ("https://api.us.junction.com/v3", "pk_us_abc"),
        ("https://api.us.junction.com.example.net", "pk_us_abc"),
        ("https://somebody@api.us.junction.com", "pk_us_abc"),
        ("http://127.0.0.1:8000", "pk_us_abc"),
        ("http://10.0.0.1:8000", "sk_us_abc"),
        ("ftp://localhost", "sk_us_abc"),
        ("http://[", "sk_us_abc"),
        ("", "sk_us_abc"),
        ("https://api.us.junction.com", "abc"),
    ],
)
def test_a_key_goes_nowhere_else(url: str, key: str) -> None:
    with pytest.raises(WrongAddress) as raised:
        check_address(url, key)
    assert key not in str(raised.value)


def test_a_giant_is_more_than_any_page_of_orders() -> None:
    with RunningSandbox() as sandbox:
        for _ in range(100):
            sandbox.order(method="walk_in_test", state="completed", quiet=True)
        page = sandbox.api.get("/v3/orders", params={"size": 100})
    assert len(page.content) < LARGEST_ANSWER / 4
