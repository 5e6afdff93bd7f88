"""`python -m bench [--quick] [WHAT …]`: one measurement after the other, all when none is named. With --quick
each on so little that its figures say nothing: only to see that it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from bench import backtest, intake, pipeline, planning


@dataclass(frozen=True, slots=True)
class Measurement:
    """`measure` is told how many (orders, or requests); `few` is for --quick."""

    about: str
    measure: Callable[[int], None]
    many: int
    few: int


MEASUREMENTS = {
    "intake": Measurement(
        "deliveries acknowledged, over 64 connections", intake.measure, intake.REQUESTS, few=500
    ),
    "pipeline": Measurement("from inbox rows to planned orders", pipeline.measure, pipeline.ORDERS, few=10),
    "planning": Measurement(
        "one order against the rules of the example", planning.measure, planning.ORDERS, few=20
    ),
    "backtest": Measurement(
        "orders with their histories, replayed against the example", backtest.measure, backtest.ORDERS, few=40
    ),
}


def main() -> None:
    known = "; ".join(f"{name}: {one.about}" for name, one in MEASUREMENTS.items())
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=known)
    parser.add_argument("--quick", action="store_true", help="on next to nothing")
    asked = parser.parse_args()
    if unknown := set(asked.what) - set(MEASUREMENTS):
        parser.error(f"no measurement {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    for name in asked.what or MEASUREMENTS:
        one = MEASUREMENTS[name]
        print(f"{name}: {one.about}", flush=True)
        one.measure(one.few if asked.quick else one.many)


if __name__ == "__main__":
    main()
