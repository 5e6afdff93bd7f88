"""How long one plan takes: an order against the example's rules, beside a call that does nothing."""

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


def measure(count: int = ORDERS) -> None:
    policy = the_example()
    found = list(cases(policy, count, NOW))
    nothing = best_of_three(lambda: [id(case) for case in found])
    planned = best_of_three(lambda: [plan(policy, case).next_at for case in found])
    for what, seconds in (("an empty call", nothing), ("a plan and its next_at", planned)):
        print(f"  {what:24} {seconds / count * 1e6:8.1f} µs an order")


def best_of_three(work: Callable[[], object]) -> float:
    """Seconds of the fastest run: what else the machine does only ever adds."""
    return min(timed(work) for _ in range(3))


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = perf_counter()
    work()
    return perf_counter() - began
