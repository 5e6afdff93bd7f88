"""A connection that goes on for ever is cut off, wherever in a request it does."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from receiver import protocol
from receiver.protocol import LARGEST_FRAME

if TYPE_CHECKING:
    from tests.receiver.conftest import AnEvent, Door

POST = b"POST /webhooks/junction HTTP/1.1\r\nhost: door\r\ncontent-type: application/json\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"

endless = {
    "a header": (POST + b"x: ", b"x"),
    "headers": (POST, b"x: y\r\n"),
    "a path": (b"POST /", b"x"),
    "a chunk's extension": (CHUNKED + b"1;", b"x"),
    "chunks of nothing but framing": (CHUNKED, b"1;xxxxxxxxxx\r\n \r\n"),
    "trailers": (CHUNKED + b"0\r\n", b"x: y\r\n"),
}


@pytest.mark.parametrize(("start", "more"), endless.values(), ids=endless.keys())
def test_what_has_no_end_is_cut_off(shared_door: Door, start: bytes, more: bytes) -> None:
    enough = more * (2 * LARGEST_FRAME // len(more))
    assert shared_door.raw(start + enough) in {400, None}  # None: we were still sending


def test_requests_on_one_connection_are_measured_one_by_one(shared_door: Door, an_event: AnEvent) -> None:
    padding = {"x": "y" * (LARGEST_FRAME // 3)}
    for number in range(6):
        headers = shared_door.sender.headers(an_event(), f"msg_{number}")
        assert shared_door.send(an_event(), headers | padding).status_code == 202


def test_a_body_counts_for_itself(shared_door: Door) -> None:
    assert shared_door.post(b" " * (3 * LARGEST_FRAME)).status_code == 202


@pytest.mark.parametrize("so_far", [b"", b"POST /webh", POST])
def test_who_says_nothing_complete_for_too_long_is_cut_off(
    shared_door: Door, an_event: AnEvent, monkeypatch: pytest.MonkeyPatch, so_far: bytes
) -> None:
    monkeypatch.setattr(protocol, "LONGEST_ARRIVAL", 0.1)
    with socket.create_connection(("127.0.0.1", shared_door.port), timeout=20) as connection:
        connection.sendall(so_far)
        assert connection.recv(4096) == b""
    assert shared_door.post(an_event()).status_code == 202
