"""What operators see of the queue and do to it: dramatiq's keys lie as we read them, on any server."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dramatiq
import pytest
from redis import Redis

from workers.broker import NAMESPACE, Broker, tombstone_key
from workers.embedded import EmbeddedRedis
from workers.messages import ProjectDeliveries, publish
from workers.queues import MessageRow, Outcome, QueueReader, QueueState, QueueUnreachable

Eventually = Callable[[Callable[[], object]], None]
StartBroker = Callable[..., Broker]
StartWorker = Callable[..., dramatiq.Worker]


@pytest.fixture
def client(each_redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(each_redis_url) as client:
        yield client


@pytest.fixture
def queues(client: Redis) -> QueueReader:
    return QueueReader(client, NAMESPACE)


@pytest.fixture
def broker(start_broker: StartBroker, each_redis_url: str) -> Broker:
    return start_broker(url=each_redis_url)


@pytest.fixture
def project(broker: Broker) -> "Project":
    return Project(broker)


class Project:
    """An actor that remembers what it was given."""

    def __init__(self, broker: Broker) -> None:
        self.seen: list[list[int]] = []
        as_actor = dramatiq.actor(broker=broker, actor_name="project", queue_name="events", max_retries=0)
        self.actor = as_actor(self._project)

    def _project(self, ids: list[int]) -> None:
        self.seen.append(ids)

    def send_late(self, ids: list[int], delay: timedelta) -> None:
        self.actor.send_with_options(kwargs={"ids": ids}, delay=delay)


@pytest.fixture
def dead(project: Project, broker: Broker, queues: QueueReader) -> MessageRow:
    """A message that failed for good after its last retry."""
    options = {"retries": 3, "traceback": "KeyError at workers.handlers:project"}
    broker.enqueue(dramatiq.Message("events", "project", (), {"ids": [7]}, options))
    consumer = broker.consume("events")
    message = next(consumer)
    assert message
    consumer.nack(message)
    (row,) = queues.messages("events", "dead")
    return row


def events(queues: QueueReader) -> QueueState:
    return queues.snapshot()[0]


def test_every_queue_is_counted_by_where_its_messages_are(
    project: Project, broker: Broker, queues: QueueReader
) -> None:
    publish(broker, ProjectDeliveries([1]))
    publish(broker, ProjectDeliveries([2]))
    project.send_late([3], timedelta(hours=1))
    project.send_late([4], timedelta(hours=2))
    for queue in ("events", "events.DQ"):
        assert next(broker.consume(queue))

    state, *others = queues.snapshot()
    assert (state.name, state.ready, state.in_flight, state.delayed, state.delayed_in_memory, state.dead) == (
        "events",
        1,
        1,
        2,
        1,
        0,
    )
    assert state.oldest_ready_at == queues.messages("events", "ready")[0].enqueued_at
    assert others == [QueueState(name, 0, 0, 0, 0, 0, None, None) for name in ("orders", "actions")]


def test_waiting_messages_are_listed_in_the_order_they_will_run(
    project: Project, broker: Broker, queues: QueueReader
) -> None:
    project.send_late([3], timedelta(hours=2))
    project.send_late([4], timedelta(hours=1))
    for number in range(3):
        publish(broker, ProjectDeliveries([number]))
    assert [row.args for row in queues.messages("events", "ready", offset=1, limit=1)] == [{"ids": [1]}]
    assert [row.args for row in queues.messages("events", "delayed")] == [{"ids": [4]}, {"ids": [3]}]
    assert queues.messages("events", "retrying") == ()


def test_a_message_that_failed_for_good_is_found_among_the_dead(
    dead: MessageRow, queues: QueueReader
) -> None:
    state = events(queues)
    assert (state.dead, state.oldest_dead_at) == (1, dead.died_at)
    assert (dead.queue, dead.actor, dead.args) == ("events", "project", {"ids": [7]})
    assert (dead.retries, dead.error, dead.place) == (3, "KeyError", "workers.handlers:project")
    assert queues.message("events", dead.redis_id) == dead


def test_a_requeued_dead_message_runs_again_under_its_id(
    dead: MessageRow,
    project: Project,
    broker: Broker,
    queues: QueueReader,
    now: datetime,
    start_worker: StartWorker,
    eventually: Eventually,
) -> None:
    assert queues.requeue_dead("events", dead.redis_id, now) == Outcome.REQUEUED
    (ready,) = queues.messages("events", "ready")
    assert ready == replace(dead, enqueued_at=now, retries=0, error=None, place=None, died_at=None)
    start_worker(broker)
    eventually(lambda: project.seen == [[7]])
    eventually(lambda: events(queues) == QueueState("events", 0, 0, 0, 0, 0, None, None))


def test_of_two_operators_who_requeue_the_same_message_one_is_too_late(
    dead: MessageRow, queues: QueueReader, now: datetime
) -> None:
    outcomes = [queues.requeue_dead("events", dead.redis_id, now) for _ in range(2)]
    assert outcomes == [Outcome.REQUEUED, Outcome.NOT_THERE]


def test_a_message_called_off_while_it_failed_may_still_be_requeued(
    dead: MessageRow, queues: QueueReader, client: Redis, now: datetime
) -> None:
    client.set(tombstone_key(NAMESPACE, dead.id), 1)
    queues.requeue_dead("events", dead.redis_id, now)
    assert not client.exists(tombstone_key(NAMESPACE, dead.id))


def test_a_discarded_dead_message_is_gone(dead: MessageRow, queues: QueueReader, client: Redis) -> None:
    assert queues.discard_dead("events", dead.redis_id) == Outcome.REMOVED
    assert queues.discard_dead("events", dead.redis_id) == Outcome.NOT_THERE
    assert events(queues).dead == 0
    assert client.keys(f"{NAMESPACE}:events.XQ*") == []


def test_a_message_nobody_has_taken_yet_is_removed(
    project: Project, broker: Broker, queues: QueueReader, client: Redis
) -> None:
    publish(broker, ProjectDeliveries([1]))
    project.send_late([2], timedelta(hours=1))
    for row in (*queues.messages("events", "ready"), *queues.messages("events", "delayed")):
        assert queues.call_off("events", row.redis_id) == Outcome.REMOVED
        assert queues.call_off("events", row.redis_id) == Outcome.NOT_THERE
    assert events(queues) == QueueState("events", 0, 0, 0, 0, 0, None, None)
    assert client.keys(f"{NAMESPACE}:events*") == []


def test_a_delayed_message_that_a_worker_holds_is_passed_over_when_it_falls_due(
    project: Project,
    broker: Broker,
    queues: QueueReader,
    start_worker: StartWorker,
    eventually: Eventually,
) -> None:
    project.send_late([1], timedelta(seconds=1))
    start_worker(broker)
    eventually(lambda: events(queues).delayed_in_memory)
    (row,) = queues.messages("events", "delayed")
    assert queues.call_off("events", row.redis_id) == Outcome.CALLED_OFF
    publish(broker, ProjectDeliveries([2]))
    eventually(lambda: events(queues) == QueueState("events", 0, 0, 0, 0, 0, None, None))
    assert project.seen == [[2]]


def test_operators_learn_how_redis_is_doing(queues: QueueReader) -> None:
    info = queues.redis_info()
    assert info.version
    assert 0 < info.used_memory <= info.peak_memory
    assert info.clients >= 1
    assert info.maxmemory_policy == "noeviction"


def test_a_redis_that_is_away_is_one_error_of_ours(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        url = server.url
    with Redis.from_url(url) as client, pytest.raises(QueueUnreachable):
        QueueReader(client, NAMESPACE).snapshot()
