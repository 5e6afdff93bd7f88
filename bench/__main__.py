"""`python -m bench [WHAT …]`: runs one measurement after the other, all when none is named."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench import backtest, planning

MEASUREMENTS: dict[str, tuple[str, Callable[[], None]]] = {
    "planning": ("one order against the 12 rules of the example", planning.measure),
    "backtest": ("10,000 orders with their histories, replayed against the example", backtest.measure),
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        known = "".join(f"\n  {name:10} {about}" for name, (about, _) in MEASUREMENTS.items())
        sys.stderr.write(f"no measurement {', '.join(unknown)}; there are:{known}\n")
        return 2
    for name in names or MEASUREMENTS:
        about, measure = MEASUREMENTS[name]
        print(f"{name}: {about}")
        measure()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
