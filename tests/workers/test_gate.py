"""Between the decision and the call much can happen. The gate before each call sees it, and says so."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from tests.workers.conftest import HEAD, KEEP, World, now
from workers import operating
from workers.junction import Junction
from workers.operating import Said
from workers.store import controls
from workers.store.schema import actions

RULE = """
  - name: not-wanted
    mode: enforce
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - signal: {name: order.mistake}
    then: {action: cancel_order}
"""

Change = Callable[[World, str], object]


@pytest.fixture
def world(sqlite_world: World) -> World:
    """These stories are the same on either database; test_cancelling.py and test_races.py try both."""
    return sqlite_world


def said() -> Said:
    return Said("somebody", "a reason", now())


def a_mistake(world: World) -> str:
    """An order that is due, decided upon, and whose call Junction has put off with a 429."""
    world.policy(RULE)
    kit = world.order(method="testkit")
    world.deliver(kit)
    world.drain()
    world.sandbox.fault("status", status=429, retry_after=1, operation="cancel_order", order_id=kit, count=1)
    world.say(
        lambda c: controls.post_signal(c, "order", kit, "order.mistake", at=now(), actor="us", now=now())
    )
    world.drain()
    assert [action["state"] for action in world.actions(kit)] == ["planned"]
    return kit


def hold(world: World, kit: str) -> None:
    assert world.say(lambda c: controls.hold(c, kit, actor="us", reason="asked to wait", now=now()))


def stop(world: World, _kit: str) -> None:
    assert world.say(lambda c: operating.stop(c, said())) == 0


def pause(world: World, _kit: str) -> None:
    world.say(lambda c: operating.pause(c, "not-wanted", said()))


def retract(world: World, kit: str) -> None:
    world.say(lambda c: controls.retract_signal(c, "order", kit, "order.mistake", actor="us", now=now()))


def new_generation(world: World, _kit: str) -> None:
    world.policy(RULE.replace("order.mistake", "order.another"))


def ship(world: World, kit: str) -> None:
    world.sandbox.event(kit, "transit_customer", quiet=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (hold, "a person holds this order"),
        (stop, "stop is on: a reason"),
        (pause, "rule:not-wanted is on: a reason"),
        (retract, "signal name order.mistake"),
        (new_generation, "the policy has changed since the decision"),
        (ship, "needs a status that may be cancelled"),
    ],
)
def test_what_changes_before_the_call_prevents_it_and_is_named(
    world: World, change: Change, reason: str
) -> None:
    kit = a_mistake(world)
    change(world, kit)
    world.eventually(lambda: world.actions(kit)[0]["state"] == "dropped")
    world.drain()
    assert world.posts(kit) == 1  # the one that was answered with 429
    assert world.status(kit) != "cancelled"
    (dropped,) = (d for d in world.decisions(kit) if d["state"] == "dropped")
    assert reason in dropped["reason"]


def test_after_the_hold_the_order_goes_its_way(world: World) -> None:
    kit = a_mistake(world)
    hold(world, kit)
    world.eventually(lambda: world.actions(kit)[0]["state"] == "dropped")
    world.say(lambda c: controls.release(c, kit, actor="us", reason="", now=now()))
    world.eventually(lambda: world.status(kit) == "cancelled")
    assert [action["state"] for action in world.actions(kit)] == ["dropped", "confirmed"]


def test_after_the_stop_what_was_stopped_is_done_once(world: World) -> None:
    kit = a_mistake(world)
    stop(world, kit)
    world.eventually(lambda: world.actions(kit)[0]["state"] == "dropped")
    world.say(lambda c: operating.start(c, said()))
    world.eventually(lambda: world.status(kit) == "cancelled")
    applied = [call for call in world.sandbox.calls(order_id=kit) if call["applied"]]
    assert len(applied) == 1


def test_while_stopped_nothing_is_even_asked_of_junction(world: World) -> None:
    kit = a_mistake(world)
    stop(world, kit)
    world.eventually(lambda: world.actions(kit)[0]["state"] == "dropped")
    asked = len(world.sandbox.calls(order_id=kit))
    world.deliver(kit)  # looks by itself, through the test's own client
    world.drain()
    assert len(world.sandbox.calls(order_id=kit)) == asked + 1


def test_a_hold_during_the_call_is_told_that_it_comes_too_late(world: World) -> None:
    kit = a_mistake(world)
    world.say(lambda c: c.execute(update(actions).values(state="sending", next_at=None)))
    assert not world.say(lambda c: controls.hold(c, kit, actor="us", reason="late", now=now()))
    assert world.say(lambda c: operating.stop(c, said())) == 1


def test_an_order_cancelled_by_hand_meanwhile_counts_as_done_and_not_by_us(world: World) -> None:
    kit = a_mistake(world)
    world.sandbox.event(kit, "cancelled", quiet=True)
    world.eventually(lambda: world.actions(kit)[0]["state"] == "confirmed")
    (decision, *_) = world.decisions(kit)
    assert (decision["state"], decision["reason"]) == (
        "confirmed",
        "was cancelled already, not by us; seen at Junction",
    )
    assert world.posts(kit) == 1


def test_a_reinstated_order_is_shown_and_never_cancelled_again(world: World) -> None:
    kit = a_mistake(world)
    world.eventually(lambda: world.status(kit) == "cancelled")
    world.drain()
    before = world.posts(kit)
    world.sandbox.event(kit, "ordered")
    world.deliver(kit)
    world.say(
        lambda c: controls.post_signal(c, "order", kit, "order.mistake", at=now(), actor="us", now=now())
    )
    world.drain()
    assert world.row(kit)["outlook"] == "reinstated"
    assert world.posts(kit) == before
    assert [decision["state"] for decision in world.decisions(kit)] == ["confirmed"]


def test_hours_are_asked_about_again_before_the_call(world: World) -> None:
    """Approved, or put off, at an hour in which no patient may be texted: it waits for the morning."""
    kit = a_mistake(world)
    night = HEAD.replace("time: {settle: 0s}", f"time: {{settle: 0s, act_between: {_not_now()}}}")
    world.policy(RULE.replace("    act_any_time: true\n", ""), head=night)
    world.eventually(lambda: world.row(kit)["next_at"] is not None)
    time_to_act = world.row(kit)["next_at"]
    assert time_to_act > now() + timedelta(minutes=30)
    assert world.posts(kit) == 1


def _not_now() -> str:
    """Two hours around the antipode of now, in UTC."""
    opens = now() + timedelta(hours=11)
    return f"{{from: '{opens:%H}:00', to: '{opens + timedelta(hours=2):%H}:00', zone: UTC}}"


# --- clocks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-120, 120, None])
def test_a_clock_that_cannot_be_trusted_stops_everything_and_is_told(
    world: World, tmp_path: Path, skew: int | None
) -> None:
    """Junction's `Date` two minutes off, or missing."""
    world.policy(RULE)
    kit = world.order(method="testkit")
    world.deliver(kit)
    world.drain()
    with skewed(world, skew) as junction:
        object.__setattr__(world.services, "junction", junction)
        world.say(
            lambda c: controls.post_signal(c, "order", kit, "order.mistake", at=now(), actor="us", now=now())
        )
        world.drain()
    assert world.posts(kit) == 0
    assert [d["verdict"] for d in world.decisions(kit)] == ["error"]
    assert world.row(kit)["outlook"] == "clock_skew"


def test_a_clock_that_goes_wrong_between_decision_and_call_holds_the_call_back(world: World) -> None:
    kit = a_mistake(world)
    with skewed(world, 120) as junction:
        object.__setattr__(world.services, "junction", junction)
        world.eventually(lambda: "clocks disagree" in world.actions(kit)[0]["reason"])
    assert (world.posts(kit), world.actions(kit)[0]["state"]) == (1, "planned")


def skewed(world: World, seconds: int | None) -> Junction:
    inner = httpx.HTTPTransport()

    def handle(request: httpx.Request) -> httpx.Response:
        answer = inner.handle_request(request)
        answer.read()
        headers = [(name, value) for name, value in answer.headers.items() if name != "date"]
        if seconds is not None:
            date = now() + timedelta(seconds=seconds)
            headers.append(("date", date.strftime("%a, %d %b %Y %H:%M:%S GMT")))
        return httpx.Response(answer.status_code, headers=headers, content=answer.content)

    return Junction(
        world.sandbox.url,
        world.sandbox.config.api_key,
        KEEP,
        now=now,
        transport=httpx.MockTransport(handle),
    )
