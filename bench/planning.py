"""How long one plan takes: an order against all rules of the example, beside a function call that does nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from bench.histories import cases
from workers.core.plan import plan
from workers.core.policy import Policy
from workers.policy_file import Loaded, load_policy

EXAMPLE = Path(__file__).parent.parent / "examples" / "autocancel.yaml"
NOW = datetime(2026, 11, 21, 15, tzinfo=UTC)
ORDERS = 2_000


def the_example() -> Policy:
    """Its 12 rules."""
    loaded = load_policy(EXAMPLE)
    assert isinstance(loaded, Loaded), loaded
    return loaded.policy


def measure() -> None:
    policy = the_example()
    found = list(cases(policy, ORDERS, NOW))
    nothing = best_of(lambda: [id(case) for case in found])
    planned = best_of(lambda: [plan(policy, case) for case in found])
    first = best_of(lambda: [plan(policy, case).next_at for case in found])
    for what, seconds in (("an empty call", nothing), ("a plan", planned), ("a plan and its next_at", first)):
        print(f"  {what:24} {seconds / ORDERS * 1e6:8.1f} µs an order")


def best_of(work: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest run: what else the machine does only ever adds."""
    return min(_timed(work) for _ in range(times))


def _timed(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began
