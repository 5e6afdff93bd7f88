"""A Junction that times out after applying, drops connections and answers nonsense, and workers that are
killed at random: still at most one effective cancel for each order, and the ledger knows what Junction knows.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from sandbox.running import RunningSandbox
from tests.faults.house import House, Program, Sender, house
from tests.faults.receiver_process import TEAM
from workers.store.database import reading
from workers.store.schema import actions, decisions, failures, orders

POLICY = """
version: 1
policy: under-fire
environment: sandbox
time: {settle: 0s}
limits: {per_hour: 100000, per_day: 100000, floor: 100000}
rules:
  - name: stuck
    mode: enforce
    methods: [testkit, walk_in_test]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [ordered, appointment_scheduled], for: 10m}
    then: {action: cancel_order, psc_appointment: always}
"""
ENDED = ("confirmed", "refused", "failed", "partial", "dropped", "blocked", "final")
CANCELS = ("cancel_order", "cancel_psc_appointment")

# What strikes a cancel and a look, each with its share of the calls.
STRIKES: list[dict[str, Any]] = [
    *(
        {"kind": "drop", "operation": "cancel_*", "at_byte": at, "probability": 0.05}
        for at in (0, 9, 150, 700)
    ),
    {"kind": "drop", "operation": "cancel_*", "applied": False, "probability": 0.04},
    {"kind": "timeout_after", "operation": "cancel_*", "probability": 0.06},
    {"kind": "timeout_before", "operation": "cancel_*", "probability": 0.03},
    {"kind": "apply_late", "operation": "cancel_*", "seconds": 2.0, "probability": 0.05},
    {"kind": "bad_json", "operation": "cancel_*", "probability": 0.04},
    *({"kind": "status", "operation": "*", "status": code, "probability": 0.02} for code in (500, 502)),
    {"kind": "status", "operation": "*", "status": 429, "retry_after": 1, "probability": 0.01},
]


@contextmanager
def under_fire(
    folder: Path,
    sandbox: RunningSandbox,
    *,
    calls_per_second: int = 200,
    calls_at_once: int = 50,
    lease_seconds: int = 3,
) -> Iterator[House]:
    with house(
        folder,
        POLICY,
        JUNCTION_BASE_URL=sandbox.url,
        JUNCTION_API_KEY=sandbox.config.api_key,
        AUTOCANCEL_CALL_SECONDS="1",
        AUTOCANCEL_SECOND_CALL_SECONDS="10",
        AUTOCANCEL_CALLS_PER_SECOND=str(calls_per_second),
        AUTOCANCEL_CALLS_AT_ONCE=str(calls_at_once),
        AUTOCANCEL_LEASE_SECONDS=str(lease_seconds),
    ) as running:
        second = Program("workers.main", folder / "second.log", running.programs["worker"].environment)
        running.programs["second"] = second
        second.start()
        yield running


def place(sandbox: RunningSandbox, running: House, how_many: int) -> list[str]:
    """So many orders that are due, every third with a slot of its own; each told by one webhook."""
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    sender, placed = Sender(running.url), []
    for number in range(how_many):
        scene = (
            {"method": "walk_in_test", "state": "appointment_scheduled"}
            if number % 3 == 0
            else {"method": "testkit"}
        )
        order = sandbox.order(created_at=at, **scene)
        payload = {"event_type": "labtest.order.updated", "team_id": TEAM, "data": order}
        sender.deliver(f"msg_{number}", payload)
        placed.append(str(order["id"]))
    return placed


def unfinished(running: House, placed: list[str]) -> list[str]:
    """Orders without a decision, or with one that has not come to its end."""
    with reading(running.store) as connection:
        rows = connection.execute(
            select(decisions.c.order_id, decisions.c.state).where(decisions.c.verdict == "cancel")
        ).all()
    states = defaultdict(set)
    for order_id, state in rows:
        states[order_id].add(state)
    final = set(ENDED) - {"dropped"}
    return [id_ for id_ in placed if not states[id_] & final or states[id_] - set(ENDED)]


def ledger(running: House) -> dict[tuple[str, str], tuple[int, set[str]]]:
    """(order, step) -> calls that may have reached Junction, and how its rows ended."""
    with reading(running.store) as connection:
        rows = connection.execute(
            select(actions.c.order_id, actions.c.kind, actions.c.posts, actions.c.state)
        )
        found: dict[tuple[str, str], tuple[int, set[str]]] = {}
        for order_id, kind, posts, state in rows:
            before, states = found.get((order_id, kind), (0, set()))
            found[order_id, kind] = (before + posts, states | {state})
        return found


def open_failures(running: House) -> int:
    with reading(running.store) as connection:
        return connection.execute(select(func.count()).select_from(failures)).scalar_one()


@pytest.mark.parametrize("how_many", [40, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.timeout(1800)
def test_at_most_one_effective_cancel_whatever_breaks(tmp_path: Path, how_many: int) -> None:
    dice, kills = random.Random(how_many), Counter[str]()
    with (
        RunningSandbox(seed=how_many, team_id=UUID(TEAM)) as sandbox,
        # A thousand that wait are not all to be announced again every three seconds.
        under_fire(tmp_path, sandbox, lease_seconds=3 if how_many < 100 else 20) as running,
    ):
        for strike in STRIKES:
            sandbox.fault(**strike)
        began = time.monotonic()
        placed = place(sandbox, running, how_many)
        while unfinished(running, placed):
            assert time.monotonic() - began < 120 + how_many, f"{unfinished(running, placed)} in {tmp_path}"
            time.sleep(dice.uniform(0.5, 2.5))
            if sum(kills.values()) < how_many / 16:
                victim = dice.choice(["worker", "second", "clock"])
                running.kill(victim)
                kills[victim] += 1
        took = time.monotonic() - began
        cancels = defaultdict(list)
        for call in sandbox.calls():
            if call["operation"] in CANCELS:
                cancels[call["order_id"], call["operation"]].append(call)
        applied = {key for key, calls in cancels.items() if any(call["applied"] for call in calls)}
        twice = [key for key, calls in cancels.items() if [c["applied"] for c in calls].count(True) > 1]
        after = [key for key, calls in cancels.items() if any(call["applied"] for call in calls[:-1])]
        known = ledger(running)
        told = Counter(call["status"] for calls in cancels.values() for call in calls)
        print(
            f"{how_many} orders, {dict(kills)} killed, {took:.0f} s: {sum(told.values())} cancels, "
            f"{len(applied)} applied, {len(twice)} twice, {len(after)} called after an applied one, "
            f"answers {dict(told)}, ends {dict(Counter(s for _, ends in known.values() for s in ends))}"
        )
        assert (twice, after) == ([], [])
        assert {key for key, (_, ends) in known.items() if "confirmed" in ends} == applied
        reached = {key: sum(call["status"] != 429 for call in calls) for key, calls in cancels.items()}
        assert [key for key, calls in reached.items() if known[key][0] < calls] == []
        with reading(running.store) as connection:
            left = connection.execute(select(orders.c.id).where(orders.c.outlook == "quarantined")).all()
        assert left == []


@pytest.mark.parametrize("seconds", [3, pytest.param(120, marks=pytest.mark.long)])
@pytest.mark.timeout(400)
def test_while_junction_asks_for_quiet_it_gets_quiet_and_afterwards_all_is_done(
    tmp_path: Path, seconds: int
) -> None:
    rate, burst = 20, 5
    with (
        RunningSandbox(seed=1, team_id=UUID(TEAM)) as sandbox,
        under_fire(tmp_path, sandbox, calls_per_second=rate, calls_at_once=burst) as running,
    ):
        sandbox.fault("status", status=429, retry_after=1, operation="*order*")
        placed = place(sandbox, running, 20)
        time.sleep(seconds)
        during = len(sandbox.calls())
        sandbox.api.post("/sandbox/faults/clear")
        took = running.wait(lambda: not unfinished(running, placed), 60)
        times = sorted(datetime.fromisoformat(call["at"]) for call in sandbox.calls())
        busiest = max(sum(1 for other in times if at <= other < at + timedelta(seconds=1)) for at in times)
        print(
            f"429 for {seconds} s: {during} calls in it, busiest second {busiest} (bucket {rate} + {burst}), "
            f"all done {took:.1f} s later"
        )
        assert busiest <= rate + burst + 1  # one that was let go at the edge of the second before
        assert (
            during <= (seconds + 1) * burst * 2
        )  # a burst a second at most, while each is answered with 429
        assert open_failures(running) == 0
        assert {state for _, states in ledger(running).values() for state in states} == {"confirmed"}
