"""More due at once than a limit allows stops everything before anything is done; less is done."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.workers.conftest import HEAD, World, now
from workers import operating
from workers.messages import ProjectDeliveries
from workers.operating import Said
from workers.store import controls
from workers.store.controls import LIMITS

HIGH = "per_hour: 1000, per_day: 1000, floor: 1000"
KITS = """
  - name: stuck-kit
    mode: enforce
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [ordered], for: FOR}
    then: {action: cancel_order}
"""


def head(limits: str) -> str:
    return HEAD.replace(HIGH, limits)


def kits(world: World, how_many: int) -> list[str]:
    """So many, told to us but not projected yet."""
    found = [world.order(created_at=(now() - timedelta(hours=1)).isoformat()) for _ in range(how_many)]
    for kit in found:
        world.deliver(kit)
    return found


def project_all(world: World) -> None:
    """All of them are known before anybody looks at the first that is due."""
    ids = [id_ for message in world.queue if isinstance(message, ProjectDeliveries) for id_ in message.ids]
    world.queue.clear()
    world.run(ProjectDeliveries(ids))
    world.queue.clear()


def posts(world: World) -> int:
    return len(world.sandbox.calls(operation="cancel_order"))


def tripped(world: World, name: str = LIMITS) -> bool:
    return bool(world.say(lambda c: controls.raised(c, [name])))


def resume(world: World, rule: str | None = None) -> int | None:
    said = Said("somebody", "looked at them", now())
    return world.say(lambda c: operating.resume(c, world.services.policy, rule, said))


def states(world: World, orders: list[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for order in orders:
        newest = next((d for d in world.decisions(order) if d["key"] is not None), None)
        word = "none" if newest is None else f"{newest['verdict']}/{newest['state']}"
        counted[word] = counted.get(word, 0) + 1
    return counted


@pytest.mark.parametrize("workers", [1, 4])
def test_two_hundred_due_together_trip_the_limit_before_the_first_call(
    postgres_world: World, workers: int
) -> None:
    world = postgres_world
    world.policy(KITS.replace("FOR", "10m"), head=head("per_hour: 25, per_day: 1000, floor: 1000"))
    all_due = kits(world, 200)
    project_all(world)
    world.race(workers)
    assert posts(world) == 0
    assert tripped(world)
    assert states(world, all_due) == {"held/open": 200}


@pytest.mark.parametrize("workers", [1, 4])
def test_one_by_one_so_many_go_as_the_limit_allows_and_the_next_trips(
    postgres_world: World, workers: int
) -> None:
    world = postgres_world
    world.policy(KITS.replace("FOR", "10m"), head=head("per_hour: 25, per_day: 1000, floor: 1000"))
    done: list[str] = []
    while len(done) < 24:
        done += kits(world, 4)
        world.race(workers)
    done += kits(world, 1)
    world.race(workers)
    assert states(world, done) == {"cancel/confirmed": 25}
    late = kits(world, 3)
    world.race(workers)
    assert (posts(world), tripped(world)) == (25, True)
    assert states(world, late) == {"held/open": 3}
    assert resume(world) == 0  # the hour is full
    assert not tripped(world)
    assert states(world, late) == {"held/open": 3}


def test_after_resume_as_many_go_on_as_fit_and_the_rest_stays_held_without_a_new_trip(world: World) -> None:
    world.policy(KITS.replace("FOR", "10m"), head=head("per_hour: 5, per_day: 1000, floor: 1000"))
    all_due = kits(world, 8)
    project_all(world)
    world.drain()
    assert states(world, all_due) == {"held/open": 8}
    assert resume(world) == 5
    world.drain()
    assert states(world, all_due) == {"cancel/confirmed": 5, "held/open": 3}
    assert not tripped(world)


def test_a_rule_has_limits_of_its_own(world: World) -> None:
    rule = KITS.replace("FOR", "10m") + "    limits: {per_day: 2}\n"
    world.policy(rule)
    all_due = kits(world, 3)
    project_all(world)
    world.drain()
    assert (tripped(world), tripped(world, "limits:stuck-kit")) == (False, True)
    assert resume(world, "stuck-kit") == 2
    world.drain()
    assert states(world, all_due) == {"cancel/confirmed": 2, "held/open": 1}


def test_the_share_of_open_orders_is_a_limit_above_the_floor(world: World) -> None:
    world.policy(
        KITS.replace("FOR", "10m"), head=head("per_hour: 1000, per_day: 1000, share_of_open: 10%, floor: 2")
    )
    for _ in range(30):
        world.deliver(world.order(method="walk_in_test"))
    world.drain()
    all_due = kits(world, 4)
    project_all(world)
    world.drain()
    assert posts(world) == 0  # ten percent of 34 are three
    assert resume(world) == 3
    world.drain()
    assert states(world, all_due) == {"cancel/confirmed": 3, "held/open": 1}


def test_what_became_due_during_a_stop_is_counted_before_the_first_goes(world: World) -> None:
    world.policy(KITS.replace("FOR", "10m"), head=head("per_hour: 5, per_day: 1000, floor: 1000"))
    said = Said("somebody", "wait", now())
    world.say(lambda c: operating.stop(c, said))
    all_due = kits(world, 6)
    world.drain()
    assert {world.row(kit)["outlook"] for kit in all_due} == {"stopped"}
    world.say(lambda c: operating.start(c, said))
    world.drain()
    assert (posts(world), tripped(world)) == (0, True)


def test_what_became_due_while_junction_was_away_is_counted_before_the_first_goes(world: World) -> None:
    world.policy(KITS.replace("FOR", "10m"), head=head("per_hour: 5, per_day: 1000, floor: 1000"))
    world.sandbox.fault("status", status=503, retry_after=2, operation="get_order", count=6)
    all_due = kits_without_asking(world, 6)
    world.drain()
    assert {(row["outlook"], row["outlook_why"]) for row in map(world.row, all_due)} == {("waits", "limited")}
    world.eventually(lambda: tripped(world))
    world.drain()
    assert posts(world) == 0


def kits_without_asking(world: World, how_many: int) -> list[str]:
    """As `kits`, but the deliveries are made without a GET."""
    at = (now() - timedelta(hours=1)).isoformat()
    stories = [world.sandbox.order(created_at=at) for _ in range(how_many)]
    for story in stories:
        world.deliver(
            story["id"],
            {"event_type": "labtest.order.created", "team_id": world.services.team_id, "data": story},
        )
    return [str(story["id"]) for story in stories]


def test_a_new_policy_acts_only_when_all_it_makes_due_is_counted(world: World) -> None:
    few = head("per_hour: 5, per_day: 1000, floor: 1000")
    world.policy(KITS.replace("FOR", "100d"), head=few)
    all_due = kits(world, 6)
    world.drain()
    world.policy(KITS.replace("FOR", "10m"), head=few)
    one = all_due[0]
    world.say(lambda c: controls.touch(c, [one], now()))
    world.run_only_for(one)
    assert posts(world) == 0
    world.eventually(lambda: states(world, all_due) == {"held/open": 6})
    assert (posts(world), tripped(world)) == (0, True)


def test_a_limit_is_counted_in_orders_not_in_decisions(world: World) -> None:
    """One order, put off by a hold and decided anew, is one order."""
    world.policy(KITS.replace("FOR", "10m"), head=head("per_hour: 1, per_day: 1, floor: 1"))
    (kit,) = kits(world, 1)
    world.decide()
    world.say(lambda c: controls.hold(c, kit, actor="us", reason="wait", now=datetime.now(UTC)))
    world.let_go()
    world.drain()
    world.say(lambda c: controls.release(c, kit, actor="us", reason="", now=datetime.now(UTC)))
    world.drain()
    assert not tripped(world)
    assert world.status(kit) == "cancelled"
