"""A person cancels an order, or wants it looked at, and no rule asks for it: gate and call are the same."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from sandbox.running import RunningSandbox
from tests.workers.conftest import HEAD, World, now, world_with
from workers import operating
from workers.cli import app
from workers.messages import Act
from workers.operating import Said
from workers.store import controls, orders
from workers.store.database import open_store
from workers.store.schema import audit, reservations
from workers.store.schema import controls as switches

IDLE = """
  - name: of-no-concern
    methods: [testkit, walk_in_test, at_home_phlebotomy]
    when:
      - signal: {name: never.sent}
    then: {action: cancel_order}
"""
VETO = """
  - name: never-this-one
    mode: enforce
    priority: 100
    methods: [testkit]
    when:
      - status: {in: [ordered]}
    then: {action: keep}
"""


@pytest.fixture
def quick(sqlite_world: World) -> World:
    """For what does not depend on the database."""
    return sqlite_world


def an_order(world: World, rules: str = IDLE, head: str = HEAD, **story: Any) -> str:
    """An order that is known, and with which no rule has anything to do."""
    world.policy(rules, head=head)
    order_id = world.order(**story)
    world.deliver(order_id)
    world.drain()
    return order_id


def said() -> Said:
    return Said("ana", "the patient called", now())


def cancel(world: World, order_id: str, *, fee_accepted: bool = False) -> str | None:
    """What a click does; why not, or None."""
    return world.say(
        lambda c: operating.cancel(c, world.services.policy, [order_id], said(), fee_accepted=fee_accepted)
    )[order_id]


def ending(world: World, order_id: str) -> tuple[str, str]:
    """What became of the only decision, and why."""
    (decision,) = world.decisions(order_id)
    return decision["state"], decision["reason"]


def test_it_is_cancelled_once_and_is_on_record(world: World) -> None:
    kit = an_order(world)
    assert cancel(world, kit) is None
    world.drain()
    assert (world.posts(kit), world.status(kit)) == (1, "cancelled")
    (decision,) = world.decisions(kit)
    assert (decision["trigger"], decision["rule"], decision["state"]) == ("operator", None, "confirmed")
    assert decision["trace"]["asked_by"] == "ana"
    assert decision["trace"]["asked_why"] == "the patient called"
    lines = world.say(lambda c: c.execute(select(audit).where(audit.c.target == kit)).mappings().all())
    assert [(line["actor"], line["action"], line["reason"]) for line in lines] == [
        ("ana", "cancel", "the patient called")
    ]
    assert world.say(lambda c: c.execute(select(reservations.c.rule)).scalars().all()) == ["by hand"]
    assert [type_ for type_, _ in world.news(kit)] == ["autocancel.confirmed"]


def test_two_clicks_make_one_call(quick: World) -> None:
    kit = an_order(quick)
    assert cancel(quick, kit) is None
    assert cancel(quick, kit) == "another cancellation of it is under way or done"
    quick.drain()
    assert quick.posts(kit) == 1
    assert cancel(quick, kit) == "it has ended already"
    assert ending(quick, kit)[0] == "confirmed"


def test_two_workers_make_one_call(world: World) -> None:
    kit = an_order(world)
    cancel(world, kit)
    (action,) = world.actions(kit)
    world.all_at_once(Act(action["id"]), Act(action["id"]))
    world.drain()
    assert world.posts(kit) == 1


def test_a_kit_that_ships_between_the_click_and_the_call_is_left_alone(quick: World) -> None:
    kit = an_order(quick)
    assert cancel(quick, kit) is None
    quick.sandbox.event(kit, "transit_customer", quiet=True)
    quick.drain()
    assert quick.posts(kit) == 0
    state, why = ending(quick, kit)
    assert state == "dropped"
    assert "needs a status that may be cancelled" in why


def test_while_everything_is_stopped_nothing_is_even_planned(quick: World) -> None:
    kit = an_order(quick)
    quick.say(lambda c: operating.stop(c, said()))
    assert cancel(quick, kit) == "stop is on: the patient called"
    assert (quick.decisions(kit), quick.actions(kit)) == ([], [])


def test_a_stop_between_the_click_and_the_call_prevents_it(quick: World) -> None:
    kit = an_order(quick)
    cancel(quick, kit)
    quick.say(lambda c: operating.stop(c, said()))
    quick.drain()
    assert quick.posts(kit) == 0
    assert ending(quick, kit) == ("dropped", "stop is on: the patient called")
    names = quick.say(lambda c: c.execute(select(switches.c.name)).scalars().all())
    assert names == ["stop"]


def test_a_held_order_has_to_be_released_first(quick: World) -> None:
    kit = an_order(quick)
    quick.say(lambda c: controls.hold(c, kit, actor="ben", reason="wait", now=now()))
    assert "released first" in (cancel(quick, kit) or "")
    quick.say(lambda c: controls.release(c, kit, actor="ben", reason="", now=now()))
    assert cancel(quick, kit) is None
    quick.say(lambda c: controls.hold(c, kit, actor="ben", reason="no, wait", now=now()))
    quick.drain()
    assert quick.posts(kit) == 0
    assert "released first" in ending(quick, kit)[1]


def test_rules_hours_exemptions_and_limits_do_not_stand_in_a_persons_way(quick: World) -> None:
    head = HEAD.replace("per_hour: 1000", "per_hour: 1").replace(
        "time: {settle: 0s}", "time: {settle: 1h, act_between: {from: '00:00', to: '00:01'}}"
    )
    exempt = "exemptions: [{name: all, reason: a study, if: [{order: {origin: redraw}}]}]\n"
    kits = [an_order(quick, VETO, head + exempt, origin="redraw") for _ in range(2)]
    assert [cancel(quick, kit) for kit in kits] == [None, None]
    quick.drain()
    assert [quick.status(kit) for kit in kits] == ["cancelled", "cancelled"]


def test_a_new_policy_between_the_click_and_the_call_changes_nothing(quick: World) -> None:
    kit = an_order(quick)
    cancel(quick, kit)
    quick.policy(VETO)
    quick.drain()
    assert quick.status(kit) == "cancelled"


@pytest.mark.parametrize("place", [{"environment": "production"}, {"team_id": "another-team"}])
def test_a_worker_with_the_key_of_another_environment_or_team_leaves_it_alone(
    quick: World, place: dict[str, Any]
) -> None:
    kit = an_order(quick)
    assert cancel(quick, kit) is None  # whose key it is only the worker knows
    quick.services = replace(quick.services, **place)
    quick.drain()
    assert quick.posts(kit) == 0
    assert "the policy's environment and our team" in ending(quick, kit)[1]


@pytest.mark.parametrize(
    ("story", "why"),
    [
        ({"method": "testkit", "state": "with_customer"}, "needs a status that may be cancelled"),
        ({"method": "testkit", "tracking_number": "1Z"}, "nothing shipped or collected"),
        ({"method": "at_home_phlebotomy", "state": "draw_completed"}, "needs a status that may be cancelled"),
        ({"method": "testkit", "state": "completed"}, "it has ended already"),
        ({"method": "testkit", "state": "cancelled"}, "it has ended already"),
    ],
)
def test_what_is_known_to_be_too_late_is_not_even_tried(
    quick: World, story: dict[str, Any], why: str
) -> None:
    order_id = an_order(quick, **story)
    assert why in (cancel(quick, order_id) or "")
    assert quick.actions(order_id) == []


def test_an_unknown_status_protects(quick: World) -> None:
    kit = an_order(quick)
    quick.sandbox.event(kit, "received.testkit.on_the_moon")
    quick.deliver(kit)
    quick.drain()
    assert "a status and a method that we know" in (cancel(quick, kit) or "")


def test_without_a_policy_nobody_knows_for_which_environment_this_acts(quick: World) -> None:
    kit = quick.order()
    quick.deliver(kit)
    quick.drain()
    assert "no policy is active" in (cancel(quick, kit) or "")


def test_an_order_that_nobody_knows_is_named_so(quick: World) -> None:
    an_order(quick)
    assert cancel(quick, "nobody") == "there is no such order"


def test_what_somebody_else_cancelled_meanwhile_is_found_so_and_not_called(quick: World) -> None:
    kit = an_order(quick)
    cancel(quick, kit)
    quick.sandbox.event(kit, "cancelled", quiet=True)
    quick.drain()
    assert quick.posts(kit) == 0
    assert ending(quick, kit)[0] == "confirmed"
    assert "not by us" in ending(quick, kit)[1]


def test_a_visit_that_is_not_refunded_any_more_stays_unless_the_fee_is_accepted(quick: World) -> None:
    visit = an_order(quick, method="at_home_phlebotomy", state="appointment_scheduled")
    soon = (now() + timedelta(hours=20)).isoformat()
    quick.sandbox.appointment(visit, status="confirmed", start_at=soon)
    quick.say(lambda c: operating.refresh(c, [visit], said()))
    quick.drain()
    assert "refunded in full" in (cancel(quick, visit) or "")
    assert quick.posts(visit) == 0
    assert cancel(quick, visit, fee_accepted=True) is None
    quick.drain()
    assert quick.posts(visit) == 1


def test_a_visit_that_moves_into_the_last_day_after_the_click_stays(quick: World) -> None:
    visit = an_order(quick, method="at_home_phlebotomy", state="appointment_scheduled")
    quick.sandbox.appointment(visit, status="confirmed", start_at=(now() + timedelta(days=5)).isoformat())
    quick.say(lambda c: operating.refresh(c, [visit], said()))
    quick.drain()
    assert cancel(quick, visit) is None
    quick.sandbox.appointment(
        visit, status="confirmed", start_at=(now() + timedelta(hours=20)).isoformat(), quiet=True
    )
    quick.drain()
    assert quick.posts(visit) == 0
    assert "refunded in full" in ending(quick, visit)[1]


def test_the_slot_of_a_walk_in_order_stays(quick: World) -> None:
    visit = an_order(quick, method="walk_in_test", state="appointment_scheduled")
    cancel(quick, visit)
    quick.drain()
    assert [action["kind"] for action in quick.actions(visit)] == ["cancel_order"]
    assert quick.status(visit) == "cancelled"


def test_after_a_refusal_a_person_may_ask_again_once_the_order_has_moved(quick: World) -> None:
    kit = an_order(quick, registrable=True)
    quick.sandbox.fault("status", status=400, operation="cancel_order", order_id=kit, count=1)
    cancel(quick, kit)
    quick.drain()
    assert ending(quick, kit)[0] == "refused"
    assert "not refused by Junction" in (cancel(quick, kit) or "")
    quick.sandbox.event(kit, "awaiting_registration")
    quick.deliver(kit)
    quick.drain()
    assert cancel(quick, kit) is None
    quick.drain()
    assert quick.status(kit) == "cancelled"


# --- a look that a person asks for -------------------------------------------------------------------------


def test_a_refresh_finds_what_no_webhook_told_though_no_rule_is_due(world: World) -> None:
    kit = an_order(world)
    world.sandbox.event(kit, "awaiting_registration", quiet=True)
    world.drain()
    assert world.row(kit)["status_name"] == "ordered"
    world.say(lambda c: operating.refresh(c, [kit], said()))
    world.drain()
    row = world.row(kit)
    assert (row["status_name"], row["look_asked_at"], row["next_at"]) == ("awaiting_registration", None, None)
    assert world.decisions(kit) == []


def test_a_refresh_looks_at_an_ended_order_too(quick: World) -> None:
    kit = an_order(quick, state="cancelled")
    quick.sandbox.event(kit, "received.testkit.ordered", quiet=True)
    quick.say(lambda c: operating.refresh(c, [kit], said()))
    quick.drain()
    assert quick.row(kit)["reinstated"]


def test_a_webhook_that_comes_first_does_not_swallow_the_refresh(quick: World) -> None:
    kit = an_order(quick)
    quick.say(lambda c: operating.refresh(c, [kit], said()))
    quick.deliver(kit, None)
    quick.run(quick.queue.popleft())
    assert quick.row(kit)["next_at"] is not None
    asked = len(quick.sandbox.calls(order_id=kit))
    quick.drain()
    assert len(quick.sandbox.calls(order_id=kit)) == asked + 1


def test_a_look_that_was_asked_for_meanwhile_is_still_to_come(quick: World) -> None:
    kit = an_order(quick)
    earlier = now()
    quick.say(lambda c: orders.ask_for_look(c, [kit], earlier + timedelta(milliseconds=1)))
    quick.say(lambda c: orders.note_look(c, kit, earlier))
    assert quick.row(kit)["look_asked_at"] is not None


def test_a_refresh_while_junction_is_down_is_made_up_for(quick: World) -> None:
    kit = an_order(quick)
    quick.sandbox.fault("status", status=500, operation="get_order", order_id=kit, count=1)
    quick.say(lambda c: operating.refresh(c, [kit], said()))
    quick.drain()
    row = quick.row(kit)
    assert row["look_asked_at"] is not None
    assert row["next_at"] > now()


# --- by command --------------------------------------------------------------------------------------------


def run(*words: str, ends: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == ends, result.output
    return " ".join(result.output.split())


@pytest.fixture
def upgraded(
    sandbox: RunningSandbox, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A store made by the command itself, which trusts no other."""
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    run("db", "upgrade")
    store = open_store(sqlite_url)
    with world_with(sandbox, store, tmp_path) as made:
        yield made
    store.dispose()


def test_the_commands_do_the_same(upgraded: World) -> None:
    kit = an_order(upgraded)
    upgraded.sandbox.event(kit, "awaiting_registration", quiet=True)
    assert "asked for within seconds" in run("refresh", kit)
    upgraded.drain()
    assert upgraded.row(kit)["status_name"] == "awaiting_registration"
    assert "if nothing stands against it then, cancelled" in run("cancel", kit, "-r", "a mistake")
    upgraded.drain()
    assert (upgraded.posts(kit), upgraded.status(kit)) == (1, "cancelled")
    assert "it has ended already" in run("cancel", kit, "-r", "a mistake", ends=1)
    assert "there is no such order" in run("cancel", "nobody", "-r", "a mistake", ends=1)
    assert "no order nobody is known here" in run("refresh", "nobody", ends=1)
    run("cancel", kit, ends=2)  # without a reason


@pytest.mark.parametrize("command", ["cancel", "refresh"])
def test_each_command_shows_an_example(command: str) -> None:
    assert f"autocancel {command} 84d9" in run(command, "--help")
