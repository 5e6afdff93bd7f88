"""Of several orders for the same test of one user one lives, whatever happens at the same time."""

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.workers.conftest import World, now
from workers.messages import EvaluateOrders, ProjectDeliveries
from workers.store import controls

DUPLICATES = """
  - name: duplicate
    mode: enforce
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - duplicate: {same: [user, lab_test], within: 7d, keep: KEEP}
    then: {action: cancel_order}
"""
MISTAKE = """
  - name: mistake
    mode: enforce
    priority: 5
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - signal: {name: order.mistake}
    then: {action: cancel_order}
"""


def rules(keep: str = "first") -> str:
    return DUPLICATES.replace("KEEP", keep)


def some_orders(world: World, how_many: int, user: str | None = None) -> list[str]:
    """Orders of one user, an hour apart, the oldest first."""
    user = user or str(uuid4())
    return [
        world.order(user_id=user, created_at=(now() - timedelta(hours=24 - number)).isoformat())
        for number in range(how_many)
    ]


def project(world: World) -> None:
    """Deliveries become orders, and nobody looks at what is due yet."""
    deliveries = [message for message in world.queue if isinstance(message, ProjectDeliveries)]
    for delivery in deliveries:
        world.run(delivery)
    world.queue.clear()


def alive(world: World, kits: list[str]) -> list[str]:
    return [kit for kit in kits if world.status(kit) != "cancelled"]


@pytest.mark.parametrize(("keep", "survivor"), [("first", 0), ("last", 2), ("furthest_along", 1)])
def test_one_of_a_set_lives(world: World, keep: str, survivor: int) -> None:
    world.policy(rules(keep))
    kits = some_orders(world, 3)
    world.sandbox.event(kits[1], "requisition_created")
    for kit in kits:
        world.deliver(kit)
    world.drain()
    assert alive(world, kits) == [kits[survivor]]


def test_a_later_order_makes_an_earlier_one_the_duplicate_without_news_of_that_one(world: World) -> None:
    world.policy(rules("last"))
    earlier, later = some_orders(world, 2)
    world.deliver(earlier)
    world.drain()
    world.deliver(later)
    world.drain()
    assert alive(world, [earlier, later]) == [later]


def test_when_the_keeper_was_just_cancelled_by_hand_the_other_one_lives(world: World) -> None:
    world.policy(rules())
    keeper, other = some_orders(world, 2)
    for kit in (keeper, other):
        world.deliver(kit)
    world.sandbox.event(keeper, "cancelled", quiet=True)
    world.drain()
    assert alive(world, [keeper, other]) == [other]
    assert world.posts(other) == 0
    assert not world.row(keeper)["open"]  # what the look showed was kept


def test_when_the_keeper_is_cancelled_between_decision_and_call_the_other_one_lives(world: World) -> None:
    world.policy(rules())
    keeper, other = some_orders(world, 2)
    for kit in (keeper, other):
        world.deliver(kit)
    world.decide()
    assert [action["state"] for action in world.actions(other)] == ["planned"]
    world.sandbox.event(keeper, "cancelled", quiet=True)
    world.let_go()
    world.drain()
    assert alive(world, [keeper, other]) == [other]
    assert world.posts(other) == 0
    (decision,) = world.decisions(other)
    assert (decision["state"], "duplicate" in decision["reason"]) == ("dropped", True)


def test_when_the_best_is_gone_the_next_best_is_looked_at_before_it_counts(world: World) -> None:
    world.policy(rules())
    best, second, third = some_orders(world, 3)
    for kit in (best, second, third):
        world.deliver(kit)
    world.sandbox.event(best, "cancelled", quiet=True)
    world.drain()
    assert alive(world, [best, second, third]) == [second]


def test_an_order_that_nobody_looked_at_just_now_does_not_count(world: World) -> None:
    world.policy(rules())
    best, second, third = some_orders(world, 3)
    world.deliver(best)
    world.deliver(third)
    world.decide()  # the third is to go
    world.deliver(second)
    project(world)
    for kit in (best, second):
        world.sandbox.event(kit, "cancelled", quiet=True)
    world.let_go()
    world.drain()
    assert alive(world, [best, second, third]) == [third]


def test_an_order_that_is_about_to_be_cancelled_itself_keeps_no_other_from_living(world: World) -> None:
    """The keeper is a mistake and its cancel is under way: the other one is no duplicate of it any more."""
    world.policy(rules() + MISTAKE)
    keeper, other = some_orders(world, 2)
    world.deliver(keeper)
    world.drain()
    world.say(
        lambda c: controls.post_signal(c, "order", keeper, "order.mistake", at=now(), actor="us", now=now())
    )
    world.decide()
    world.deliver(other)
    world.decide()
    world.let_go()
    world.drain()
    assert alive(world, [keeper, other]) == [other]


def test_two_orders_that_arrive_in_the_same_moment_know_of_each_other(postgres_world: World) -> None:
    """A double click: two workers, neither of which sees the other's row before it commits its own."""
    world = postgres_world
    world.policy(rules())
    for _ in range(10):
        kits = some_orders(world, 2)
        world.all_at_once(*(ProjectDeliveries([world.deliver(kit)]) for kit in kits))
        world.queue.clear()
        world.drain()
        assert alive(world, kits) == kits[:1]


def test_duplicates_decided_at_once_by_many_workers_leave_one(postgres_world: World) -> None:
    """Two rules that would keep different ones: taken each by itself both orders are duplicates."""
    world = postgres_world
    both = rules("first") + rules("last").replace("name: duplicate", "name: duplicate-too")
    world.policy(both)
    for _ in range(8):
        kits = some_orders(world, 2)
        for kit in kits:
            world.deliver(kit)
        project(world)
        world.all_at_once(*(EvaluateOrders([kit]) for kit in kits), *(EvaluateOrders([kit]) for kit in kits))
        world.race()
        assert len(alive(world, kits)) == 1
