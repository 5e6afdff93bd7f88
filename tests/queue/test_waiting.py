"""A worker takes messages as they come, leaves alone what is paused, and stops when it is told to."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dramatiq
import pytest
from dramatiq.errors import ConnectionClosed
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.broker import NAMESPACE, Broker, make_broker
from workers.embedded import EmbeddedRedis
from workers.messages import Act, EvaluateOrders, Message, ProjectDeliveries, publish
from workers.queues import QueueReader

Eventually = Callable[[Callable[[], object]], None]
StartBroker = Callable[..., Broker]
StartWorker = Callable[..., dramatiq.Worker]


ROOT = Path(__file__).parents[2]
STUCK_WORKER = """
import sys, time
import dramatiq
from workers.broker import make_broker

broker = make_broker(sys.argv[1])

@dramatiq.actor(broker=broker, queue_name="actions")
def act(id):
    print("running", flush=True)
    time.sleep(600)

dramatiq.Worker(broker, worker_threads=1).start()
time.sleep(600)
"""


class Actors:
    """The real actors' names and queues; what they are given is noted, and they wait at the gate."""

    def __init__(self, broker: Broker) -> None:
        self.seen: list[Message] = []
        self.gate = threading.Event()
        self.gate.set()
        dramatiq.actor(broker=broker, actor_name="project", queue_name="events")(self._project)
        dramatiq.actor(broker=broker, actor_name="evaluate", queue_name="orders")(self._evaluate)
        dramatiq.actor(broker=broker, actor_name="act", queue_name="actions")(self._act)

    def _project(self, ids: list[int]) -> None:
        self._note(ProjectDeliveries(ids))

    def _evaluate(self, ids: list[str]) -> None:
        self._note(EvaluateOrders(ids))

    def _act(self, id: int) -> None:  # noqa: A002 - the message's field
        self._note(Act(id))

    def _note(self, message: Message) -> None:
        self.gate.wait(60)
        self.seen.append(message)


@pytest.fixture
def actors(broker: Broker) -> Iterator[Actors]:
    actors = Actors(broker)
    yield actors
    actors.gate.set()  # or their worker could not stop


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


def names_of_critical(caplog: pytest.LogCaptureFixture) -> str:
    return " ".join(record.name for record in caplog.records if record.levelname == "CRITICAL")


def somebody_waits(client: Redis) -> bool:
    return any(each["cmd"] == "blmove" for each in client.client_list())


def test_what_a_publisher_sends_reaches_its_actor(
    actors: Actors, broker: Broker, start_worker: StartWorker, redis_url: str, eventually: Eventually
) -> None:
    start_worker(broker)
    publisher = make_broker(redis_url, publisher=True)
    publish(publisher, ProjectDeliveries([1, 2]))
    publisher.close()
    eventually(lambda: actors.seen == [ProjectDeliveries([1, 2])])


def test_an_idle_worker_waits_in_redis_until_a_message_comes(
    actors: Actors, broker: Broker, start_worker: StartWorker, client: Redis, eventually: Eventually
) -> None:
    start_worker(broker)
    eventually(lambda: somebody_waits(client))
    publish(broker, EvaluateOrders(["order-1"]))
    eventually(lambda: actors.seen == [EvaluateOrders(["order-1"])])


def test_a_server_that_refuses_to_let_us_wait_is_polled(
    own_redis: EmbeddedRedis, start_broker: StartBroker, start_worker: StartWorker, eventually: Eventually
) -> None:
    with Redis.from_url(own_redis.url) as client:
        client.acl_setuser("default", enabled=True, commands=["-blmove"])
    broker = start_broker(url=own_redis.url)
    actors = Actors(broker)
    start_worker(broker)
    publish(broker, Act(1))
    eventually(lambda: actors.seen == [Act(1)])


def test_a_waiting_worker_stops_when_told(
    actors: Actors, broker: Broker, client: Redis, eventually: Eventually
) -> None:
    worker = dramatiq.Worker(broker, worker_threads=1)
    worker.start()
    eventually(lambda: somebody_waits(client))
    worker.stop(timeout=10_000)
    assert not any(thread.is_alive() for thread in (*worker.workers, *worker.consumers.values()))


def test_a_paused_queue_keeps_its_messages_until_it_goes_on(
    actors: Actors,
    broker: Broker,
    queues: QueueReader,
    start_worker: StartWorker,
    client: Redis,
    eventually: Eventually,
) -> None:
    start_worker(broker)
    eventually(lambda: somebody_waits(client))
    broker.paused = frozenset({"events"})
    publish(broker, ProjectDeliveries([1]))
    publish(broker, EvaluateOrders(["order-1"]))
    eventually(lambda: actors.seen == [EvaluateOrders(["order-1"])])
    assert [(state.name, state.ready) for state in queues.snapshot() if state.ready] == [("events", 1)]

    broker.paused = frozenset()
    eventually(lambda: ProjectDeliveries([1]) in actors.seen)


def test_a_process_holds_few_slow_calls_so_that_others_can_help(
    actors: Actors, broker: Broker, queues: QueueReader, start_worker: StartWorker, eventually: Eventually
) -> None:
    actors.gate.clear()
    for number in range(5):
        publish(broker, Act(number))
    start_worker(broker, threads=8)
    eventually(lambda: [state.in_flight for state in queues.snapshot() if state.name == "actions"] == [2])
    assert [state.ready for state in queues.snapshot() if state.name == "actions"] == [3]
    actors.gate.set()
    eventually(lambda: len(actors.seen) == 5)


def test_a_process_that_may_take_no_more_still_gives_signs_of_life(broker: Broker, client: Redis) -> None:
    broker.declare_queue("actions")
    consumer = broker.consume("actions", timeout=10)
    for number in range(2):
        publish(broker, Act(number))
        assert next(consumer)
    signs = f"{NAMESPACE}:__heartbeats__"
    client.zadd(signs, {broker.broker_id: 0})
    assert next(consumer) is None
    assert client.zscore(signs, broker.broker_id)


def test_an_answer_that_never_comes_is_taken_like_a_broken_connection(redis_url: str, client: Redis) -> None:
    impatient = Redis.from_url(redis_url, socket_timeout=0.1, retry=Retry(NoBackoff(), 0))
    broker = Broker(impatient, NAMESPACE, [])
    broker.declare_queue("events")
    publish(broker, ProjectDeliveries([1]))
    consumer = broker.consume("events")
    message = next(consumer)
    assert message is not None
    client.client_pause(1000)
    with pytest.raises(ConnectionClosed):
        consumer.ack(message)
    broker.close()


def test_delayed_messages_that_a_worker_held_survive_an_absence_of_redis(
    own_redis: EmbeddedRedis,
    start_broker: StartBroker,
    start_worker: StartWorker,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = start_broker(url=own_redis.url)
    actors = Actors(broker)
    start_worker(broker)
    broker.actors["act"].send_with_options(kwargs={"id": 1}, delay=2000)
    queues = QueueReader(broker.client, NAMESPACE)
    eventually(lambda: any(state.delayed_in_memory for state in queues.snapshot()))
    own_redis.stop()
    eventually(lambda: "ConsumerThread(actions.DQ)" in names_of_critical(caplog))
    own_redis.start()
    eventually(lambda: actors.seen == [Act(1)])


@pytest.mark.long
@pytest.mark.timeout(150)
def test_what_a_killed_worker_held_is_done_by_another(
    actors: Actors, broker: Broker, start_worker: StartWorker, redis_url: str, queues: QueueReader
) -> None:
    for number in range(2):
        publish(broker, Act(number))
    with subprocess.Popen(
        [sys.executable, "-c", STUCK_WORKER, redis_url], cwd=ROOT, stdout=subprocess.PIPE
    ) as doomed:
        assert doomed.stdout
        assert doomed.stdout.readline() == b"running\n"
        doomed.kill()
    assert [state.in_flight for state in queues.snapshot()] == [0, 0, 2]
    start_worker(broker)
    deadline = time.monotonic() + 90
    while len(actors.seen) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert sorted(actors.seen, key=str) == [Act(0), Act(1)]
