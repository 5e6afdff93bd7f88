"""The store knows who works, on what, how much was done, and what failed for good."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import dramatiq
import pytest
from redis import Redis
from sqlalchemy import Engine, func, select

from workers.broker import NAMESPACE, Broker
from workers.done import KEPT, Run, keep
from workers.messages import EvaluateOrders, publish
from workers.queues import QueueReader
from workers.recorder import DeadLetters, Recorder
from workers.store.controls import switch
from workers.store.database import reading, writing
from workers.store.failures import FailureGroup, FailureLog, list_groups
from workers.store.processes import Process, Register, list_processes
from workers.store.schema import failures, figures, metadata

Eventually = Callable[[Callable[[], object]], None]
StartBroker = Callable[..., Broker]
StartWorker = Callable[..., dramatiq.Worker]

SECRET = "born 1980-01-01"


def clock() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def recorded(start_broker: StartBroker, store: Engine, register: Register) -> Broker:
    """A broker whose workers tell the store."""
    return start_broker(
        Recorder(register, clock, version="v1"), DeadLetters(FailureLog(store).record, clock, version="v1")
    )


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()  # or the worker behind it could not stop


@pytest.fixture
def processes(store: Engine) -> Callable[[], tuple[Process, ...]]:
    def read() -> tuple[Process, ...]:
        with reading(store) as connection:
            return list_processes(connection)

    return read


@pytest.fixture
def groups(store: Engine) -> Callable[[], tuple[FailureGroup, ...]]:
    def read() -> tuple[FailureGroup, ...]:
        with reading(store) as connection:
            return list_groups(connection)

    return read


@pytest.fixture
def counted(store: Engine) -> Callable[[], dict[str, int]]:
    def read() -> dict[str, int]:
        with reading(store) as connection:
            query = select(figures.c.series, func.sum(figures.c.value)).group_by(figures.c.series)
            return {series: int(value) for series, value in connection.execute(query)}

    return read


def an_actor(broker: Broker, *, max_retries: int = 0, gate: threading.Event | None = None) -> None:
    """It waits at the gate, if there is one, and fails on orders called `bad`."""

    @dramatiq.actor(broker=broker, queue_name="orders", max_retries=max_retries)
    def evaluate(ids: list[str]) -> None:
        if gate:
            gate.wait(60)
        if "bad" in ids:
            raise ValueError(SECRET)


def switch_in(store: Engine, name: str, *, on: bool, now: datetime) -> None:
    with writing(store) as connection:
        switch(connection, name, on=on, actor="ana", reason="the lab is closed", now=now)


def test_a_worker_shows_what_each_thread_is_doing_until_it_leaves(
    recorded: Broker,
    gate: threading.Event,
    start_worker: StartWorker,
    processes: Callable[[], tuple[Process, ...]],
    eventually: Eventually,
) -> None:
    an_actor(recorded, gate=gate)
    message_id = publish(recorded, EvaluateOrders(["order-1"]))
    worker = start_worker(recorded, threads=3)
    eventually(lambda: [process.running for process in processes() if process.running])
    (process,) = processes()
    (running,) = process.running
    assert (running.message_id, running.actor, running.queue) == (message_id, "evaluate", "orders")
    assert (process.kind, process.version, process.queues, process.threads) == (
        "worker",
        "v1",
        ("orders",),
        3,
    )
    assert process.started_at <= running.since <= process.seen_at
    assert process.is_live(process.seen_at + timedelta(seconds=15))
    assert not process.is_live(process.seen_at + timedelta(seconds=16))

    gate.set()
    eventually(lambda: not processes()[0].running)
    worker.stop()
    assert processes() == ()


def test_every_run_is_counted_by_how_it_ended(
    recorded: Broker,
    start_worker: StartWorker,
    counted: Callable[[], dict[str, int]],
    eventually: Eventually,
) -> None:
    an_actor(recorded, max_retries=1)
    publish(recorded, EvaluateOrders(["good"]))
    publish(recorded, EvaluateOrders(["bad"]))
    start_worker(recorded)
    eventually(lambda: "queue.orders.failed" in counted())
    counts = counted()
    assert [counts[f"queue.orders.{outcome}"] for outcome in ("ok", "retried", "failed")] == [1, 1, 1]
    assert sum(count for series, count in counts.items() if ".le_" in series) == 3


def test_counts_outlive_a_store_that_is_away_for_a_while(
    recorded: Broker,
    store: Engine,
    start_worker: StartWorker,
    counted: Callable[[], dict[str, int]],
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    an_actor(recorded)
    start_worker(recorded)
    with writing(store) as connection:
        figures.drop(connection)
    publish(recorded, EvaluateOrders(["good"]))
    eventually(lambda: "could not be recorded" in caplog.text)
    with writing(store) as connection:
        figures.create(connection)
    eventually(lambda: counted().get("queue.orders.ok") == 1)


def test_an_operators_pause_reaches_the_worker(
    recorded: Broker,
    store: Engine,
    start_worker: StartWorker,
    processes: Callable[[], tuple[Process, ...]],
    eventually: Eventually,
    now: datetime,
) -> None:
    an_actor(recorded)
    switch_in(store, "rule:orders", on=True, now=now)
    switch_in(store, "queue:orders", on=True, now=now)
    start_worker(recorded)
    assert recorded.paused == {"orders"}
    assert processes()[0].paused == ("orders",)
    switch_in(store, "queue:orders", on=False, now=now)
    eventually(lambda: recorded.paused == frozenset())


def test_a_worker_that_cannot_ask_what_is_paused_takes_nothing(
    recorded: Broker, store: Engine, start_worker: StartWorker, eventually: Eventually
) -> None:
    an_actor(recorded)
    metadata.drop_all(store)
    start_worker(recorded)
    assert recorded.paused == {"orders"}
    metadata.create_all(store)
    eventually(lambda: recorded.paused == frozenset())


def test_a_message_that_fails_for_good_is_written_down_without_its_text(
    recorded: Broker,
    start_worker: StartWorker,
    groups: Callable[[], tuple[FailureGroup, ...]],
    queues: QueueReader,
    store: Engine,
    eventually: Eventually,
) -> None:
    an_actor(recorded, max_retries=1)
    message_id = publish(recorded, EvaluateOrders(["bad"]))
    start_worker(recorded)
    eventually(lambda: queues.messages("orders", "retrying"))
    (retrying,) = queues.messages("orders", "retrying")
    assert (retrying.id, retrying.error, retrying.retries) == (message_id, "ValueError", 1)
    assert (retrying.place or "").endswith(":an_actor.<locals>.evaluate")

    eventually(groups)
    (group,) = groups()
    failure = group.sample.failure
    assert (failure.message_id, failure.attempts, failure.order_id) == (message_id, 2, "bad")
    assert (failure.error, failure.place) == (retrying.error, retrying.place)
    with reading(store) as connection:
        assert SECRET not in str(connection.execute(select(failures)).all())
    assert SECRET not in str(queues.messages("orders", "dead"))


def test_a_message_for_no_actor_is_written_down_too(
    recorded: Broker,
    start_worker: StartWorker,
    groups: Callable[[], tuple[FailureGroup, ...]],
    eventually: Eventually,
) -> None:
    recorded.declare_queue("orders")
    recorded.enqueue(dramatiq.Message("orders", "gone", (), {"ids": ["order-1"]}, {}))
    start_worker(recorded)
    eventually(groups)
    (group,) = groups()
    assert group.fingerprint.startswith("gone ActorNotFound ")
    assert group.sample.failure.order_id == "order-1"


def test_the_last_runs_are_shown_however_they_ended(
    recorded: Broker, start_worker: StartWorker, queues: QueueReader, eventually: Eventually
) -> None:
    an_actor(recorded, max_retries=1)
    good = publish(recorded, EvaluateOrders(["good"]))
    bad = publish(recorded, EvaluateOrders(["bad"]))
    start_worker(recorded, threads=1)
    eventually(lambda: len(queues.finished("orders")) == 3)
    last, *others = queues.finished("orders")
    assert (last.message_id, last.ending, last.error, last.attempt) == (bad, "failed", "ValueError", 2)
    assert [(run.message_id, run.ending, run.attempt) for run in others] == [
        (bad, "retried", 1),
        (good, "ok", 1),
    ]
    assert queues.finished("orders", offset=2) == (others[1],)
    assert SECRET not in str(queues.finished("orders"))


def test_of_the_runs_only_the_last_are_kept(client: Redis, queues: QueueReader, now: datetime) -> None:
    for number in range(KEPT + 5):
        run = Run(f"m{number}", "act", "actions", {"id": number}, 1, "ok", None, "lab:7", now, 12)
        keep(client, NAMESPACE, {"actions": [run]})
    runs = queues.finished("actions", 0, 1_000)
    assert [run.args["id"] for run in runs] == list(range(KEPT + 4, 4, -1))


def test_how_full_a_queue_was_is_noted_once_a_minute(
    start_broker: StartBroker, register: Register, store: Engine, now: datetime
) -> None:
    times = Minutes(now)
    broker = start_broker(recorder := Recorder(register, times, version="v1"))
    an_actor(broker)
    recorder._broker = broker
    publish(broker, EvaluateOrders(["order-1"]))
    assert levels(store) == {}
    recorder._sample()  # still the minute in which it began
    assert levels(store) == {}
    times.now += timedelta(minutes=1)
    recorder._sample()
    publish(broker, EvaluateOrders(["order-2"]))
    recorder._sample()
    assert {name: levels(store)[f"queue.orders.{name}"] for name in ("ready", "messages", "dead")} == {
        "ready": 1,
        "messages": 1,
        "dead": 0,
    }


class Minutes:
    """A clock that stands."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def levels(store: Engine) -> dict[str, int]:
    with reading(store) as connection:
        query = select(figures.c.series, figures.c.value)
        return {row.series: row.value for row in connection.execute(query)}


def test_the_first_worker_that_looks_is_believed(store: Engine, register: Register, now: datetime) -> None:
    register.sample(now, {"queue.orders.ready": 3})
    register.sample(now, {"queue.orders.ready": 9})
    assert levels(store) == {"queue.orders.ready": 3}
