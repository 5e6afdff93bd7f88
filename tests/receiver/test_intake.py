"""Deliveries that come together are stored together. Trouble with the store is told to the sender, trouble
with the queue is ours alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from redis import Redis
from sqlalchemy import event

from receiver.intake import LARGEST_MESSAGE, UNANNOUNCED, Pusher
from receiver.metrics import Metrics
from workers.broker import make_broker
from workers.embedded import EmbeddedRedis
from workers.store.schema import metadata

if TYPE_CHECKING:
    from tests.receiver.conftest import AnEvent, Door, Eventually, Locked, OpenDoor

CROWD = 40


@pytest.fixture
def crowd() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CROWD) as threads:
        yield threads


def commits_of(door: Door) -> list[object]:
    """Grows by one with each transaction."""
    seen: list[object] = []
    event.listen(door.store, "commit", seen.append)
    return seen


def has_come(door: Door, deliveries: int) -> bool:
    """Whether so many deliveries have been given to the writer: that comes right after this count."""
    return door.count('autocancel_secret_hits_total{label="main"}') >= deliveries


def is_refused_for(answer: httpx.Response, reason: str) -> bool:
    return (answer.status_code, answer.json()["error"], answer.headers["retry-after"]) == (503, reason, "5")


def test_deliveries_that_come_one_by_one_are_stored_and_announced_one_by_one(
    door: Door, an_event: AnEvent, eventually: Eventually
) -> None:
    commits = commits_of(door)
    door.post(an_event(), "msg_1")
    eventually(lambda: door.announced() == [[1]])
    door.post(an_event(), "msg_2")
    eventually(lambda: door.announced() == [[1], [2]])
    assert len(commits) == 2


def test_deliveries_that_come_together_share_a_transaction_and_a_message(
    open_door: OpenDoor,
    database_url: str,
    an_event: AnEvent,
    crowd: ThreadPoolExecutor,
    locked: Locked,
    eventually: Eventually,
) -> None:
    door = open_door(database_url, wait=60, commit_seconds=10)
    commits = commits_of(door)
    with locked(database_url):
        answers = [crowd.submit(door.post, an_event(f"order-{n}"), f"msg_{n}") for n in range(CROWD)]
        eventually(lambda: has_come(door, CROWD))
    assert {answer.result().status_code for answer in answers} == {202}
    assert len(commits) <= 2  # one for those the writer had in hand already, one for all the others
    ids = [row.id for row in door.rows()]
    assert len(ids) == CROWD
    eventually(lambda: door.announced_ids() == ids)
    assert len(door.announced()) <= 2


def test_a_store_that_hangs_costs_the_sender_a_503_and_a_resend_is_a_duplicate(
    open_door: OpenDoor, database_url: str, an_event: AnEvent, locked: Locked, eventually: Eventually
) -> None:
    door = open_door(database_url, wait=60, commit_seconds=0.2)
    with locked(database_url):
        assert is_refused_for(door.post(an_event()), "store_slow")
        assert door.http.get("/readyz").json()["inbox"] == "store_slow"
        assert door.http.get("/livez").status_code == 200
    eventually(lambda: len(door.rows()) == 1)
    assert door.post(an_event()).json()["status"] == "duplicate"
    eventually(lambda: door.announced() == [[1]])


def test_a_store_that_gives_up_waiting_costs_the_sender_a_503(
    open_door: OpenDoor, database_url: str, an_event: AnEvent, locked: Locked
) -> None:
    door = open_door(database_url, wait=0.1)
    with locked(database_url):
        assert is_refused_for(door.post(an_event()), "store_failed")
    assert door.post(an_event()).json()["status"] == "accepted"


def test_a_store_without_tables_costs_the_sender_a_503_until_they_are_there(
    open_door: OpenDoor, database_url: str, an_event: AnEvent, eventually: Eventually
) -> None:
    door = open_door(database_url, create=False)
    assert is_refused_for(door.post(an_event()), "store_failed")
    assert door.http.get("/readyz").status_code == 503
    metadata.create_all(door.store)
    assert door.post(an_event()).status_code == 202
    assert door.http.get("/readyz").status_code == 200


def test_when_too_many_wait_the_next_is_sent_away_at_once(
    open_door: OpenDoor,
    sqlite_url: str,
    an_event: AnEvent,
    crowd: ThreadPoolExecutor,
    locked: Locked,
    eventually: Eventually,
) -> None:
    door = open_door(sqlite_url, wait=60, commit_seconds=10, intake_room=2)
    with locked(sqlite_url):
        in_hand = crowd.submit(door.post, an_event(), "msg_in_hand")
        eventually(lambda: has_come(door, 1) and door.count("autocancel_intake_waiting") == 0)
        waiting = [crowd.submit(door.post, an_event(), f"msg_waiting_{n}") for n in range(2)]
        eventually(lambda: door.count("autocancel_intake_waiting") == 2)
        assert is_refused_for(door.post(an_event(), "msg_too_many"), "intake_full")
        assert door.http.get("/readyz").json()["inbox"] == "intake_full"
    assert {answer.result().status_code for answer in [in_hand, *waiting]} == {202}


def test_without_redis_deliveries_are_accepted_and_with_it_announced_again(
    open_door: OpenDoor, database_url: str, an_event: AnEvent, tmp_path: Path, eventually: Eventually
) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        door = open_door(database_url, REDIS_URL=redis.url)
        redis.kill()
        assert [door.post(an_event(), f"msg_{n}").status_code for n in range(3)] == [202, 202, 202]
        assert door.http.get("/readyz").json() == {"inbox": "ok", "queue": "ConnectionError"}
        eventually(lambda: door.count("autocancel_queue_ids_dropped_total") == 3)
        redis.start()
        assert door.post(an_event(), "msg_after").status_code == 202
        eventually(lambda: door.announced() == [[4]])


def test_a_redis_that_never_answers_delays_nobody(
    open_door: OpenDoor, sqlite_url: str, an_event: AnEvent, eventually: Eventually
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        door = open_door(sqlite_url, REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert [door.post(an_event(), f"msg_{n}").status_code for n in range(5)] == [202] * 5
        eventually(lambda: door.count("autocancel_queue_ids_dropped_total") == 5)


def test_only_so_many_ids_are_kept_for_a_slow_queue_and_they_share_messages(redis_url: str) -> None:
    metrics, broker = Metrics(), make_broker(redis_url, publisher=True)
    pusher = Pusher(broker, metrics)
    pusher.push(range(UNANNOUNCED))
    pusher.push(range(7))
    pusher.start()
    pusher.stop(20)
    assert b"autocancel_queue_ids_dropped_total 7.0" in metrics.text()
    with Redis.from_url(redis_url) as client:
        assert client.llen("autocancel:events") == UNANNOUNCED / LARGEST_MESSAGE
    broker.close()


def test_a_stop_finishes_what_was_accepted(
    open_door: OpenDoor,
    database_url: str,
    an_event: AnEvent,
    crowd: ThreadPoolExecutor,
    locked: Locked,
    eventually: Eventually,
) -> None:
    door = open_door(database_url, wait=60, commit_seconds=10)
    with locked(database_url):
        answers = [crowd.submit(door.post, an_event(), f"msg_{n}") for n in range(5)]
        eventually(lambda: has_come(door, 5))
        stopped = crowd.submit(door.close)
        eventually(lambda: door.server.should_exit)
    stopped.result()
    assert {answer.result().status_code for answer in answers} == {202}
    assert door.announced_ids() == [row.id for row in door.rows()]


def test_a_stop_does_not_wait_for_a_store_that_hangs(
    open_door: OpenDoor, sqlite_url: str, an_event: AnEvent, locked: Locked, eventually: Eventually
) -> None:
    door = open_door(sqlite_url, wait=60, commit_seconds=0.2)
    with locked(sqlite_url):
        assert is_refused_for(door.post(an_event()), "store_slow")
        door.close()
    eventually(lambda: len(door.rows()) == 1)


def test_a_stop_sends_away_who_has_not_finished_speaking(open_door: OpenDoor, sqlite_url: str) -> None:
    door = open_door(sqlite_url)
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as connection:
        start = b"POST /webhooks/junction HTTP/1.1\r\ncontent-type: application/json\r\n"
        connection.sendall(start + b"content-length: 9\r\n\r\n{")
        door.http.get("/livez")
        door.close()
        assert connection.recv(4096).startswith(b"HTTP/1.1 503 ")
