"""How long a backtest takes: orders made up by histories.py, stored, read and replayed on all cores, beside
the same replay in this one process without any store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine

from bench.histories import cases
from bench.planning import NOW, the_example, timed
from workers.backtesting import Backtest, backtest
from workers.core.case import Case
from workers.core.policy import Policy
from workers.core.replay import replay
from workers.store import controls, orders
from workers.store.database import open_store, reading, writing
from workers.store.schema import metadata
from workers.whatif import stored_cases

ORDERS = 10_000
BATCH = 1_000


def measure(count: int = ORDERS) -> None:
    policy = the_example()
    made_up = list(cases(policy, count, NOW))
    some = made_up[: count // 10]
    alone = timed(lambda: [list(replay(policy, case, NOW)) for case in some]) * count / len(some)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'orders.db'}")
        metadata.create_all(store)
        keep(store, made_up)
        found: list[Backtest] = []
        whole = timed(lambda: found.append(of_the_store(store, policy)))
        store.dispose()
    print(f"  one process, no store  {alone:6.1f} s (ten times what a tenth takes)")
    print(f"  all cores, SQLite      {whole:6.1f} s")
    for name, tally in found[0].rules.items():
        print(f"    {name:24} {tally.would_cancel:5} cancelled {tally.regret:5} regret {tally.money:12,.2f}")


def of_the_store(store: Engine, policy: Policy) -> Backtest:
    with reading(store) as connection:
        found = stored_cases(connection, policy, NOW, only_open=False)
        return backtest(policy, found, NOW, lambda done: None)


def keep(store: Engine, made_up: Iterable[Case]) -> None:
    """Stores orders and the signals about them."""
    left = iter(made_up)
    while batch := list(islice(left, BATCH)):
        with writing(store) as connection:
            orders.claim(connection, [case.order.id for case in batch], NOW)
            orders.save(connection, {case.order.id: orders.Change(case.order, None) for case in batch}, NOW)
            for case in batch:
                for said in case.signals:
                    controls.post_signal(
                        connection, "order", case.order.id, said.name, at=said.at, actor="bench", now=NOW
                    )
