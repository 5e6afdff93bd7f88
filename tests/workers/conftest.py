"""A whole engine in one process: real store, real sandbox over HTTP, handlers called in the order of their
messages. No Redis: what carries the messages is tested elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Engine, RowMapping, select

from sandbox.running import RunningSandbox
from workers.acting import act
from workers.core.action import Patience
from workers.core.events import Keep, trim
from workers.evaluating import evaluate
from workers.junction import Junction, Timeouts
from workers.messages import Act, EvaluateOrders, Message, ProjectDeliveries, ResendEvents
from workers.policy_file import Loaded, load_policy
from workers.policy_loading import accept, in_brief
from workers.projecting import project
from workers.reasons import Reasons
from workers.resending import resend
from workers.services import Services
from workers.store import inbox, ledger, orders, policies, reads
from workers.store.database import open_store, reading, store_time, writing
from workers.store.schema import metadata, outbox

T = TypeVar("T")
KEEP = Keep(hash_key=b"a key for tests only")

HEAD = """
version: 1
policy: tests
environment: sandbox
time: {settle: 0s}
limits: {per_hour: 1000, per_day: 1000, floor: 1000}
"""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class World:
    """The engine, its sandbox and its store; `drain` does whatever is on the queue, and what is due."""

    sandbox: RunningSandbox
    services: Services
    tmp_path: Path
    queue: deque[Message]
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    waiting: list[Act] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def store(self) -> Engine:
        return self.services.store

    def policy(self, rules: str, head: str = HEAD) -> None:
        path = self.tmp_path / "policy.yaml"
        path.write_text(head + "rules:\n" + rules)
        match load_policy(path):
            case Loaded() as loaded:
                with writing(self.store) as connection:
                    accept(connection, loaded, str(path), store_time(connection))
            case mistakes:
                raise AssertionError(in_brief(mistakes))

    def order(self, **story: Any) -> str:
        """An order at Junction, back-dated by an hour unless told otherwise. Returns its id."""
        story.setdefault("created_at", (now() - timedelta(hours=1)).isoformat())
        order_id: str = self.sandbox.order(**story)["id"]
        return order_id

    def deliver(self, order_id: str, payload: dict[str, Any] | None = None) -> int:
        """The webhook about the order as it is now (or another payload), through inbox and projection."""
        data = payload or {
            "event_type": "labtest.order.updated",
            "team_id": self.services.team_id,
            "data": self.sandbox.api.get(f"/v3/order/{order_id}").json(),
        }
        trimmed = trim(data, KEEP)
        arrival = inbox.Arrival(
            delivery_id=f"msg_{next(self.numbers)}",
            signed_at=now(),
            secret_label="tests",
            size=1,
            sha256="0" * 64,
            state="new",
            event_type=trimmed.event_type,
            team_id=trimmed.team_id,
            order_id=trimmed.order_id,
            body=trimmed.body,
        )
        (recorded,) = inbox.commit(self.store, [arrival], now())
        self.queue.append(ProjectDeliveries([recorded.id]))
        return recorded.id

    def drain(self) -> None:
        """Runs messages, and wakes what is due by then, until nothing is left."""
        while message := self.next_message():
            self.run(message)

    def decide(self) -> None:
        """The same, but nothing is acted on: as if all calls had to wait."""
        while message := self.next_message():
            if isinstance(message, Act):
                self.waiting.append(message)
            else:
                self.run(message)

    def let_go(self) -> None:
        """What `decide` kept back is on the queue now."""
        self.queue.extend(self.waiting)
        self.waiting.clear()

    def next_message(self) -> Message | None:
        """What a free worker would get now; the clock is asked when the queue is empty."""
        with self.lock:
            if not self.queue:
                self.queue.extend(self._due())
            return self.queue.popleft() if self.queue else None

    def _due(self) -> list[Message]:
        with writing(self.store) as connection:
            at = store_time(connection)
            if (generation := policies.active(connection)) is not None:
                orders.wake_stale(connection, generation.number, at, 1000)
            wanted: list[Message] = [EvaluateOrders([id_]) for id_ in orders.due(connection, at, 100)]
            acts = [Act(id_) for id_ in ledger.due(connection, at, 100)]
            return [*wanted, *(act for act in acts if act not in self.waiting)]

    def run_only_for(self, order_id: str) -> None:
        """What concerns this order, as if no other had had its turn yet."""
        for _ in range(3):
            self.run(EvaluateOrders([order_id]))

    def race(self, workers: int = 4) -> None:
        """As `drain`, by several workers at once. Raises what any of them raised."""
        with ThreadPoolExecutor(workers) as pool:
            for worker in [pool.submit(self.drain) for _ in range(workers)]:
                worker.result()

    def all_at_once(self, *messages: Message) -> None:
        """Each message by a worker of its own, all starting together."""
        start = threading.Barrier(len(messages))

        def run(message: Message) -> None:
            start.wait()
            self.run(message)

        with ThreadPoolExecutor(len(messages)) as pool:
            for worker in [pool.submit(run, message) for message in messages]:
                worker.result()

    def say(self, what: Callable[[Connection], T]) -> T:
        """Something an operator or the platform does, in a transaction of its own."""
        with writing(self.store) as connection:
            return what(connection)

    def run(self, message: Message) -> None:
        match message:
            case ProjectDeliveries(ids=ids):
                project(self.services, ids)
            case EvaluateOrders(ids=ids_):
                evaluate(self.services, ids_)
            case Act(id=id_):
                act(self.services, id_)
            case ResendEvents(id=wish):
                resend(self.services, wish)

    def row(self, order_id: str) -> RowMapping:
        with reading(self.store) as connection:
            row = reads.order_row(connection, order_id)
        assert row is not None
        return row

    def decisions(self, order_id: str) -> list[RowMapping]:
        with reading(self.store) as connection:
            return list(reads.decisions_of(connection, order_id))

    def actions(self, order_id: str) -> list[RowMapping]:
        with reading(self.store) as connection:
            return list(reads.actions_of(connection, order_id))

    def posts(self, order_id: str) -> int:
        """How often the cancel of an order reached Junction."""
        return len(self.sandbox.calls(order_id=order_id, operation="cancel_order"))

    def status(self, order_id: str) -> str:
        """What Junction says of an order now."""
        events = self.sandbox.api.get(f"/v3/order/{order_id}").json()["events"]
        return str(events[-1]["status"]).rpartition(".")[2]

    def news(self, order_id: str) -> list[tuple[str, str]]:
        """What the platform is told about an order: type and reason."""
        with reading(self.store) as connection:
            query = select(outbox.c.type, outbox.c.body).where(outbox.c.order_id == order_id)
            return [(type_, body.get("reason", "")) for type_, body in connection.execute(query)]

    def eventually(self, true: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        self.drain()
        while not true():
            assert time.monotonic() < deadline, "it did not come true"
            time.sleep(0.05)
            self.drain()


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox(seed=7) as running:
        yield running


@pytest.fixture
def world(sandbox: RunningSandbox, store: Engine, tmp_path: Path) -> Iterator[World]:
    with world_with(sandbox, store, tmp_path) as made:
        yield made


@pytest.fixture
def postgres_world(sandbox: RunningSandbox, postgres_url: str, tmp_path: Path) -> Iterator[World]:
    """For races: SQLite has but one writer."""
    yield from _world_on(postgres_url, sandbox, tmp_path)


@pytest.fixture
def sqlite_world(sandbox: RunningSandbox, sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """For what does not depend on the database."""
    yield from _world_on(sqlite_url, sandbox, tmp_path)


def _world_on(url: str, sandbox: RunningSandbox, tmp_path: Path) -> Iterator[World]:
    engine = open_store(url, pool_size=16)
    metadata.create_all(engine)
    with world_with(sandbox, engine, tmp_path) as made:
        yield made
    engine.dispose()


@contextmanager
def world_with(sandbox: RunningSandbox, store: Engine, tmp_path: Path) -> Iterator[World]:
    queue: deque[Message] = deque()
    with Junction(
        sandbox.url,
        sandbox.config.api_key,
        KEEP,
        now=now,
        timeouts=Timeouts(connect=1.0, read=1.0, write=1.0, pool=1.0, total=2.0),
    ) as junction:
        services = Services(
            store=store,
            junction=junction,
            publish=queue.append,
            now=now,
            monotonic=time.monotonic,
            environment="sandbox",
            team_id=str(sandbox.config.team_id),
            version="tests",
            reasons=Reasons(now),
            patience=Patience(first_look=timedelta(seconds=0.1), second_call=timedelta(seconds=2)),
        )
        yield World(sandbox, services, tmp_path, queue)
