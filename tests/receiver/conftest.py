"""A real receiver on a real port, with a clock of the test's own, and deliveries signed by hand."""

import json
import logging
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
import uvicorn
from redis import Redis
from sqlalchemy import Engine, Row, select, text

from receiver.app import create_app
from receiver.main import server_config
from receiver.settings import Settings
from workers.broker import make_broker
from workers.embedded import EmbeddedRedis
from workers.store.database import open_store, reading
from workers.store.schema import deliveries, metadata

TEAM = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
KEY = b"twenty-four bytes of key"
PATIENCE = 20.0  # seconds; for slow, busy machines

Headers = dict[str, str]


@dataclass
class Clock:
    now: datetime = datetime(2026, 3, 4, 12, 30, 15, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def _sign(key: bytes, delivery_id: str, timestamp: str, body: bytes) -> str:
    """HMAC written out after RFC 2104, so that nothing is tested with itself. For keys up to 64 bytes."""
    padded = key.ljust(64, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in padded) + f"{delivery_id}.{timestamp}.".encode() + body)
    outer = sha256(bytes(byte ^ 0x5C for byte in padded) + inner.digest())
    return "v1," + b64encode(outer.digest()).decode()


@dataclass
class Sender:
    """Signs as Junction does."""

    clock: Clock
    key: bytes = KEY

    def headers(
        self, body: bytes, delivery_id: str = "msg_1", *, at: datetime | None = None, family: str = "svix"
    ) -> Headers:
        timestamp = str(int((at or self.clock.now).timestamp()))
        return {
            f"{family}-id": delivery_id,
            f"{family}-timestamp": timestamp,
            f"{family}-signature": _sign(self.key, delivery_id, timestamp, body),
        }


def _an_event(order_id: str = "order-1", team_id: str | None = TEAM, **more: Any) -> bytes:
    order: dict[str, Any] = {
        "id": order_id,
        "created_at": "2026-03-04T12:00:00+00:00",
        "details": {"type": "testkit"},
        "patient_details": {"first_name": "Ada", "dob": "1990-12-10"},
        "events": [
            {"id": 7, "created_at": "2026-03-04T12:00:00+00:00", "status": "received.testkit.ordered"}
        ],
        **more,
    }
    return json.dumps({"event_type": "labtest.order.created", "team_id": team_id, "data": order}).encode()


@dataclass
class Door:
    """A running receiver, its store and its queue."""

    port: int
    sender: Sender
    store: Engine
    http: httpx.Client
    queue_url: str
    server: uvicorn.Server
    thread: threading.Thread

    def close(self) -> None:
        """As SIGTERM would: returns when the receiver has stopped."""
        self.server.should_exit = True
        self.thread.join()

    def post(self, body: bytes, delivery_id: str = "msg_1", **signing: Any) -> httpx.Response:
        return self.send(body, self.sender.headers(body, delivery_id, **signing))

    def send(self, body: bytes, headers: Headers) -> httpx.Response:
        return self.http.post(
            "/webhooks/junction", content=body, headers={"content-type": "application/json", **headers}
        )

    def raw(self, request: bytes) -> int | None:
        """The status that these bytes are answered with; None if the connection is closed without a word."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            try:
                connection.sendall(request)
                answer = connection.recv(4096)
            except ConnectionError:
                return None
        return int(answer.split()[1]) if answer else None

    def rows(self) -> list[Row[Any]]:
        with reading(self.store) as connection:
            return list(connection.execute(select(deliveries).order_by(deliveries.c.id)))

    def announced(self) -> list[list[int]]:
        """The ids in each message on the queue, oldest first."""
        with Redis.from_url(self.queue_url) as client:
            names = client.lrange("autocancel:events", 0, -1)
            messages = [client.hget("autocancel:events.msgs", name) for name in names]
        return [json.loads(message)["kwargs"]["ids"] for message in messages]

    def announced_ids(self) -> list[int]:
        return sorted(row_id for message in self.announced() for row_id in message)

    def count(self, metric: str) -> float:
        """One line of /metrics."""
        for line in self.http.get("/metrics").text.splitlines():
            name, _, value = line.rpartition(" ")
            if name == metric:
                return float(value)
        return 0.0


OpenDoor = Callable[..., Door]
Sign = Callable[[bytes, str, str, bytes], str]
AnEvent = Callable[..., bytes]
Locked = Callable[[str], AbstractContextManager[None]]
SomeSettings = Callable[..., Settings]
Eventually = Callable[[Callable[[], object]], None]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sender(clock: Clock) -> Sender:
    return Sender(clock)


@pytest.fixture(scope="session")
def sign() -> Sign:
    """The signature of (key, delivery id, timestamp, body)."""
    return _sign


@pytest.fixture
def an_event() -> AnEvent:
    """The body of a delivery of our team about an order."""
    return _an_event


@pytest.fixture
def some_settings() -> SomeSettings:
    """Settings that work, with some changed."""
    return _some_settings


@pytest.fixture
def locked() -> Locked:
    """While open, somebody else holds the inbox: whoever wants to write to it waits."""
    return _locked


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
def open_door(redis_url: str, clock: Clock, sender: Sender) -> Iterator[OpenDoor]:
    """Starts a receiver with the given settings changed. After the test none may have logged an exception."""
    with ExitStack() as at_the_end:

        def start(url: str, *, create: bool = True, wait: float = 5.0, **changed: Any) -> Door:
            settings = _some_settings(**{"DATABASE_URL": url, "REDIS_URL": redis_url, **changed})
            store = open_store(url, wait=wait)
            at_the_end.callback(store.dispose)
            if create:
                metadata.create_all(store)
            return at_the_end.enter_context(_running(settings, store, clock, sender))

        yield start


@pytest.fixture(scope="module")
def shared_door(redis: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One receiver for those tests of a module that only look at answers. It waits 0.2 seconds for a body."""
    url = f"sqlite:///{tmp_path_factory.mktemp('shared')}/autocancel.db"
    settings = _some_settings(DATABASE_URL=url, REDIS_URL=redis.url, body_seconds=0.2)
    store, clock = open_store(url), Clock()
    metadata.create_all(store)
    with _running(settings, store, clock, Sender(clock)) as door:
        yield door
    store.dispose()


@pytest.fixture
def door(open_door: OpenDoor, database_url: str) -> Door:
    """A receiver on each kind of database."""
    return open_door(database_url)


def _some_settings(**changed: Any) -> Settings:
    secret = "main=whsec_" + b64encode(KEY).decode()
    usual = {"hash_key": "a key for hashing ids", "team_id": TEAM, "webhook_secrets": secret}
    return Settings(**{**usual, "port": 0, "metrics": "open", **changed})


@contextmanager
def _running(settings: Settings, store: Engine, clock: Clock, sender: Sender) -> Iterator[Door]:
    queue_url = settings.redis_url.get_secret_value()
    broker = make_broker(queue_url, publisher=True)
    server = uvicorn.Server(server_config(create_app(settings, store, broker, clock), settings))
    thread = threading.Thread(target=server.run)
    with _exceptions_logged() as troubles:
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the receiver did not start"
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
                yield Door(port, sender, store, http, queue_url, server, thread)
        finally:
            server.should_exit = True
            thread.join()
            broker.close()
    assert [record.getMessage() for record in troubles] == []


@contextmanager
def _exceptions_logged() -> Iterator[list[logging.LogRecord]]:
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record) if record.exc_info else None  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(handler)


@contextmanager
def _locked(url: str) -> Iterator[None]:
    store = open_store(url)
    try:
        with store.connect().execution_options(begin="IMMEDIATE") as connection, connection.begin():
            if store.dialect.name == "postgresql":
                connection.execute(text("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"))
            yield
    finally:
        store.dispose()
