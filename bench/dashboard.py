"""How long the real dashboard takes for its pages on a large store: `python -m bench.dashboard [--orders N]
[--data FOLDER] [--check]`. A page is timed from the first byte sent to the last one received, on loopback."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from time import perf_counter

import httpx

from bench.filling import fill
from bench.serving import free_port, serving
from receiver.dashboard.auth import LOGIN
from receiver.dashboard.pages import PAGES
from workers.embedded import EmbeddedRedis
from workers.store import overview_reads, reads, users
from workers.store.database import open_store, reading, writing

ORDERS = 1_000_000
TIMES = 5  # each is asked for; the median counts
PAGE_MS, FRAGMENT_MS = 200, 50
SLACK = 3  # times the target, before --check complains: machines are noisy
NAME, PASSWORD = "bench", "only for the bench"

FILTERS = (
    "/orders?status=cancelled",
    "/orders?method=on_site_collection",
    "/orders?status=draw_completed&method=on_site_collection",
    "/orders?window=open",
    "/orders?window=unknown",
    "/orders?outcome=will_cancel",
    "/orders?held=1",
    "/orders?failing=1",
    "/orders?q=nothing-of-this-name",
    "/decisions?verdict=review",
    "/decisions?state=open",
    "/events?state=quarantined",
    "/events?state=out_of_order",
    "/events?type=*appointment*",
    "/audit?actor=nobody",
)


@dataclass(frozen=True, slots=True)
class Timed:
    """A page or one region of it: the median in ms, and the size of the HTML in bytes."""

    what: str
    milliseconds: float
    size: int
    target: int

    @property
    def verdict(self) -> str:
        return "" if self.milliseconds <= self.target else f"over {self.target}"


class Regions(HTMLParser):
    """The regions of a page that show themselves anew: their ids, and where they ask."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if "data-live" in named:
            self.found[str(named["id"])] = str(named["hx-get"])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS, help="how many; about ten events each")
    parser.add_argument("--data", type=Path, help="keep the filled database in this folder, or use it again")
    parser.add_argument("--check", action="store_true", help=f"fail beyond {SLACK} × the targets")
    asked = parser.parse_args(arguments)
    with _folder(asked.data) as folder:
        path = folder / f"orders-{asked.orders}.db"
        if not path.exists():
            _fill(path, asked.orders)
        found = list(_measured(path))
    for one in sorted(found, key=lambda one: (one.target, -one.milliseconds)):
        print(f"  {one.milliseconds:8.1f} ms {one.size / 1000:7.1f} kB   {one.what:52} {one.verdict}")
    late = [one for one in found if one.milliseconds > SLACK * one.target]
    return 1 if asked.check and late else 0


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
    else:
        with tempfile.TemporaryDirectory(prefix="autocancel-bench-") as name:
            yield Path(name)


def _fill(path: Path, orders: int) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    began = perf_counter()
    fill(unfinished, orders, _progress)
    unfinished.rename(path)
    _progress("")
    print(f"  {orders:,} orders, {path.stat().st_size / 1e9:.1f} GB, in {perf_counter() - began:.0f} s")


def _progress(text: str) -> None:
    sys.stderr.write(f"\r{text:60}\r" if sys.stderr.isatty() else "")


# --- asking ---------------------------------------------------------------------------------------------------


def _measured(path: Path) -> Iterator[Timed]:
    with _visitor(path) as visitor:
        for address in (*(page.path for page in PAGES), *FILTERS, *_details(path)):
            page = _timed(visitor, address, address, PAGE_MS)
            yield page
            for region, asks in Regions(visitor.get(address).text).found.items():
                headers = {"hx-request": "true", "hx-target": f"div#{region}"}
                yield _timed(visitor, f"{address} #{region}", asks, FRAGMENT_MS, headers)


def _timed(
    visitor: httpx.Client, what: str, address: str, target: int, headers: dict[str, str] | None = None
) -> Timed:
    took = []
    for _ in range(TIMES):
        began = perf_counter()
        answer = visitor.get(address, headers=headers)
        took.append((perf_counter() - began) * 1e3)
        assert answer.status_code == 200, (what, answer.status_code)
    return Timed(what, statistics.median(took), len(answer.content), target)


def _details(path: Path) -> Iterator[str]:
    """The pages of one order, one decision, one delivery."""
    store = open_store(f"sqlite:///{path}")
    with reading(store) as connection:
        yield f"/orders/{reads.list_orders(connection, limit=1)[0]['id']}"
        yield f"/orders/{overview_reads.closing_soon(connection, 1)[0]['id']}"
        yield f"/decisions/{reads.list_decisions(connection, limit=1)[0]['id']}"
    store.dispose()


@contextmanager
def _visitor(path: Path) -> Iterator[httpx.Client]:
    """Somebody signed in to a dashboard that runs on this store."""
    url, port = f"sqlite:///{path}", free_port()
    origin = f"http://127.0.0.1:{port}"
    store = open_store(url)
    with writing(store) as connection:
        users.add(connection, NAME, PASSWORD, "viewer", datetime.now(UTC))
    store.dispose()
    with tempfile.TemporaryDirectory() as name, EmbeddedRedis(Path(name)) as redis:
        settings = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "AUTOCANCEL_DASHBOARD_PORT": str(port),
            "AUTOCANCEL_DASHBOARD_ORIGIN": origin,
        }
        with (
            serving("receiver.dashboard.main", port=port, **settings),
            httpx.Client(base_url=origin, timeout=120, headers={"origin": origin}) as visitor,
        ):
            answer = visitor.post(LOGIN, data={"name": NAME, "password": PASSWORD})
            assert answer.status_code == 303, answer.status_code
            yield visitor


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
