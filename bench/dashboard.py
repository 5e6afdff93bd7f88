"""How long the real dashboard takes for its pages on a large store, beside the same pages on a small one:
`python -m bench.dashboard [--orders N] [--data FOLDER] [--check]`. Timed on loopback, from asking to the last
byte."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
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
FEW = 200  # in the small store
TIMES = 5  # the median counts
PAGE_MS, FRAGMENT_MS = 200, 50
SLACK = 3  # times the target, before --check complains: machines are noisy
NAME, PASSWORD = "bench", "only for the bench"

FILTERS = (
    "/?span=7d",
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
    """A page or one region: the median, what it should not exceed, and the size of its HTML in bytes."""

    milliseconds: float
    target: int
    size: int


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
    parser.add_argument("--times", type=int, default=TIMES, help="how often each is asked for")
    parser.add_argument("--check", action="store_true", help=f"fail beyond {SLACK} × the targets")
    asked = parser.parse_args(arguments)
    with _folder(asked.data) as folder:
        large, small = (_measured(_filled(folder, orders), asked.times) for orders in (asked.orders, FEW))
    _show(large, small)
    late = [one for one in large.values() if one.milliseconds > SLACK * one.target]
    return 1 if asked.check and late else 0


def _show(large: Mapping[str, Timed], small: Mapping[str, Timed]) -> None:
    print(f"  {'':58} {'ms':>8} {'in a small store':>17} {'×':>6} {'kB':>7}")
    for what, one in sorted(large.items(), key=lambda item: (-item[1].target, -item[1].milliseconds)):
        over = "" if one.milliseconds <= one.target else f"   over {one.target} ms"
        beside = small[what].milliseconds if what in small else float("nan")
        ratio = one.milliseconds / beside
        print(f"  {what:58} {one.milliseconds:8.1f} {beside:17.1f} {ratio:6.1f} {one.size / 1e3:7.1f}{over}")


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
    else:
        with tempfile.TemporaryDirectory(prefix="autocancel-bench-") as name:
            yield Path(name)


def _filled(folder: Path, orders: int) -> Path:
    """The database with so many orders; made unless it is there."""
    path, unfinished = folder / f"orders-{orders}.db", folder / f"orders-{orders}.unfinished"
    if not path.exists():
        unfinished.unlink(missing_ok=True)
        began = perf_counter()
        fill(unfinished, orders, _progress)
        unfinished.rename(path)
        took = perf_counter() - began
        print(f"  a store of {orders:,} orders: {path.stat().st_size / 1e9:.2f} GB, made in {took:.0f} s")
    return path


def _progress(text: str) -> None:
    sys.stderr.write(f"\r{text:60}\r" if sys.stderr.isatty() else "")


# --- asking ------------------------------------------------------------------------------------------------


def _measured(path: Path, times: int) -> dict[str, Timed]:
    """Every page and the regions of each, by name."""
    lists = {address: address for address in (*(page.path for page in PAGES), *FILTERS)}
    found = {}
    with _visitor(path) as visitor:
        for name, address in {**lists, **_details(path)}.items():
            found[name] = _timed(visitor, times, address, PAGE_MS)
            for region, asks in Regions(visitor.get(address).text).found.items():
                headers = {"hx-request": "true", "hx-target": f"div#{region}"}
                found[f"{name} #{region}"] = _timed(visitor, times, asks, FRAGMENT_MS, headers)
    return found


def _timed(
    visitor: httpx.Client, times: int, address: str, target: int, headers: Mapping[str, str] | None = None
) -> Timed:
    took = []
    for _ in range(times):
        began = perf_counter()
        answer = visitor.get(address, headers=headers)
        took.append((perf_counter() - began) * 1e3)
        assert answer.status_code == 200, (address, answer.status_code)
    return Timed(statistics.median(took), target, len(answer.content))


def _details(path: Path) -> dict[str, str]:
    """The pages of one order that has just changed, of one that a rule will cancel, of a decision."""
    store = open_store(f"sqlite:///{path}")
    with reading(store) as connection:
        changed = reads.list_orders(connection, limit=1)[0]["id"]
        closing = overview_reads.closing_soon(connection, 1)[0]["id"]
        decision = reads.list_decisions(connection, limit=1)[0]["id"]
    store.dispose()
    return {
        "an order": f"/orders/{changed}",
        "an order to be cancelled": f"/orders/{closing}",
        "a decision": f"/decisions/{decision}",
    }


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
