"""How many deliveries a second one receiver acknowledges, each stored durably, beside the same server that
stores nothing. Client and server share this machine's cores."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from random import Random

from bench.deliveries import Delivery, deliveries
from bench.histories import cases
from bench.load import send
from bench.planning import the_example
from bench.serving import free_port, serving
from receiver.app import WEBHOOK_PATH
from sandbox.config import SECRET, TEAM_ID, Config
from sandbox.webhooks import signature_headers
from workers.embedded import EmbeddedRedis
from workers.store.database import open_store
from workers.store.migrate import upgrade

REQUESTS = 20_000
WARM_UP = 500
CONNECTIONS = 64
LONGEST = 10.0  # seconds a server

Server = Callable[[int], AbstractContextManager[None]]


def measure(requests: int = REQUESTS) -> None:
    servers: dict[str, Server] = {
        "bare Starlette": lambda port: serving("bench.bare", "nothing", str(port), port=port),
        "and the signature": lambda port: serving("bench.bare", "verify", str(port), port=port),
        "the receiver": _receiver,
    }
    found = list(islice(cycle(_made_up(requests // 5)), requests + WARM_UP))
    rates: dict[str, float] = {}
    for what, server in servers.items():
        signed = _signed(found)
        port = free_port()
        with server(port):
            send(port, signed[:WARM_UP], connections=CONNECTIONS, seconds=LONGEST)
            timed = send(port, signed[WARM_UP:], connections=CONNECTIONS, seconds=LONGEST)
        assert set(timed.statuses) == {202}, timed.statuses
        rates[what] = timed.per_second
        print(
            f"  {what:20} {timed.per_second:8,.0f} a second   p50 {timed.percentile(0.5) * 1e3:5.1f} ms"
            f"   p99 {timed.percentile(0.99) * 1e3:5.1f} ms   {rates[what] / rates['bare Starlette']:5.2f} ×"
        )


def _made_up(count: int) -> list[Delivery]:
    policy, random = the_example(), Random(2)
    told = (one for case in cases(policy, count, datetime.now(UTC)) for one in deliveries(random, case.order))
    # An anonymous picture, and one of an appointment, are smaller; the whole is 3 to 4 kB.
    return list(islice((one for one in told if len(one.body) > 3_000), count))


def _signed(found: Sequence[Delivery]) -> list[bytes]:
    """Requests as Junction makes them, each with an id of its own, signed now."""
    config, now = Config(now=lambda: datetime.now(UTC)), datetime.now(UTC)
    return [_request(config, f"{one.id}{number}", now, one.body) for number, one in enumerate(found)]


def _request(config: Config, delivery_id: str, now: datetime, body: bytes) -> bytes:
    headers = {
        "host": "receiver",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **signature_headers(config, delivery_id, now, body),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {WEBHOOK_PATH} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


@contextmanager
def _receiver(port: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as name, EmbeddedRedis(Path(name) / "redis") as redis:
        url = f"sqlite:///{name}/autocancel.db"
        store = open_store(url)
        upgrade(store)
        store.dispose()
        settings = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "AUTOCANCEL_TEAM_ID": str(TEAM_ID),
            "AUTOCANCEL_HASH_KEY": "a key for the bench alone",
            "AUTOCANCEL_WEBHOOK_SECRETS": f"main={SECRET}",
            "AUTOCANCEL_PORT": str(port),
        }
        with serving("receiver.main", port=port, **settings):
            yield
