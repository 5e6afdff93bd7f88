"""Workers on a real Redis and a real store, started for one test and stopped after it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import dramatiq
import pytest
from dramatiq.middleware import Middleware
from redis import Redis
from sqlalchemy import Engine

from workers.broker import NAMESPACE, Broker, make_broker
from workers.queues import QueueReader
from workers.store.processes import Register

PATIENCE = 20.0  # seconds; for slow, busy machines

Eventually = Callable[[Callable[[], object]], None]
StartBroker = Callable[..., Broker]
StartWorker = Callable[..., dramatiq.Worker]


@pytest.fixture
def eventually() -> Eventually:
    """Waits until something is true."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "this never came true"
            time.sleep(0.01)

    return wait


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 3, 4, 12, 30, 15, tzinfo=UTC)


@pytest.fixture
def start_broker(redis_url: str) -> Iterator[StartBroker]:
    """A broker on the test's Redis with the given middleware."""
    with ExitStack() as at_the_end:

        def start(*middleware: Middleware, url: str = redis_url) -> Broker:
            broker = make_broker(url, middleware=middleware)
            at_the_end.callback(broker.close)
            return broker

        yield start


@pytest.fixture
def broker(start_broker: StartBroker) -> Broker:
    return start_broker()


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Starts working off a broker's queues. To be asked for after the broker, so that it stops before."""
    with ExitStack() as at_the_end:

        def start(broker: Broker, threads: int = 2) -> dramatiq.Worker:
            worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=100)
            worker.start()
            at_the_end.callback(worker.stop)
            return worker

        yield start


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def queues(client: Redis) -> QueueReader:
    return QueueReader(client, NAMESPACE)


@pytest.fixture
def register(store: Engine) -> Register:
    return Register(store)
