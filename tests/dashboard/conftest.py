"""A real dashboard on a real port, a browser's headers, a clock that can be moved, and data made by hand."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from secrets import token_hex
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr
from sqlalchemy import Engine, insert, select

from receiver.dashboard.app import create_app
from receiver.dashboard.desk import Desk
from receiver.dashboard.main import Server, server_config
from receiver.dashboard.settings import DashboardSettings
from workers.broker import Broker, make_broker
from workers.messages import publish
from workers.queues import QueueReader
from workers.store import sessions, users
from workers.store.database import open_store, reading, writing
from workers.store.schema import metadata

PASSWORD = "correct horse battery"
PATIENCE = 20.0  # seconds; for slow, busy machines
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}


@dataclass
class Clock:
    """Runs as real ones do, and can be set forward."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, **time: float) -> None:
        self.ahead += timedelta(**time)


class Links(HTMLParser):
    """The addresses that a page leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if tag == "a" and (href := named.get("href")):
            self.found.add(href)


@dataclass
class Dashboard:
    """A running dashboard, its store and its queue."""

    port: int
    clock: Clock
    store: Engine
    broker: Broker
    server: uvicorn.Server
    thread: threading.Thread
    closing: ExitStack = field(repr=False)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def visitor(self, **headers: str) -> httpx.Client:
        """Somebody with a browser of their own, who follows no redirect by itself."""
        client = httpx.Client(base_url=self.origin, timeout=PATIENCE, headers=headers)
        return self.closing.enter_context(client)

    def add_user(self, name: users.Role) -> None:
        """A user called by their role, who has PASSWORD."""
        with writing(self.store) as connection:
            users.add(connection, name, PASSWORD, name, self.clock())

    def sign_in(self, role: users.Role = "operator") -> httpx.Client:
        """A browser in which a user called by their role has signed in, without the toil of a password."""
        if role not in {user["name"] for user in self.rows("users")}:
            self.put("users", name=role, password="none", role=role, created_at=self.clock())
        cookie = token_hex(16)
        with writing(self.store) as connection:
            sessions.begin(connection, cookie, role, self.clock())
        client = self.visitor(**SAME_ORIGIN)
        client.cookies.set("autocancel", cookie, domain="127.0.0.1")
        return client

    def rows(self, table: str) -> list[dict[str, Any]]:
        with reading(self.store) as connection:
            found = connection.execute(select(metadata.tables[table])).mappings()
            return [dict(row) for row in found]

    def put(self, table: str, **row: Any) -> None:
        with writing(self.store) as connection:
            connection.execute(insert(metadata.tables[table]).values(**row))

    def stop(self) -> float:
        """As SIGTERM would; returns how many seconds it took."""
        begun = time.monotonic()
        self.server.should_exit = True
        self.thread.join()
        return time.monotonic() - begun


OpenDashboard = Callable[..., Dashboard]
Eventually = Callable[[Callable[[], object]], None]


@pytest.fixture(scope="session")
def links() -> Callable[[str], set[str]]:
    """The addresses that a page leads to."""

    def found(page: str) -> set[str]:
        parser = Links()
        parser.feed(page)
        return parser.found

    return found


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
def open_dashboard() -> Iterator[OpenDashboard]:
    """Starts a dashboard on a store and a queue, with settings changed. It must not log an exception."""
    with ExitStack() as at_the_end:

        def start(database_url: str, redis_url: str, **changed: Any) -> Dashboard:
            return at_the_end.enter_context(running_dashboard(database_url, redis_url, **changed))

        yield start


@pytest.fixture
def dashboard(open_dashboard: OpenDashboard, sqlite_url: str, redis_url: str) -> Dashboard:
    return open_dashboard(sqlite_url, redis_url)


@contextmanager
def running_dashboard(database_url: str, redis_url: str, **changed: Any) -> Iterator[Dashboard]:
    """A dashboard on a store and a queue, with settings changed. It must not log an exception."""
    usual: dict[str, Any] = {"dashboard_port": 0, "dashboard_refresh_seconds": 0.05}
    urls = {"database_url": SecretStr(database_url), "redis_url": SecretStr(redis_url)}
    settings = DashboardSettings(**{**urls, **usual, **changed})
    store, broker, clock = open_store(database_url), make_broker(redis_url, publisher=True), Clock()
    metadata.create_all(store)
    desk = Desk(
        settings=settings,
        store=store,
        queues=QueueReader(broker.client),
        publish=lambda message: publish(broker, message),
        now=clock,
    )
    app = create_app(desk)
    server = Server(server_config(app, settings), app)
    thread = threading.Thread(target=server.run)
    with ExitStack() as closing, _exceptions_logged() as troubles:
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the dashboard did not start"
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Dashboard(port, clock, store, broker, server, thread, closing)
        finally:
            server.should_exit = True
            thread.join()
            store.dispose()
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
