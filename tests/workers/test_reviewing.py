"""Rules that propose and people who decide; what they approve is still looked at before every call."""

from datetime import timedelta

import pytest

from tests.workers.conftest import HEAD, World, now
from workers import operating
from workers.operating import Outcome, Said
from workers.store import controls

REVIEW = """
  - name: ask-first
    mode: review
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [ordered], for: 10m}
      - signal: {name: order.odd}
    then: {action: cancel_order}
"""


@pytest.fixture
def world(sqlite_world: World) -> World:
    """These stories are the same on either database; test_cancelling.py and test_races.py try both."""
    return sqlite_world


def said() -> Said:
    return Said("somebody", "a reason", now())


def odd(world: World, kit: str, *, retract: bool = False) -> None:
    if retract:
        world.say(lambda c: controls.retract_signal(c, "order", kit, "order.odd", actor="us", now=now()))
    else:
        world.say(
            lambda c: controls.post_signal(c, "order", kit, "order.odd", at=now(), actor="us", now=now())
        )


def an_item(world: World, head: str = HEAD, rules: str = REVIEW) -> tuple[str, int]:
    """An order with a review item; the item's number."""
    world.policy(rules, head=head)
    kit = world.order()
    world.deliver(kit)
    odd(world, kit)
    world.drain()
    (decision,) = world.decisions(kit)
    assert (decision["verdict"], decision["state"]) == ("review", "open")
    assert world.posts(kit) == 0
    return kit, decision["id"]


def approve(world: World, item: int) -> Outcome:
    return world.say(lambda c: operating.approve(c, world.services.policy, item, said()))


def decline(world: World, item: int) -> Outcome:
    return world.say(lambda c: operating.decline(c, item, said()))


def test_what_a_person_approves_is_done(world: World) -> None:
    kit, item = an_item(world)
    assert approve(world, item) is Outcome.DONE
    world.drain()
    assert world.status(kit) == "cancelled"
    (decision,) = world.decisions(kit)
    assert (decision["state"], decision["resolved_by"]) == ("confirmed", "somebody")
    assert approve(world, item) is Outcome.NOT_OPEN


def test_what_a_person_declines_does_not_come_back_for_the_same_occasion(world: World) -> None:
    kit, item = an_item(world)
    assert decline(world, item) is Outcome.DONE
    odd(world, kit, retract=True)
    odd(world, kit)
    world.deliver(kit)
    world.drain()
    assert [d["state"] for d in world.decisions(kit)] == ["declined"]
    assert approve(world, item) is Outcome.NOT_OPEN


def test_an_item_closes_itself_when_its_rule_no_longer_holds(world: World) -> None:
    kit, item = an_item(world)
    odd(world, kit, retract=True)
    world.drain()
    assert [d["state"] for d in world.decisions(kit)] == ["lapsed"]
    assert approve(world, item) is Outcome.NOT_OPEN


def test_an_item_whose_rule_no_longer_holds_cannot_be_approved_even_before_that_was_noticed(
    world: World,
) -> None:
    kit, item = an_item(world)
    odd(world, kit, retract=True)
    assert approve(world, item) is Outcome.NO_LONGER_TRUE
    world.drain()
    assert world.posts(kit) == 0


def test_an_approved_item_that_shipped_behind_our_back_is_not_cancelled(world: World) -> None:
    kit, item = an_item(world)
    assert approve(world, item) is Outcome.DONE
    world.sandbox.event(kit, "transit_customer", quiet=True)
    world.drain()
    assert world.posts(kit) == 0
    assert world.decisions(kit)[0]["state"] == "dropped"


def test_an_approval_at_night_waits_for_the_morning(world: World) -> None:
    opens = now() + timedelta(hours=11)
    hours = f"{{from: '{opens:%H}:00', to: '{opens + timedelta(hours=2):%H}:00', zone: UTC}}"
    kit, item = an_item(world)
    world.policy(
        REVIEW.replace("    act_any_time: true\n", ""),
        head=HEAD.replace("0s}", f"0s, act_between: {hours}}}"),
    )
    assert approve(world, item) is Outcome.DONE
    world.drain()
    (action,) = world.actions(kit)
    assert (action["state"], world.posts(kit)) == ("planned", 0)
    assert action["next_at"] > now() + timedelta(hours=9)
    assert "hours" in action["reason"]


def test_what_is_overdue_for_more_than_a_day_goes_to_a_person(world: World) -> None:
    """We were down: the rule has held for two days, and nobody has acted on it."""
    enforced = REVIEW.replace("review", "enforce").replace("      - signal: {name: order.odd}\n", "")
    world.policy(enforced)
    kit = world.order(created_at=(now() - timedelta(days=2)).isoformat())
    world.say(lambda c: c.exec_driver_sql("UPDATE rules SET live_since = NULL"))
    world.deliver(kit)
    world.drain()
    (decision,) = world.decisions(kit)
    assert (decision["verdict"], decision["state"]) == ("review", "open")


def test_a_hold_closes_the_item_and_ends_what_was_approved(world: World) -> None:
    kit, item = an_item(world)
    assert approve(world, item) is Outcome.DONE
    world.say(lambda c: controls.hold(c, kit, actor="us", reason="wait", now=now()))
    world.drain()
    assert world.posts(kit) == 0
    assert "a person holds this order" in world.decisions(kit)[0]["reason"]
