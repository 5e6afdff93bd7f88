"""How long a backtest takes: orders made up by histories.py and replayed on all cores, beside the
same replay in this one process."""

from __future__ import annotations

from bench.histories import cases
from bench.planning import NOW, best_of, the_example
from workers.backtesting import Backtest, backtest
from workers.core.replay import replay

ORDERS = 10_000


def measure() -> None:
    policy = the_example()
    found = list(cases(policy, ORDERS, NOW))
    some = found[: ORDERS // 10]
    alone = best_of(lambda: [list(replay(policy, case, NOW)) for case in some], times=1)
    results: list[Backtest] = []
    shared = best_of(lambda: results.append(backtest(policy, found, NOW, lambda done: None)), times=1)
    print(f"  one process    {alone * len(found) / len(some):6.1f} s (ten times what a tenth takes)")
    print(f"  all cores      {shared:6.1f} s")
    for name, tally in results[0].rules.items():
        print(
            f"  {name:24} {tally.would_cancel:5} cancelled, {tally.regret:4} regretted, {tally.money:10,.2f}"
        )
