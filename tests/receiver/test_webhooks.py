"""The door over real HTTP: what is let in is stored and announced, what is not gets a plain word, and nothing
anybody sends makes it fail."""

from __future__ import annotations

import json
import socket
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from workers.store.database import reading
from workers.store.schema import rejections

if TYPE_CHECKING:
    from tests.receiver.conftest import AnEvent, Clock, Door, Eventually, OpenDoor

TEAM = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def test_a_signed_delivery_is_stored_and_announced(
    door: Door, an_event: AnEvent, clock: Clock, eventually: Eventually
) -> None:
    body = an_event("order-1")
    answer = door.post(body, "msg_1")
    assert answer.status_code == 202
    assert answer.json() == {"status": "accepted", "delivery": "msg_1", "stored_as": "new"}
    (row,) = door.rows()
    assert (row.delivery_id, row.state, row.secret_label) == ("msg_1", "new", "main")
    assert (row.event_type, row.team_id, row.order_id) == ("labtest.order.created", TEAM, "order-1")
    assert (row.signed_at, row.received_at) == (clock.now, clock.now)
    assert (row.size, row.sha256) == (len(body), sha256(body).hexdigest())
    assert row.body["order"]["events"][0]["status"] == "received.testkit.ordered"
    eventually(lambda: door.announced() == [[row.id]])


def test_what_is_not_on_the_allow_list_is_not_stored(door: Door, an_event: AnEvent) -> None:
    assert door.post(an_event(notes="rings twice")).status_code == 202
    stored = json.dumps(door.rows()[0].body)
    assert not any(word in stored for word in ("Ada", "1990", "rings"))


def test_a_repeated_delivery_is_acknowledged_and_only_counted(
    door: Door, an_event: AnEvent, eventually: Eventually
) -> None:
    assert door.post(an_event()).json()["status"] == "accepted"
    assert door.post(an_event()).json()["status"] == "duplicate"
    assert door.post(an_event()).json()["status"] == "duplicate"
    (row,) = door.rows()
    assert row.duplicates == 2
    eventually(lambda: door.announced() == [[row.id]])


def test_an_event_of_another_team_leaves_no_content_and_is_not_announced(
    door: Door, an_event: AnEvent, eventually: Eventually
) -> None:
    for number, team_id in enumerate(["0f0f0f0f-0000-4000-8000-000000000001", None, "", "x" * 200, "nul\0"]):
        answer = door.post(an_event(team_id=team_id), f"msg_{number}")
        assert (answer.status_code, answer.json()["stored_as"]) == (202, "foreign")
    door.post(an_event(), "msg_of_ours")
    *foreign, ours = door.rows()
    assert {(row.state, row.body, row.order_id) for row in foreign} == {("foreign", None, None)}
    eventually(lambda: door.announced() == [[ours.id]])


unreadable = {
    "empty": b"",
    "no_JSON": b"{oops",
    "half": b'{"event_type": "labtest.ord',
    "not_an_object": b"[1, 2, 3]",
    "null": b"null",
    "a_string": b'"labtest"',
    "no_text": b"\xff\xfe\xfa\x00\xd8",
    "deep": b'{"data":' + b"[" * 64 + b"]" * 64 + b"}",
    "deeper_than_Python": b"[" * 100_000 + b"]" * 100_000,
    "a_number_too_long": b'{"team_id": ' + b"9" * 5000 + b"}",
}


def test_what_cannot_be_read_is_kept_as_length_and_checksum(door: Door) -> None:
    for name, body in unreadable.items():
        answer = door.post(body, name)
        assert (answer.status_code, answer.json()["stored_as"]) == (202, "unreadable"), name
    for row, (name, body) in zip(door.rows(), unreadable.items(), strict=True):
        assert (row.delivery_id, row.state) == (name, "unreadable")
        assert (row.body, row.event_type, row.team_id) == (None, None, None)
        assert (row.size, row.sha256) == (len(body), sha256(body).hexdigest())


odd_orders: dict[str, dict[str, Any]] = {
    "NUL_everywhere": {"order_id": "o\0", "origin": "\0", "details": {"type": "\0"}, "passthrough": "\0"},
    "half_a_surrogate_pair": {"order_id": "\ud800", "passthrough": "\udfff", "origin": "\ud800"},
    "numbers_beyond_columns": {"lab_test": {"price": 10**300}, "events": [{"id": 10**300}], "x": 2**64},
    "not_a_number": {"lab_test": {"price": float("nan")}, "events": [{"id": float("inf")}]},
    "wrong_types": {"order_id": [], "events": {}, "details": 3, "lab_test": "x", "created_at": 12},
    "times_beyond_the_calendar": {"created_at": "9999-12-31T23:59:59-23:59", "activate_by": "0000-00-00"},
    "many_events": {
        "events": [{"id": n, "created_at": "2026-01-01", "status": "a.b.c"} for n in range(9000)]
    },
    "just_shallow_enough": {"x": json.loads("[" * 61 + "]" * 61)},
}


def test_an_order_full_of_oddities_is_let_in(door: Door, an_event: AnEvent) -> None:
    for name, order in odd_orders.items():
        assert door.post(an_event(**order), name).status_code == 202, name
    assert [(row.delivery_id, row.state) for row in door.rows()] == [(name, "new") for name in odd_orders]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_only_post_is_a_delivery(shared_door: Door, method: str) -> None:
    answer = shared_door.http.request(method, "/webhooks/junction")
    assert answer.status_code in {405, 400}  # 400: the parser knows no such method
    assert answer.headers.get("allow") == "POST" or answer.status_code == 400


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/jsonp", "multipart/form-data"])
def test_only_json_is_a_delivery(shared_door: Door, an_event: AnEvent, content_type: str) -> None:
    headers = {**shared_door.sender.headers(an_event()), "content-type": content_type}
    answer = shared_door.http.post("/webhooks/junction", content=an_event(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (415, "not_json")


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON", "application/json; charset=utf-8"]
)
def test_json_may_be_spelt_as_http_allows(shared_door: Door, an_event: AnEvent, content_type: str) -> None:
    headers = {**shared_door.sender.headers(an_event()), "content-type": content_type}
    assert shared_door.http.post("/webhooks/junction", content=an_event(), headers=headers).status_code == 202


def test_a_wrong_signature_gets_the_reason_in_words_and_leaves_no_delivery(
    door: Door, an_event: AnEvent
) -> None:
    signed = door.sender.headers(an_event())
    answer = door.send(an_event("another"), signed)
    assert answer.status_code == 401
    assert answer.json()["error"] == "signature_wrong"
    assert answer.json()["message"].endswith(".")
    assert door.rows() == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"svix-id": ""}, "id_malformed"),
        ({"svix-timestamp": "soon"}, "timestamp_malformed"),
        ({"svix-timestamp": "1"}, "timestamp_too_old"),
        ({"svix-signature": "v2,abc"}, "signature_unsupported"),
        ({"svix-signature": "v1,"}, "signature_wrong"),
        ({"svix-signature": "v1," + "A" * 30_000}, "signature_wrong"),
        ({"svix-signature": "v1,é \u00ff v1,\x80"}, "signature_wrong"),
        ({"svix-signature": " ".join(["v1,abc"] * 5000)}, "signature_wrong"),
    ],
)
def test_odd_signature_headers_are_turned_away(
    shared_door: Door, an_event: AnEvent, changed: dict[str, str], reason: str
) -> None:
    headers = {**shared_door.sender.headers(an_event()), **changed}
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = shared_door.send(an_event(), raw)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]) == (401, reason)


def test_requests_turned_away_are_counted_by_minute_and_reason(
    open_door: OpenDoor, database_url: str, clock: Clock, an_event: AnEvent
) -> None:
    door = open_door(database_url)
    for _ in range(3):
        door.send(an_event(), {})
    door.http.get("/webhooks/junction")
    assert door.count('autocancel_rejections_total{reason="signature_missing"}') == 3
    door.close()
    with reading(door.store) as connection:
        found = connection.execute(select(rejections.c.minute, rejections.c.reason, rejections.c.count)).all()
    minute = clock.now.replace(second=0)
    assert sorted(found) == [(minute, "not_post", 1), (minute, "signature_missing", 3)]


class TestTheSizeOfABody:
    @pytest.fixture
    def door(self, open_door: OpenDoor, sqlite_url: str) -> Door:
        return open_door(sqlite_url, body_limit=4096)

    def test_up_to_the_limit_is_taken(self, door: Door) -> None:
        assert door.post(b" " * 4096).status_code == 202

    @pytest.mark.parametrize("size", [4097, 100_000, 3_000_000])
    def test_a_larger_one_is_not_whether_declared_or_in_chunks(self, door: Door, size: int) -> None:
        declared = b" " * size
        headers = {**door.sender.headers(declared), "content-type": "application/json"}
        for content in (declared, iter([declared[:4000], declared[4000:]])):
            answer = door.http.post("/webhooks/junction", content=content, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (413, "body_too_large")
        assert door.rows() == []

    def test_many_small_chunks_make_one_body(self, door: Door, an_event: AnEvent) -> None:
        body = an_event()
        headers = {**door.sender.headers(body), "content-type": "application/json"}
        pieces = (body[i : i + 1] for i in range(len(body)))
        assert door.http.post("/webhooks/junction", content=pieces, headers=headers).status_code == 202


@pytest.mark.parametrize(
    "request_so_far",
    [
        b"content-length: 100\r\n\r\n{",
        b"content-length: 100\r\nexpect: 100-continue\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n5\r\n{",
        b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
        b"transfer-encoding: chunked\r\n\r\n0\r\ntrailer: x",
    ],
)
def test_a_body_that_does_not_come_is_not_waited_for(shared_door: Door, request_so_far: bytes) -> None:
    start = b"POST /webhooks/junction HTTP/1.1\r\nhost: door\r\ncontent-type: application/json\r\n"
    assert final_status(shared_door, start + request_so_far) == 408


def test_a_sender_that_leaves_half_way_leaves_nothing(door: Door, an_event: AnEvent) -> None:
    headers = b"POST /webhooks/junction HTTP/1.1\r\ncontent-type: application/json\r\n"
    for part in (b"", b"POST /web", headers, headers + b"content-length: 9\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", door.port)) as connection:
            connection.sendall(part)
    assert door.post(an_event()).status_code == 202
    assert len(door.rows()) == 1


def final_status(door: Door, request: bytes) -> int:
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    return int(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").split()[1])


START = b"POST /webhooks/junction HTTP/1.1\r\nhost: door\r\n"
JSON = START + b"content-type: application/json\r\n"
hostile = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"POST /webhooks/junction\r\n\r\n",
    "an old version": b"GET /webhooks/junction HTTP/0.9\r\n\r\n",
    "a version to come": b"POST /webhooks/junction HTTP/9.9\r\n\r\n",
    "an unknown method": b"BREW /webhooks/junction HTTP/1.1\r\n\r\n",
    "a path that is no path": b"POST webhooks HTTP/1.1\r\nhost: door\r\n\r\n",
    "a path of bytes": b"POST /\xff\xfe\x80 HTTP/1.1\r\nhost: door\r\n\r\n",
    "a path of escapes": b"POST /%ff%00%zz HTTP/1.1\r\nhost: door\r\ncontent-length: 0\r\n\r\n",
    "a host that is no host": b"GET /livez/ HTTP/1.1\r\nhost: [::1\r\n\r\n",
    "only a star": b"OPTIONS * HTTP/1.1\r\nhost: door\r\n\r\n",
    "a tunnel": b"CONNECT door:443 HTTP/1.1\r\nhost: door\r\n\r\n",
    "an address without a path": b"GET http://door HTTP/1.1\r\nhost: door\r\n\r\n",
    "a header without a colon": START + b"nonsense\r\n\r\n",
    "a header without a name": START + b": x\r\n\r\n",
    "a header with NUL": START + b"x: a\0b\r\n\r\n",
    "a folded header": START + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "a huge header": START + b"x: " + b"a" * 400_000 + b"\r\n\r\n",
    "very many headers": START + b"a: b\r\n" * 60_000 + b"\r\n",
    "a negative length": JSON + b"content-length: -1\r\n\r\n",
    "a length in words": JSON + b"content-length: many\r\n\r\n",
    "an endless length": JSON + b"content-length: " + b"9" * 40 + b"\r\n\r\n",
    "two lengths": JSON + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    "a length and chunks": JSON + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown encoding": JSON + b"transfer-encoding: gzip\r\n\r\n{}",
    "a chunk of no size": JSON + b"transfer-encoding: chunked\r\n\r\n\r\n\r\n",
    "a chunk of odd size": JSON + b"transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
    "a chunk of negative size": JSON + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n",
    "a chunk beyond 64 bits": JSON + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffffff\r\n{}\r\n",
    "a chunk longer than said": JSON + b"transfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "an endless chunk extension": JSON + b"transfer-encoding: chunked\r\n\r\n2;" + b"x" * 400_000,
    "endless trailers": JSON + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 60_000,
    "a request for a websocket": START + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "a request for HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two content types": START + b"content-type: text/plain\r\ncontent-type: x\r\ncontent-length: 0\r\n\r\n",
    "no signature": JSON + b"content-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("request_bytes", hostile.values(), ids=hostile.keys())
def test_a_hostile_request_is_turned_away_and_harms_nobody(
    shared_door: Door, an_event: AnEvent, request_bytes: bytes
) -> None:
    status = shared_door.raw(request_bytes)
    assert status is None or 400 <= status < 500
    assert shared_door.post(an_event()).status_code == 202


def test_an_unknown_page_is_not_found_and_not_redirected(shared_door: Door) -> None:
    assert shared_door.http.get("/").status_code == 404
    assert shared_door.http.post("/webhooks/junction/").status_code == 404
