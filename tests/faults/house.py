"""The house under load: receiver, worker and clock as processes of their own on a real Redis, a sender that
retries as Junction does, and a way to kill any of them. For the tests about losing nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from sqlalchemy import Engine, func, select

from tests.faults.receiver_process import KEY, TEAM, signed
from workers.core.events import Keep, read, trim
from workers.core.order import Order, merge
from workers.embedded import EmbeddedRedis
from workers.store import orders
from workers.store.database import open_store, reading
from workers.store.migrate import upgrade
from workers.store.schema import deliveries
from workers.store.schema import orders as orders_table

ROOT = Path(__file__).parents[2]
HASH_KEY = "a key for fault tests"
SECRET = "whsec_" + b64encode(KEY).decode()
POLICY = """
version: 1
policy: faults
environment: sandbox
rules:
  - name: never-due
    methods: [testkit]
    when: [{status: {in: [ordered], for: 9000d}}]
    then: {action: cancel_order}
"""

Payload = dict[str, Any]


class Program:
    """`python -m module`, its output in a file; it can be killed, stopped and started again."""

    def __init__(self, module: str, log: Path, environment: dict[str, str]) -> None:
        self.module, self.log, self.environment = module, log, environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )

    def end(self, how: signal.Signals, seconds: float = 15.0) -> float:
        """Sends a signal and waits; returns how long it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(seconds)
        return time.monotonic() - began


@dataclass
class Sender:
    """Posts deliveries like Junction: what got no 2xx is sent again, under the same id, until it gets one."""

    url: str
    acked: dict[str, Payload] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    refused: int = 0  # connection refused or lost, or 503: what a sender answers with a retry

    def deliver(self, delivery_id: str, payload: Payload, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not self.attempt(delivery_id, payload):
            if time.monotonic() > deadline:
                raise AssertionError(f"{delivery_id} was not taken within {seconds} s")
            time.sleep(0.05)

    def attempt(self, delivery_id: str, payload: Payload) -> bool:
        body = json.dumps(payload).encode()
        request = Request(self.url, data=body, headers=signed(body, delivery_id))
        try:
            with urlopen(request, timeout=15) as answer:
                status = answer.status
        except HTTPError as error:
            status = error.code
        except OSError:
            self.refused += 1
            return False
        self.statuses.append(status)
        if 200 <= status < 300:
            self.acked[delivery_id] = payload
            return True
        self.refused += 1
        return False


@dataclass
class House:
    """Everything running; `kill` is `kill -9` and an immediate new start."""

    folder: Path
    redis: EmbeddedRedis
    store: Engine
    programs: dict[str, Program]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhooks/junction"

    def kill(self, name: str) -> None:
        if name == "redis":
            self.redis.kill()
            self.redis.start()
        else:
            self.programs[name].end(signal.SIGKILL)
            self.programs[name].start()

    def unfinished(self) -> int:
        with reading(self.store) as connection:
            query = select(func.count()).select_from(deliveries).where(deliveries.c.state == "new")
            return connection.execute(query).scalar_one()

    def states(self) -> dict[str, int]:
        with reading(self.store) as connection:
            query = select(deliveries.c.state, func.count()).group_by(deliveries.c.state)
            return {state: count for state, count in connection.execute(query)}  # noqa: C416

    def ids(self) -> set[str]:
        with reading(self.store) as connection:
            return set(connection.execute(select(deliveries.c.delivery_id)).scalars())

    def order(self, order_id: str) -> Order | None:
        with reading(self.store) as connection:
            found = orders.load(connection, [order_id]).get(order_id)
        return found.order if found else None

    def count_orders(self) -> int:
        with reading(self.store) as connection:
            return connection.execute(select(func.count()).select_from(orders_table)).scalar_one()

    def wait(self, holds: Callable[[], bool], seconds: float) -> float:
        """How long it took; fails after so many seconds."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < seconds, f"not within {seconds} s; logs in {self.folder}"
            time.sleep(0.1)
        return time.monotonic() - began

    def complaints(self) -> list[str]:
        return [
            line
            for program in self.programs.values()
            for line in program.log.read_text(errors="replace").splitlines()
            if "Traceback" in line
        ]


@contextmanager
def house(folder: Path, policy: str = POLICY, *, port: int = 0, **settings: str) -> Iterator[House]:
    """`settings`: further environment variables for every process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(policy)
    url = f"sqlite:///{folder}/autocancel.db"
    store = open_store(url)
    upgrade(store)
    port = port or free_port()
    with EmbeddedRedis(folder / "redis") as redis:
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "AUTOCANCEL_TEAM_ID": TEAM,
            "AUTOCANCEL_HASH_KEY": HASH_KEY,
            "AUTOCANCEL_WEBHOOK_SECRETS": f"faults={SECRET}",
            "AUTOCANCEL_PORT": str(port),
            "AUTOCANCEL_POLICY": str(folder / "policy.yaml"),
            "JUNCTION_BASE_URL": "http://127.0.0.1:9",
            "JUNCTION_API_KEY": "sk_us_nobody",
            "AUTOCANCEL_LEASE_SECONDS": "3",  # projecting takes milliseconds; a death shall not take a minute
            **settings,
        }
        modules = {"receiver": "receiver.main", "worker": "workers.main", "clock": "workers.clock"}
        programs = {
            name: Program(module, folder / f"{name}.log", environment) for name, module in modules.items()
        }
        running = House(folder, redis, store, programs, port)
        try:
            for program in programs.values():
                program.start()
            running.wait(lambda: _listens(port), 30)
            yield running
        finally:
            for program in programs.values():
                if program.process is not None and program.process.poll() is None:
                    program.end(signal.SIGKILL)
            store.dispose()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


# --- the load ----------------------------------------------------------------------------------------------

PATH = ("ordered", "requisition_created", "transit_customer", "with_customer", "transit_lab", "completed")
LEVELS = {"ordered": "received", "requisition_created": "received", "completed": "completed"}


def histories(dice: random.Random, how_many: int) -> list[tuple[str, Payload]]:
    """Deliveries about so many orders: each step as Junction tells it, shuffled, some of them twice."""
    began = datetime.now(UTC) - timedelta(days=30)
    told: list[tuple[str, Payload]] = []
    for number in range(how_many):
        events: list[Payload] = []
        for step, name in enumerate(PATH[: dice.randint(1, len(PATH))]):
            at = (began + timedelta(hours=step, minutes=number)).isoformat()
            status = f"{LEVELS.get(name, 'collecting_sample')}.testkit.{name}"
            events = [*events, {"id": number * 10 + step, "created_at": at, "status": status}]
            told.append((f"msg_{number}_{step}", _payload(number, events, at)))
    dice.shuffle(told)
    return told


def _payload(number: int, events: list[Payload], at: str) -> Payload:
    return {
        "event_type": "labtest.order.updated",
        "team_id": TEAM,
        "client_user_id": f"user-{number}",
        "data": {
            "id": f"order-{number}",
            "team_id": TEAM,
            "user_id": f"user-{number}",
            "created_at": events[0]["created_at"],
            "updated_at": at,
            "details": {"type": "testkit"},
            "lab_test": {"id": "a-test", "slug": "a-test", "method": "testkit", "price": 10.0},
            "events": events,
            "last_event": events[-1],
        },
    }


def in_order(payloads: list[Payload]) -> dict[str, Order]:
    """What the orders must come to: the same deliveries, folded in the order in which they happened."""
    keep = Keep(hash_key=HASH_KEY.encode())
    news: dict[str, list[Order]] = {}
    for payload in sorted(payloads, key=lambda payload: payload["data"]["updated_at"]):
        order = read(trim(payload, keep).body, datetime.now(UTC))
        assert order is not None
        news.setdefault(order.id, []).append(order)
    return {order_id: merge(pieces) for order_id, pieces in news.items()}


def differences(running: House, wanted: dict[str, Order]) -> list[str]:
    """Orders whose row is not what a replay in order gives."""
    return [
        order_id
        for order_id, order in wanted.items()
        if (found := running.order(order_id)) is None
        or found.history != order.history
        or found.facts.updated_at != order.facts.updated_at
    ]


def send_all(sender: Sender, told: list[tuple[str, Payload]], threads: int = 8) -> list[threading.Thread]:
    """Starts sending with so many threads; the caller joins them."""
    left = iter(told)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                following = next(left, None)
            if following is None:
                return
            sender.deliver(*following)

    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    return started
