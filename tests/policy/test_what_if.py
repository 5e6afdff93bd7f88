"""Backtest, forecast and diff: what a policy would have done, will do, and what another would do instead."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.histories import cases as made_up_cases
from tests.workers.conftest import HEAD, World, now
from workers import backtesting
from workers.backtesting import Backtest, Coming, Tally, backtest, forecast
from workers.core.case import Case
from workers.core.events import Keep
from workers.core.history import History
from workers.core.plan import plan
from workers.core.policy import Policy, Rule
from workers.core.replay import as_of, replay
from workers.core.status import CATALOGUE
from workers.junction import Junction, Window
from workers.policy_file import Loaded, load_policy, parse_policy
from workers.store import controls
from workers.store.database import reading, store_time
from workers.whatif import junction_cases, stored_cases

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NOW = datetime(2026, 11, 21, 15, tzinfo=UTC)

KIT = """
  - name: never-registered
    mode: enforce
    methods: [testkit]
    act_any_time: true
    when:
      - status: {in: [ordered, awaiting_registration], for: 720h}
    then: {action: cancel_order}
"""
VISIT = """
  - name: unconfirmed
    mode: enforce
    methods: [at_home_phlebotomy]
    act_any_time: true
    refund: REFUND
    when:
      - status: {in: [appointment_scheduled]}
      - remaining: {until: appointment.start, at_most: AHEAD}
    then: {action: cancel_order}
"""


def policy(*rules: str) -> Policy:
    found = parse_policy(HEAD + "rules:\n" + "".join(rules), "policy.yaml")
    assert isinstance(found, Policy), found
    return found


def ago(**time: float) -> str:
    return (now() - timedelta(**time)).isoformat()


def a_kit(world: World, days: float, *events: tuple[str, float], **story: object) -> str:
    """A kit placed so many days ago, and what became of it so many days ago."""
    kit = world.order(**{"method": "testkit", "created_at": ago(days=days)} | story)
    for status, past in events:
        world.sandbox.event(kit, status, at=ago(days=past))
    world.deliver(kit)
    world.drain()
    return kit


def in_the_store(world: World, asked: Policy, *, only_open: bool = False) -> list[Case]:
    with reading(world.store) as connection:
        return list(stored_cases(connection, asked, store_time(connection), only_open=only_open))


def tallies(world: World, asked: Policy) -> dict[str, Tally]:
    return backtest(asked, in_the_store(world, asked), now(), lambda done: None).rules


def coming(world: World, asked: Policy, **ahead: float) -> list[Coming]:
    found = in_the_store(world, asked, only_open=True)
    return forecast(asked, found, now() + timedelta(**ahead), lambda done: None)


# --- backtest ----------------------------------------------------------------------------------------------


def test_an_order_that_somebody_wanted_after_all_is_regretted(sqlite_world: World) -> None:
    a_kit(sqlite_world, 40, ("transit_customer", 6), ("transit_lab", 3), lab_test="lipids", price=90)
    a_kit(sqlite_world, 35, lab_test="thyroid", price=50)
    tally = tallies(sqlite_world, policy(KIT))["never-registered"]
    assert (tally.would_cancel, tally.regret, tally.money) == (2, 1, 50.0)


def test_one_that_moved_on_in_time_is_not_cancelled(sqlite_world: World) -> None:
    a_kit(sqlite_world, 40, ("transit_customer", 20))
    assert tallies(sqlite_world, policy(KIT))["never-registered"].would_cancel == 0


def test_one_cancelled_by_hand_later_says_how_many_days_were_saved(sqlite_world: World) -> None:
    a_kit(sqlite_world, 40, ("cancelled", 4))
    tally = tallies(sqlite_world, policy(KIT))["never-registered"]
    assert (tally.would_cancel, tally.by_hand, tally.regret) == (1, 1, 0)
    assert tally.days_saved == pytest.approx(6, abs=0.1)


def test_what_we_cancelled_ourselves_is_not_by_hand(sqlite_world: World) -> None:
    world = sqlite_world
    soon = KIT.replace("720h", "1h").replace("act_any_time", "backlog: include\n    act_any_time")
    world.policy(soon)
    kit = a_kit(world, 0.5)
    assert world.status(kit) == "cancelled"
    tally = tallies(world, policy(soon))["never-registered"]
    assert (tally.would_cancel, tally.by_hand) == (1, 0)


@pytest.mark.parametrize(
    ("refund", "ahead", "lost"), [("required", "30h", 0), ("ignore", "30h", 0), ("ignore", "20h", 1)]
)
def test_a_visit_that_took_place_is_regretted_and_a_late_one_not_paid_back(
    sqlite_world: World, refund: str, ahead: str, lost: int
) -> None:
    world = sqlite_world
    visit = world.order(method="at_home_phlebotomy", state="requisition_created", created_at=ago(days=20))
    world.sandbox.appointment(
        visit, status="confirmed", at=ago(days=9), start_at=ago(days=5), end_at=ago(days=4.9)
    )
    world.deliver(visit, that_took_place(world, visit, at=ago(days=4.9)))
    world.sandbox.event(visit, "draw_completed", at=ago(days=4.8))
    world.deliver(visit)
    world.drain()
    tally = tallies(world, policy(VISIT.replace("REFUND", refund).replace("AHEAD", ahead)))["unconfirmed"]
    assert (tally.would_cancel, tally.regret, tally.refunds_lost) == (1, 1, lost)


def test_shadow_rules_are_told_apart_and_keep_rules_left_out(sqlite_world: World) -> None:
    a_kit(sqlite_world, 40)
    keeper = KIT.replace("never-registered", "keeper").replace("cancel_order", "keep")
    found = tallies(sqlite_world, policy(KIT.replace("enforce", "shadow"), keeper.replace("720h", "800h")))
    assert {name: (tally.would_cancel, tally.shadow) for name, tally in found.items()} == {
        "never-registered": (1, True)
    }


def test_a_backtest_needs_nothing_but_junctions_list(sqlite_world: World) -> None:
    world, asked = sqlite_world, policy(KIT)
    for days in (35, 40, 100):
        kit = world.order(method="testkit", created_at=ago(days=days))  # and no webhook ever came
    world.sandbox.event(kit, "awaiting_registration", at=ago(days=2))  # new, but placed long before
    window = Window(now() - timedelta(days=50), now())
    with Junction(world.sandbox.url, world.sandbox.config.api_key, Keep(hash_key=b""), now=now) as junction:
        found = backtest(asked, junction_cases(junction, asked, window, now()), now(), lambda done: None)
    assert (found.orders, found.rules["never-registered"].would_cancel) == (2, 2)


def test_many_orders_are_shared_between_processes_with_the_same_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = load_policy(EXAMPLES / "autocancel.yaml")
    assert isinstance(asked, Loaded)
    found = list(made_up_cases(asked.policy, 60, NOW))
    alone = backtest(asked.policy, found, NOW, lambda done: None)
    monkeypatch.setattr(backtesting, "CHUNK", 25)
    told: list[int] = []
    shared = backtest(asked.policy, iter(found), NOW, told.append)
    assert told == [25, 25, 10]
    assert rounded(shared) == rounded(alone)
    assert sum(tally.would_cancel for tally in shared.rules.values()) > 10


def rounded(found: Backtest) -> object:
    """Sums of fractions depend on the order of adding."""
    return found.orders, {
        name: replace(tally, days_saved=round(tally.days_saved, 6), money=round(tally.money, 2))
        for name, tally in found.rules.items()
    }


def test_a_replay_knows_nothing_of_what_comes_later() -> None:
    asked = load_policy(EXAMPLES / "autocancel.yaml")
    assert isinstance(asked, Loaded)
    compared = 0
    for case in made_up_cases(asked.policy, 300, NOW, seed=7):
        *before, last = case.order.history.events
        if case.order.appointments or not before:
            continue
        facts = replace(case.order.facts, updated_at=before[-1].at)
        innocent = replace(case.order, facts=facts, history=History(tuple(before)))
        found = [one for one in fired(asked.policy, replace(case, order=innocent), NOW) if one[0] < last.at]
        assert list(fired(asked.policy, case, last.at)) == found
        compared += len(found)
    assert compared > 10


def fired(asked: Policy, case: Case, until: datetime) -> Iterator[tuple[datetime, str]]:
    return ((firing.at, firing.rule.rule.name) for firing in replay(asked, case, until))


def that_took_place(world: World, order_id: str, at: str) -> dict[str, object]:
    """The webhook that the order's appointment is over."""
    slot = world.sandbox.api.get(f"/v3/order/{order_id}/phlebotomy/appointment").json()
    over = {"created_at": at, "status": "completed"}
    return {
        "event_type": "labtest.appointment.updated",
        "team_id": world.services.team_id,
        "data": slot | {"status": "completed", "events": [*slot["events"], over]},
    }


# --- forecast ----------------------------------------------------------------------------------------------


def test_a_plan_and_a_replay_leave_out_only_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are not planned in statuses in which no rule may act. Here the work is done all the same."""
    some = list(made_up_cases(loaded(), 80, NOW))

    def found() -> list[object]:
        asked = loaded()
        firings = [(case.order.id, f.rule.rule.name, f.at) for case in some for f in replay(asked, case, NOW)]
        verdicts = [
            [(rule.verdict, rule.first) for rule in plan(asked, as_of(case, event.at)).rules]
            for case in some
            for event in case.order.history.events
        ]
        return [firings, verdicts]

    quick = found()
    for owner in (Rule, Policy):
        monkeypatch.setattr(owner, "statuses", frozenset(CATALOGUE))
    assert found() == quick
    assert quick[0]


def loaded() -> Policy:
    """The full example, read anew."""
    found = load_policy(EXAMPLES / "autocancel.yaml")
    assert isinstance(found, Loaded)
    return found.policy


def test_a_forecast_tells_what_will_be_due_and_when(sqlite_world: World) -> None:
    sqlite_world.policy(KIT)
    soon, late = a_kit(sqlite_world, 28), a_kit(sqlite_world, 10)
    (one,) = coming(sqlite_world, policy(KIT), days=7)
    assert (one.order_id, one.rule, one.action, one.mode) == (
        soon, "never-registered", "cancel_order", "enforce",
    )  # fmt: skip
    assert one.at == sqlite_world.row(soon)["outlook_at"]
    assert {one.order_id for one in coming(sqlite_world, policy(KIT), days=30)} == {soon, late}


def test_a_forecast_reckons_with_the_notice(sqlite_world: World) -> None:
    told = KIT.replace("    when", "    notice: 72h\n    when")
    sqlite_world.policy(told)
    kit, late = a_kit(sqlite_world, 26), a_kit(sqlite_world, 29)
    firings = {one.order_id: one.at for one in coming(sqlite_world, policy(told), days=7)}
    assert firings[kit] - now() == pytest.approx(timedelta(days=4), abs=timedelta(minutes=5))
    assert firings[late] - now() == pytest.approx(timedelta(days=3), abs=timedelta(minutes=5))


def test_an_order_is_cancelled_once_whatever_rules_wait_for_it(sqlite_world: World) -> None:
    later = KIT.replace("never-registered", "later").replace("720h", "730h")
    sqlite_world.policy(KIT + later)
    a_kit(sqlite_world, 28)
    assert [one.rule for one in coming(sqlite_world, policy(KIT, later), days=7)] == ["never-registered"]
    shadow = KIT.replace("enforce", "shadow")
    assert [(one.rule, one.mode) for one in coming(sqlite_world, policy(shadow, later), days=7)] == [
        ("never-registered", "shadow"),
        ("later", "enforce"),
    ]


def test_a_rule_that_would_begin_to_act_leaves_its_backlog_alone(sqlite_world: World) -> None:
    a_kit(sqlite_world, 40)
    assert coming(sqlite_world, policy(KIT), days=7) == []
    whole = policy(KIT.replace("    when", "    backlog: include\n    when"))
    assert [one.rule for one in coming(sqlite_world, whole, days=7)] == ["never-registered"]


def test_a_held_order_is_not_in_the_forecast(sqlite_world: World) -> None:
    sqlite_world.policy(KIT)
    kit = a_kit(sqlite_world, 28)
    sqlite_world.say(lambda c: controls.hold(c, kit, actor="us", reason="", now=store_time(c)))
    assert coming(sqlite_world, policy(KIT), days=7) == []
