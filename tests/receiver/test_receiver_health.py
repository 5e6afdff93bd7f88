"""What the receiver tells about itself, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from tests.receiver.conftest import AnEvent, Door, OpenDoor

TOKEN = "a token for the scraper"


def test_a_receiver_with_store_and_queue_is_ready(door: Door) -> None:
    assert door.http.get("/livez").json() == {"process": "ok"}
    answer = door.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"inbox": "ok", "queue": "ok"})


def test_metrics_are_closed_unless_somebody_opens_them(open_door: OpenDoor, sqlite_url: str) -> None:
    door = open_door(sqlite_url, metrics="closed")
    answer = door.http.get("/metrics")
    assert (answer.status_code, answer.json()["error"]) == (404, "metrics_closed")


def test_metrics_are_shown_to_the_bearer_of_the_token_alone(open_door: OpenDoor, sqlite_url: str) -> None:
    door = open_door(sqlite_url, metrics="closed", metrics_token=TOKEN)

    def ask(authorization: str) -> httpx.Response:
        return door.http.get("/metrics", headers=[(b"authorization", authorization.encode("latin-1"))])

    assert ask(f"Bearer {TOKEN}").status_code == 200
    for wrong in ("", "Bearer", f"Bearer {TOKEN}s", TOKEN, f"Basic {TOKEN}", "Bearer \u00ff\u0080"):
        assert ask(wrong).status_code == 401
    assert door.http.get("/metrics").status_code == 401


def test_the_metrics_count_what_happened(door: Door, an_event: AnEvent) -> None:
    door.post(an_event(), "msg_1")
    door.post(an_event(), "msg_1")
    door.post(b"{oops", "msg_2")
    door.post(an_event(team_id=None), "msg_3")
    door.send(an_event(), {})
    assert door.count('autocancel_deliveries_total{result="accepted",stored_as="new"}') == 1
    assert door.count('autocancel_deliveries_total{result="duplicate",stored_as="new"}') == 1
    assert door.count('autocancel_deliveries_total{result="accepted",stored_as="unreadable"}') == 1
    assert door.count('autocancel_deliveries_total{result="accepted",stored_as="foreign"}') == 1
    assert door.count('autocancel_rejections_total{reason="signature_missing"}') == 1
    assert door.count("autocancel_inbox_batch_rows_count") == 4
    assert door.count("autocancel_ack_seconds_count") == 4
