"""Many workers and people at once. What must hold: Junction never gets a second effective cancel for one
order, none after a stop or a hold has been answered, and nobody waits in a circle."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import OperationalError

from tests.workers.conftest import HEAD, World, now
from workers import limiting, operating
from workers.core.outlook import Outlook
from workers.messages import Act, ProjectDeliveries
from workers.operating import Said
from workers.policy_file import Loaded, load_policy
from workers.policy_loading import accept
from workers.store import controls, orders
from workers.store.database import open_store, reading, store_time, writing
from workers.store.schema import actions, metadata
from workers.store.schema import orders as orders_table

RULES = """
  - name: stuck-kit
    mode: enforce
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [ordered], for: 10m}
    then: {action: cancel_order}
  - name: duplicate
    mode: enforce
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - duplicate: {same: [user], within: 30d}
    then: {action: cancel_order}
"""


def said() -> Said:
    return Said("somebody", "a reason", now())


def effective(world: World, order_id: str) -> list[bool]:
    """For each cancel that Junction got: whether it was applied."""
    return [call["applied"] for call in world.sandbox.calls(order_id=order_id, operation="cancel_order")]


def at_most_once(world: World, order_id: str) -> bool:
    applied = effective(world, order_id)
    return applied.count(True) <= 1 and True not in applied[:-1]


@contextmanager
def uncommitted(world: World, say: Callable[[Connection], object]) -> Iterator[None]:
    """Something is being said by somebody else, and committed at the end."""
    with writing(world.store) as connection:
        say(connection)
        yield


def planned(world: World) -> tuple[str, Act]:
    world.policy(RULES)
    kit = world.order()
    world.deliver(kit)
    world.decide()
    return kit, world.waiting[0]


def new_policy(world: World) -> Callable[[Connection], object]:
    path = world.tmp_path / "another.yaml"
    path.write_text(HEAD + "rules:" + RULES.replace("10m", "11m"))
    loaded = load_policy(path)
    assert isinstance(loaded, Loaded)
    return lambda c: accept(c, loaded, str(path), store_time(c))


SAYINGS: dict[str, Callable[[World, str], Callable[[Connection], object]]] = {
    "stop": lambda _world, _kit: lambda c: operating.stop(c, said()),
    "pause": lambda _world, _kit: lambda c: operating.pause(c, "stuck-kit", said()),
    "hold": lambda _world, kit: lambda c: controls.hold(c, kit, actor="us", reason="wait", now=now()),
    "policy": lambda world, _kit: new_policy(world),
}


@pytest.mark.parametrize("word", SAYINGS)
def test_the_gate_waits_for_whatever_is_being_said_at_that_moment(postgres_world: World, word: str) -> None:
    """Else a person would be told "stopped", and the call would go out a moment later."""
    world = postgres_world
    kit, act = planned(world)
    with uncommitted(world, SAYINGS[word](world, kit)):
        worker = threading.Thread(target=world.run, args=(act,))
        worker.start()
        time.sleep(0.7)  # long enough for a gate that does not wait to have made its call
        assert world.posts(kit) == 0
    worker.join()
    assert world.posts(kit) == 0
    assert world.actions(kit)[0]["state"] == "dropped"


def test_a_stop_waits_for_a_gate_that_is_being_passed_and_says_that_it_comes_too_late(
    postgres_world: World,
) -> None:
    world = postgres_world
    planned(world)
    told: list[int] = []

    def pass_the_gate(connection: Connection) -> None:
        controls.lock(connection, [controls.STOP])
        connection.execute(update(actions).values(state="sending"))

    with uncommitted(world, pass_the_gate):
        person = threading.Thread(target=lambda: told.append(world.say(lambda c: operating.stop(c, said()))))
        person.start()
        time.sleep(0.3)
        assert told == []
    person.join()
    assert told == [1]


def test_a_decision_waits_for_whoever_counts_against_the_limits(postgres_world: World) -> None:
    world = postgres_world
    world.policy(RULES)
    kit = world.order()
    world.deliver(kit)
    active = world.say(lambda c: world.services.policy.read(c))
    assert active is not None
    with uncommitted(world, lambda c: limiting.lock(c, active.policy)):
        worker = threading.Thread(target=world.decide)
        worker.start()
        time.sleep(0.5)
        assert world.actions(kit) == []
    worker.join()
    assert len(world.actions(kit)) == 1


@pytest.mark.parametrize("how_many", [24])
def test_four_workers_over_the_same_orders_and_a_shaky_junction(postgres_world: World, how_many: int) -> None:
    """Every order is handed to every worker again and again; Junction loses calls before and after applying
    them."""
    world = postgres_world
    world.policy(RULES)
    kits = [world.order() for _ in range(how_many)]
    for kit in kits:
        world.deliver(kit)
    for kind, share in (("drop", 0.2), ("timeout_after", 0.1), ("apply_late", 0.1)):
        more: dict[str, Any] = {"seconds": 0.5} if kind == "apply_late" else {}
        world.sandbox.fault(kind, operation="cancel_order", probability=share, **more)
    world.sandbox.fault("status", status=502, operation="cancel_order", probability=0.1)
    every = [Act(number) for number in range(1, how_many + 1)]

    def settled() -> bool:
        world.queue.extend(every)
        world.race()
        return all(world.status(kit) == "cancelled" for kit in kits) and all(
            world.decisions(kit)[0]["state"] == "confirmed" for kit in kits
        )

    world.eventually(settled, 60)
    assert [kit for kit in kits if not at_most_once(world, kit)] == []


def hold(_world: World, kit: str, _user: str, c: Connection) -> None:
    controls.hold(c, kit, actor="us", reason="wait", now=now())


def release(_world: World, kit: str, _user: str, c: Connection) -> None:
    controls.release(c, kit, actor="us", reason="", now=now())


def signal(_world: World, _kit: str, user: str, c: Connection) -> None:
    controls.post_signal(c, "user", user, "odd", at=now(), actor="us", now=now())


def stop(_world: World, _kit: str, _user: str, c: Connection) -> None:
    operating.stop(c, said())


def start(_world: World, _kit: str, _user: str, c: Connection) -> None:
    operating.start(c, said())


def resume(world: World, _kit: str, _user: str, c: Connection) -> None:
    operating.resume(c, world.services.policy, None, said())


def resume_rule(world: World, _kit: str, _user: str, c: Connection) -> None:
    operating.resume(c, world.services.policy, "duplicate", said())


def approve(world: World, _kit: str, _user: str, c: Connection) -> None:
    operating.approve(c, world.services.policy, 1, said())


WHIMS = (hold, release, signal, stop, start, resume, resume_rule, approve)


def test_people_and_workers_at_once_never_wait_in_a_circle(postgres_world: World) -> None:
    """Holds, stops, pauses, resumes, approvals, signals on users and news of the same orders, all at once."""
    world = postgres_world
    world.policy(RULES, head=HEAD.replace("per_hour: 1000", "per_hour: 6"))
    users = [str(uuid4()) for _ in range(3)]
    kits = [world.order(user_id=users[number % 3]) for number in range(18)]
    deliveries = [world.deliver(kit) for kit in kits for _ in range(4)]
    world.queue.clear()
    done = threading.Event()

    def people(seed: int) -> None:
        dice = random.Random(seed)
        while not done.is_set():
            world.say(partial(dice.choice(WHIMS), world, dice.choice(kits), dice.choice(users)))

    def workers(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(25):
            world.run(ProjectDeliveries(dice.sample(deliveries, 12)))
            world.drain()
        done.set()

    with ThreadPoolExecutor(7) as pool:
        started = [pool.submit(workers, seed) for seed in range(4)]
        started += [pool.submit(people, seed) for seed in range(10, 13)]
        try:
            for one in started:
                one.result()
        finally:
            done.set()
    assert [kit for kit in kits if not at_most_once(world, kit)] == []


@pytest.mark.parametrize("fixture", ["sqlite_world", "postgres_world"])
def test_the_same_deliveries_projected_by_eight_workers_at_once(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    """Overlapping batches in any order, about orders new and old: no deadlock, no "database is locked"."""
    world: World = request.getfixturevalue(fixture)
    world.policy(RULES)
    user = str(uuid4())
    for _ in range(4):
        kits = [world.order(user_id=user, created_at=now().isoformat()) for _ in range(6)]
        for kit in kits:
            world.sandbox.event(kit, "requisition_created", quiet=True)
        ids = [world.deliver(kit) for kit in kits for _ in range(3)]
        world.queue.clear()
        dice = random.Random(len(ids))
        world.all_at_once(*(ProjectDeliveries(dice.sample(ids, len(ids))) for _ in range(8)))
        assert {world.row(kit)["status_name"] for kit in kits} == {"requisition_created"}
        assert {world.row(kit)["facts_version"] for kit in kits} == {1}


def test_writers_of_one_process_queue_for_sqlite_however_short_their_patience(sqlite_url: str) -> None:
    store = open_store(sqlite_url, wait=0.1)
    metadata.create_all(store)

    def write(_number: int) -> None:
        for _ in range(10):
            with writing(store) as connection:
                orders.claim(connection, [str(uuid4())], now())
                time.sleep(0.01)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with reading(store) as connection:
        assert orders.count_open(connection) == 80
    store.dispose()


def test_eight_workers_on_sqlite_are_never_told_that_the_database_is_locked(sqlite_world: World) -> None:
    world = sqlite_world
    world.policy(RULES)
    kits = [world.order() for _ in range(40)]
    for kit in kits:
        world.deliver(kit)
    world.race(8)
    assert {world.status(kit) for kit in kits} == {"cancelled"}
    assert [kit for kit in kits if not at_most_once(world, kit)] == []


def test_a_plan_made_on_old_facts_is_not_stored_and_the_order_is_looked_at_again(world: World) -> None:
    """Facts moved while it was made. The row stays leased, and due: after the lease it is taken again."""
    world.policy(RULES)
    kit = world.order()
    world.deliver(kit)
    ids = [message for message in world.queue if isinstance(message, ProjectDeliveries)]
    world.run(ids[0])
    world.queue.clear()
    at = now() + timedelta(seconds=1)
    assert world.say(lambda c: orders.lease(c, kit, at, at + timedelta(minutes=1))) == 1
    stored = world.say(lambda c: orders.load(c, [kit])[kit])
    world.say(lambda c: controls.touch(c, [kit], now()))
    plan = orders.Ahead(stored.facts_version, stored.generation, Outlook("kept", None))
    world.say(lambda c: orders.plan_ahead(c, {kit: plan}))
    assert world.say(lambda c: orders.due(c, at, 10)) == []
    assert world.say(lambda c: orders.due(c, at + timedelta(minutes=2), 10)) == [kit]
    world.say(lambda c: c.execute(update(orders_table).values(leased_until=None)))
    world.drain()
    assert world.status(kit) == "cancelled"


def test_a_lock_that_never_comes_is_an_error_and_costs_nothing_but_time(postgres_world: World) -> None:
    world = postgres_world
    kit, act = planned(world)

    def hold_on(connection: Connection) -> None:
        orders.lock(connection, [kit])

    with uncommitted(world, hold_on), pytest.raises(OperationalError):
        world.run(act)  # the store gives up after five seconds
    assert world.posts(kit) == 0
    world.say(lambda c: c.exec_driver_sql("UPDATE actions SET leased_until = NULL"))
    world.let_go()
    world.drain()
    assert effective(world, kit) == [True]
