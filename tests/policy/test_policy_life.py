"""The policy while the engine runs: reloads, what is said about orders, siblings, notices, and the record."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event, select
from structlog.testing import capture_logs

from tests.policy.conftest import Reader
from tests.workers.conftest import HEAD, World, now
from workers import operating
from workers.core.plan import plan
from workers.messages import ProjectDeliveries
from workers.operating import Said
from workers.planning import as_merged, make_plans
from workers.policy_file import Loaded, load_policy
from workers.policy_loading import accept
from workers.store import controls, orders, outbox, policies
from workers.store.database import open_store, reading, store_time, writing
from workers.store.schema import orders as order_rows
from workers.store.schema import outbox as news

KIT = """
  - name: stuck-kit
    mode: enforce
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [ordered, awaiting_registration, requisition_created], for: 10m}
    then: {action: cancel_order}
"""
OTHER_KIT = KIT.replace("stuck-kit", "another").replace("10m", "90d")
DUPLICATE = """
  - name: twice
    mode: enforce
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - duplicate: {within: 14d}
    then: {action: cancel_order}
"""


def a_policy(*rules: str, head: str = HEAD) -> str:
    return head + "rules:\n" + "".join(rules)


def said() -> Said:
    return Said("somebody", "a reason", now())


def a_kit(world: World, **story: object) -> str:
    kit = world.order(**{"method": "testkit", "created_at": ago(hours=2)} | story)
    world.deliver(kit)
    return kit


def ago(**time: float) -> str:
    return (now() - timedelta(**time)).isoformat()


def active(world: World) -> policies.Generation:
    with reading(world.store) as connection:
        found = policies.active(connection)
    assert found is not None
    return found


def refused(world: World) -> str | None:
    with reading(world.store) as connection:
        return controls.raised(connection, [policies.REFUSED]).get(policies.REFUSED)


def back_then(world: World, text: str, **time: float) -> None:
    """The policy was loaded so long ago."""
    path = world.tmp_path / "policy.yaml"
    path.write_text(text)
    loaded = load_policy(path)
    assert isinstance(loaded, Loaded), loaded
    world.say(lambda connection: accept(connection, loaded, str(path), now() - timedelta(**time)))


def due_now(world: World) -> set[str]:
    """The orders that somebody is asked to look at."""
    with reading(world.store) as connection:
        at = store_time(connection)
        return set(connection.execute(select(order_rows.c.id).where(order_rows.c.next_at <= at)).scalars())


@contextmanager
def counted(store: Engine) -> Iterator[list[str]]:
    """The statements that run meanwhile."""
    statements: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(store, "before_cursor_execute", note)
    yield statements
    event.remove(store, "before_cursor_execute", note)


# --- reload ------------------------------------------------------------------------------------------------


def test_a_changed_file_is_the_next_generation_and_open_orders_are_planned_anew(reader: Reader) -> None:
    world = reader.world
    reader.load(a_policy(KIT.replace("10m", "30d")))
    kit = a_kit(world)
    world.drain()
    before = world.row(kit)
    reader.load(a_policy(KIT.replace("10m", "20d")))
    reader.clock.replan_stale()
    assert due_now(world) == {kit}
    world.drain()
    after = world.row(kit)
    assert (before["generation"], after["generation"]) == (1, 2)
    assert (before["next_at"] - after["next_at"]).days in {9, 10}  # an hour more or less when clocks change
    assert after["outlook"] == "will_cancel"


def test_open_orders_are_planned_anew_a_batch_at_a_time(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.clock.REPLANNED_AT_ONCE", 2)
    world = reader.world
    reader.load(a_policy(OTHER_KIT))
    for _ in range(5):
        a_kit(world)
    ended = a_kit(world, state="completed")
    world.drain()
    reader.load(a_policy(OTHER_KIT.replace("90d", "80d")))
    woken = []
    for _ in range(4):
        reader.clock.replan_stale()
        woken.append(len(due_now(world)))
    assert woken == [2, 4, 5, 5]
    assert ended not in due_now(world)


ORPHAN = """
  - name: orphan-slot
    mode: enforce
    methods: [walk_in_test]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [cancelled]}
      - appointment: {is: [pending, reserved, confirmed]}
    then: {action: cancel_psc_appointment}
"""


def test_a_new_rule_finds_the_slots_that_orders_cancelled_long_ago_left_behind(world: World) -> None:
    world.policy(OTHER_KIT)
    left, over = a_slot_left_behind(world, days=3), a_slot_left_behind(world, days=-1)
    ended = a_kit(world, state="completed")
    world.drain()
    assert {world.row(id_)["next_at"] for id_ in (left, over, ended)} == {None}
    world.policy(OTHER_KIT + ORPHAN)
    assert world.say(lambda c: orders.any_stale(c, 2, now()))
    assert world.say(lambda c: orders.wake_stale(c, 2, now(), 1000)) == 1
    assert due_now(world) == {left}
    world.drain()
    assert not world.say(lambda c: orders.any_stale(c, 2, now()))
    calls = world.sandbox.calls(operation="cancel_psc_appointment")
    assert [call["order_id"] for call in calls] == [left]


def a_slot_left_behind(world: World, *, days: int) -> str:
    """A walk-in order that was cancelled, but not its appointment in so many days."""
    visit = world.order(method="walk_in_test", state="requisition_created", created_at=ago(days=9))
    start = (now() + timedelta(days=days)).isoformat()
    world.sandbox.appointment(visit, status="confirmed", start_at=start, at=ago(days=8))
    world.sandbox.event(visit, "cancelled", at=ago(days=7))
    world.deliver(visit)
    slot = world.sandbox.api.get(f"/v3/order/{visit}/psc/appointment").json()
    team = world.services.team_id
    world.deliver(visit, {"event_type": "labtest.appointment.updated", "team_id": team, "data": slot})
    return visit


def test_half_a_file_is_not_taken_for_a_policy(reader: Reader) -> None:
    world, whole = reader.world, a_policy(KIT, OTHER_KIT)
    reader.load(whole)
    longer = whole.replace("10m", "20m")
    reader.path.write_text(longer[: longer.index("  - name: another")])  # one rule, and quite valid
    reader.tick(1)
    reader.path.write_text(longer)
    reader.tick()
    with reading(world.store) as connection:
        assert set(policies.modes(connection)) == {"stuck-kit", "another"}
    assert active(world).number == 2
    assert active(world).text == longer


def test_a_file_that_changes_while_it_is_read_waits_for_the_next_look(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.load(a_policy(KIT))
    reader.path.write_text(a_policy(KIT, OTHER_KIT))
    reader.tick(1)

    def read_and_written(path: object, kept: object) -> object:
        found = load_policy(reader.path)
        reader.path.write_text(a_policy(KIT.replace("10m", "1h"), OTHER_KIT))
        return found

    with monkeypatch.context() as patch:
        patch.setattr("workers.clock.load_policy", read_and_written)
        reader.tick(1)
    assert active(reader.world).number == 1
    reader.tick()
    assert "1h" in active(reader.world).text


def test_a_wrong_file_changes_nothing_and_is_told_with_its_line(reader: Reader) -> None:
    world, good = reader.world, a_policy(KIT)
    reader.load(good)
    with capture_logs() as logs:
        reader.load(good.replace("status:", "statsu:"))
    (told,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert "policy.yaml:15:" in told["problems"]
    assert "policy.yaml:15:" in (refused(world) or "")
    kit = a_kit(world)
    world.drain()
    assert world.status(kit) == "cancelled"
    reader.load(good)
    assert refused(world) is None
    assert active(world).number == 1


def test_a_file_that_disappears_is_told_once_and_the_policy_stays(reader: Reader) -> None:
    reader.load(a_policy(KIT))
    reader.path.unlink()
    with capture_logs() as logs:
        reader.tick(5)
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert "cannot read" in (refused(reader.world) or "")
    assert active(reader.world).number == 1
    reader.load(a_policy(KIT))
    assert refused(reader.world) is None


def test_a_policy_that_the_store_did_not_take_is_loaded_when_it_is_back(reader: Reader) -> None:
    reader.path.write_text(a_policy(KIT))
    store, reader.clock.store = reader.clock.store, open_store("sqlite:////nowhere/at/all.db")
    with pytest.raises(Exception, match="unable to open"):
        reader.tick(1)
    reader.clock.store.dispose()
    reader.clock.store = store
    reader.tick(1)
    assert active(reader.world).number == 1


def test_the_same_text_again_is_the_same_generation(reader: Reader) -> None:
    reader.load(a_policy(KIT))
    reader.path.unlink()
    reader.load(a_policy(KIT))
    assert active(reader.world).number == 1


def test_what_was_decided_under_the_old_policy_is_dropped_and_decided_anew(world: World) -> None:
    world.policy(KIT)
    kit = a_kit(world)
    world.decide()
    assert [action["state"] for action in world.actions(kit)] == ["planned"]
    world.policy(KIT.replace("stuck-kit", "kit-at-rest"))
    for message in world.waiting:
        world.run(message)
    assert world.posts(kit) == 0
    world.waiting.clear()
    world.drain()
    old, new = sorted(world.decisions(kit), key=lambda decision: decision["id"])
    assert (old["rule"], old["generation"], old["state"]) == ("stuck-kit", 1, "dropped")
    assert (new["rule"], new["generation"], new["state"]) == ("kit-at-rest", 2, "confirmed")
    assert world.posts(kit) == 1


def test_a_rule_switched_to_enforce_leaves_its_backlog_alone(sqlite_world: World) -> None:
    world = sqlite_world
    skipping = KIT.replace("    backlog: include\n", "")
    world.policy(skipping.replace("enforce", "shadow"))
    kit, older = a_kit(world), a_kit(world)
    world.drain()
    world.policy(skipping)
    world.drain()
    assert world.row(kit)["outlook"] == "backlog"
    world.sandbox.event(older, "awaiting_registration", at=ago(minutes=30))  # still the same stay
    world.deliver(older)
    world.drain()
    assert [world.posts(kit), world.posts(older)] == [0, 0]
    world.policy(KIT)
    world.drain()
    assert [world.posts(kit), world.posts(older)] == [1, 1]


def test_a_renamed_rule_keeps_since_when_it_acts(sqlite_world: World) -> None:
    skipping = KIT.replace("    backlog: include\n", "")
    back_then(sqlite_world, a_policy(skipping), hours=20)
    with reading(sqlite_world.store) as connection:
        before = policies.modes(connection)["stuck-kit"]
    sqlite_world.policy(renamed(skipping))
    kit = a_kit(sqlite_world)
    sqlite_world.drain()
    with reading(sqlite_world.store) as connection:
        assert policies.modes(connection) == {"kit-at-rest": before}
    assert sqlite_world.status(kit) == "cancelled"


def test_what_a_person_declined_stays_declined_under_the_new_name(world: World) -> None:
    review = KIT.replace("enforce", "review")
    world.policy(review)
    kit = a_kit(world)
    world.drain()
    (item,) = world.decisions(kit)
    world.say(lambda connection: operating.decline(connection, item["id"], said()))
    world.policy(renamed(review))
    world.drain()
    assert [(d["rule"], d["state"]) for d in world.decisions(kit)] == [("kit-at-rest", "declined")]


def test_a_paused_rule_is_still_paused_under_its_new_name(world: World) -> None:
    world.policy(KIT)
    world.say(lambda connection: operating.pause(connection, "stuck-kit", said()))
    world.policy(renamed(KIT))
    kit = a_kit(world)
    world.drain()
    assert world.posts(kit) == 0
    world.say(lambda c: operating.resume(c, world.services.policy, "kit-at-rest", said()))
    world.drain()
    assert world.posts(kit) == 1


def test_a_reload_neither_resets_nor_loses_a_wait(sqlite_world: World) -> None:
    world = sqlite_world
    back_then(world, a_policy(KIT.replace("10m", "1d")), days=2)
    kit = a_kit(world, created_at=ago(hours=23, minutes=59))
    world.drain()
    due = world.row(kit)["next_at"]
    for change in ("describe: one", "describe: two"):
        world.policy(KIT.replace("10m", "1d").replace("    methods", f"    {change}\n    methods"))
        world.drain()
    assert world.row(kit)["next_at"] == due
    assert abs(due - now()) < timedelta(hours=1, minutes=2)


def renamed(rule: str) -> str:
    return rule.replace("stuck-kit", "kit-at-rest\n    renamed_from: stuck-kit")


# --- what is said about orders -----------------------------------------------------------------------------

STATUS = "status: {in: [ordered, awaiting_registration, requisition_created], for: 10m}"
BY_USER = KIT.replace(STATUS, "signal: {name: member.left, on: user}")
MISTAKE = KIT.replace(STATUS, "signal: {name: order.mistake}")


def test_a_signal_on_a_user_plans_only_that_users_open_orders_anew(world: World) -> None:
    world.policy(BY_USER)
    somebody, another = str(uuid4()), str(uuid4())
    theirs = [a_kit(world, user_id=somebody) for _ in range(3)]
    ended = a_kit(world, user_id=somebody, state="completed")
    others = [a_kit(world, user_id=another) for _ in range(2)]
    alone = str(uuid4())
    a_kit(world, user_id=alone)
    world.drain()
    versions = {id_: world.row(id_)["facts_version"] for id_ in (*others, ended)}
    with counted(world.store) as few:
        post(world, "user", alone, "member.left")
    world.drain()
    with counted(world.store) as many:
        post(world, "user", somebody, "member.left")
    assert len(few) == len(many)
    assert due_now(world) == set(theirs)
    assert {id_: world.row(id_)["facts_version"] for id_ in versions} == versions
    world.drain()
    assert [world.posts(id_) for id_ in (*theirs, ended, *others)] == [1, 1, 1, 0, 0, 0]


def test_a_signal_on_an_order_is_about_no_other(world: World) -> None:
    world.policy(MISTAKE)
    wrong, right = a_kit(world), a_kit(world)
    world.drain()
    post(world, "order", wrong, "order.mistake")
    assert due_now(world) == {wrong}
    world.drain()
    assert [world.posts(wrong), world.posts(right)] == [1, 0]


def test_a_signal_taken_back_leads_to_nothing(sqlite_world: World) -> None:
    world = sqlite_world
    world.policy(MISTAKE.replace("order.mistake", "order.mistake, for: 1h"))
    kit = a_kit(world)
    world.drain()
    post(world, "order", kit, "order.mistake")
    world.drain()
    assert world.row(kit)["outlook"] == "will_cancel"
    world.say(
        lambda c: controls.retract_signal(c, "order", kit, "order.mistake", actor="us", now=store_time(c))
    )
    world.drain()
    assert (world.row(kit)["outlook"], world.row(kit)["next_at"]) == ("kept", None)


def test_a_signal_for_a_user_reaches_an_order_that_comes_later(sqlite_world: World) -> None:
    somebody = str(uuid4())
    sqlite_world.policy(BY_USER)
    post(sqlite_world, "user", somebody, "member.left")
    kit = a_kit(sqlite_world, user_id=somebody)
    sqlite_world.drain()
    assert sqlite_world.posts(kit) == 1


STOCK = """
exemptions:
  - name: stock
    reason: kits in a cupboard
    if:
      - label: {on: user, any_of: [inventory]}
"""


def test_a_label_protects_until_it_is_taken_off(world: World) -> None:
    world.policy(KIT, head=HEAD + STOCK)
    clinic = str(uuid4())
    world.say(lambda c: controls.set_label(c, "user", clinic, "inventory", actor="us", now=store_time(c)))
    kit = a_kit(world, user_id=clinic)
    world.drain()
    assert (world.posts(kit), world.row(kit)["next_at"]) == (0, None)
    world.say(lambda c: controls.remove_label(c, "user", clinic, "inventory", actor="us", now=store_time(c)))
    assert due_now(world) == {kit}
    world.drain()
    assert world.posts(kit) == 1


def test_labels_that_cannot_be_read_protect(sqlite_world: World) -> None:
    world = sqlite_world
    world.policy(KIT, head=HEAD + STOCK)
    kit = world.order(method="testkit", created_at=ago(hours=2))
    world.deliver(kit)
    world.run(world.queue.popleft())
    with writing(world.store) as connection:
        active_now = world.services.policy.read(connection)
        assert active_now is not None
        found = {kit: as_merged(orders.load(connection, [kit])[kit])}
        (one,) = make_plans(connection, world.services, active_now, found, store_time(connection)).values()
    assert one.plan.winner is not None
    blind = plan(active_now.policy, replace(one.case, labels=None))
    assert blind.winner is None
    assert blind.unclear  # so it is looked at again


def test_an_exemption_ends_when_it_says(sqlite_world: World) -> None:
    end = (now() + timedelta(seconds=2)).replace(microsecond=0)
    storm = STOCK.replace("    if:", f'    until: "{end.isoformat()}"\n    if:')
    storm = storm.replace("label: {on: user, any_of: [inventory]}", "patient: {state_in: [AZ]}")
    sqlite_world.policy(KIT, head=HEAD + storm)
    kit = a_kit(sqlite_world)  # whether its patient is in Arizona is not kept, so it may be
    sqlite_world.drain()
    assert sqlite_world.posts(kit) == 0
    assert sqlite_world.row(kit)["next_at"] == end
    sqlite_world.eventually(lambda: sqlite_world.status(kit) == "cancelled")


def test_a_held_order_waits_for_its_release(world: World) -> None:
    world.policy(KIT)
    kit = world.order(method="testkit", created_at=ago(hours=2))
    world.deliver(kit)
    world.run(world.queue.popleft())
    assert world.say(lambda c: controls.hold(c, kit, actor="us", reason="they called", now=store_time(c)))
    world.drain()
    assert (world.posts(kit), world.row(kit)["outlook"]) == (0, "on_hold")
    assert world.say(lambda c: controls.release(c, kit, actor="us", reason="", now=store_time(c)))
    world.drain()
    assert world.posts(kit) == 1


def post(world: World, scope: controls.Scope, target: str, name: str) -> bool:
    return world.say(
        lambda c: controls.post_signal(
            c, scope, target, name, at=store_time(c), actor="us", now=store_time(c)
        )
    )


# --- siblings ----------------------------------------------------------------------------------------------


def test_when_an_order_moves_on_the_others_of_its_user_are_planned_anew(world: World) -> None:
    world.policy(DUPLICATE.replace("enforce", "review"))
    somebody = str(uuid4())
    kit, other = (a_kit(world, user_id=somebody, state=name) for name in ("ordered", "requisition_created"))
    stranger = a_kit(world)
    world.drain()
    assert [d["rule"] for d in world.decisions(kit)] == ["twice"]
    world.sandbox.event(other, "cancelled")
    world.deliver(other)
    world.run(world.queue.popleft())
    assert due_now(world) == {kit}
    assert stranger not in due_now(world)
    world.drain()
    assert [d["state"] for d in world.decisions(kit)] == ["lapsed"]


def test_where_no_rule_compares_orders_nobody_else_is_woken(sqlite_world: World) -> None:
    world, somebody = sqlite_world, str(uuid4())
    world.policy(OTHER_KIT)
    a_kit(world, user_id=somebody)
    other = a_kit(world, user_id=somebody)
    world.drain()
    world.sandbox.event(other, "cancelled")
    world.deliver(other)
    world.run(world.queue.popleft())
    assert due_now(world) == set()


def test_planning_many_siblings_takes_as_many_queries_as_planning_one(sqlite_world: World) -> None:
    world = sqlite_world
    world.policy(DUPLICATE.replace("enforce", "shadow"))
    counts = []
    for many in (1, 6):
        somebody = str(uuid4())
        kits = [a_kit(world, user_id=somebody) for _ in range(many)]
        world.drain()
        for kit in kits:
            world.sandbox.event(kit, "awaiting_registration")
        arrived = ProjectDeliveries([world.deliver(kit) for kit in kits])
        with counted(world.store) as statements:
            world.run(arrived)
        counts.append(len(statements))
    assert counts[0] == counts[1]


# --- notices -----------------------------------------------------------------------------------------------

NOTICE = KIT.replace("10m", "1d").replace("    backlog", "    notice: 2h\n    backlog")


def notices(world: World, kit: str) -> list[dict[str, object]]:
    with reading(world.store) as connection:
        query = select(news).where(news.c.order_id == kit, news.c.type == outbox.SCHEDULED)
        return [dict(row) for row in connection.execute(query).mappings()]


def deliver_notice(world: World, key: object, at: datetime) -> bool:
    return world.say(lambda connection: outbox.delivered(connection, str(key), at))


def test_the_platform_is_told_exactly_so_long_before(sqlite_world: World) -> None:
    back_then(sqlite_world, a_policy(NOTICE), days=2)
    early, ripe = (a_kit(sqlite_world, created_at=ago(hours=hours)) for hours in (21, 22.5))
    sqlite_world.drain()
    assert notices(sqlite_world, early) == []
    row = sqlite_world.row(early)
    assert row["outlook_at"] - row["next_at"] == timedelta(hours=2)
    (told,) = notices(sqlite_world, ripe)
    assert told["delivered_at"] is None
    assert told["body"]["due_at"] == sqlite_world.row(ripe)["outlook_at"].isoformat()  # type: ignore[index]


def test_a_notice_that_nobody_got_cancels_nothing(world: World) -> None:
    back_then(world, a_policy(NOTICE), days=2)
    kit = a_kit(world, created_at=ago(hours=26))
    world.drain()
    assert len(notices(world, kit)) == 1
    assert (world.posts(kit), world.row(kit)["next_at"]) == (0, None)


def test_the_wait_begins_when_the_notice_has_arrived(world: World) -> None:
    back_then(world, a_policy(NOTICE), days=2)
    kit = a_kit(world, created_at=ago(hours=26))
    world.drain()
    (told,) = notices(world, kit)
    arrived = now() - timedelta(hours=1, minutes=59)
    assert deliver_notice(world, told["key"], arrived)
    assert due_now(world) == {kit}
    world.drain()
    assert (world.posts(kit), world.row(kit)["next_at"]) == (0, arrived + timedelta(hours=2))


def test_two_hours_after_the_notice_the_order_is_cancelled(world: World) -> None:
    back_then(world, a_policy(NOTICE), days=2)
    kit = a_kit(world, created_at=ago(hours=26))
    world.drain()
    (told,) = notices(world, kit)
    deliver_notice(world, told["key"], now() - timedelta(hours=2, minutes=1))
    world.drain()
    assert world.status(kit) == "cancelled"
    assert len(notices(world, kit)) == 1


def test_a_rule_that_stops_being_true_after_its_notice_does_nothing(sqlite_world: World) -> None:
    world = sqlite_world
    back_then(world, a_policy(NOTICE), days=2)
    kit = a_kit(world, created_at=ago(hours=26))
    world.drain()
    world.sandbox.event(kit, "transit_customer")
    world.deliver(kit)
    world.drain()
    (told,) = notices(world, kit)
    deliver_notice(world, told["key"], now() - timedelta(hours=3))
    world.drain()
    assert (world.posts(kit), world.row(kit)["next_at"]) == (0, None)


def test_the_same_activation_is_announced_once(sqlite_world: World) -> None:
    world = sqlite_world
    back_then(world, a_policy(NOTICE), days=2)
    kit = a_kit(world, created_at=ago(hours=26))
    world.drain()
    (first,) = notices(world, kit)
    world.policy(NOTICE.replace("notice: 2h", "notice: 3h"))
    world.say(lambda c: controls.touch(c, [kit], store_time(c)))
    world.drain()
    assert notices(world, kit) == [first]
    assert deliver_notice(world, first["key"], now())
    assert not deliver_notice(world, first["key"], now())


def test_while_all_is_stopped_nothing_is_announced_and_afterwards_it_is(world: World) -> None:
    back_then(world, a_policy(NOTICE), days=2)
    world.say(lambda connection: operating.stop(connection, said()))
    kit = a_kit(world, created_at=ago(hours=26))
    world.drain()
    assert notices(world, kit) == []
    assert (world.row(kit)["outlook"], due_now(world)) == ("stopped", set())
    world.say(lambda connection: operating.start(connection, said()))
    assert due_now(world) == {kit}
    world.drain()
    assert len(notices(world, kit)) == 1


def test_a_pause_holds_back_the_notices_of_its_rule_only(world: World) -> None:
    """Neither keeps the other from speaking: not the rule that may not act, nor the one that may."""
    other = NOTICE.replace("stuck-kit", "another")
    acting = KIT.replace("10m", "20h").replace("stuck-kit", "acting")
    back_then(world, a_policy(NOTICE, other, acting), days=2)
    for rule in ("stuck-kit", "acting"):
        pause(world, rule)
    kit = a_kit(world, created_at=ago(hours=26))
    world.drain()
    assert [str(told["key"]).split(":")[2] for told in notices(world, kit)] == ["another"]
    resume(world, "stuck-kit")
    world.drain()
    assert len(notices(world, kit)) == 2
    resume(world, "acting")
    world.drain()
    assert world.posts(kit) == 1


def pause(world: World, rule: str) -> None:
    world.say(lambda connection: operating.pause(connection, rule, said()))


def resume(world: World, rule: str) -> None:
    world.say(lambda connection: operating.resume(connection, world.services.policy, rule, said()))


# --- being late --------------------------------------------------------------------------------------------


def test_what_we_slept_through_goes_to_a_person(world: World) -> None:
    back_then(world, a_policy(KIT), days=9)
    kit = a_kit(world, created_at=ago(hours=24, minutes=20))
    world.drain()
    assert [(d["verdict"], d["mode"]) for d in world.decisions(kit)] == [("review", "review")]
    assert world.posts(kit) == 0


def test_what_we_slept_through_for_less_is_done(sqlite_world: World) -> None:
    back_then(sqlite_world, a_policy(KIT), days=9)
    kit = a_kit(sqlite_world, created_at=ago(hours=23))
    sqlite_world.drain()
    assert sqlite_world.posts(kit) == 1


@pytest.mark.parametrize("switch", ["stop", "pause"])
def test_being_stopped_is_not_being_late(world: World, switch: str) -> None:
    back_then(world, a_policy(KIT), days=9)
    control = controls.STOP if switch == "stop" else controls.rule_control("stuck-kit")
    long_ago = now() - timedelta(days=3)
    world.say(
        lambda c: controls.switch(c, control, on=True, actor="us", reason="a look around", now=long_ago)
    )
    kit = a_kit(world, created_at=ago(days=2))
    world.drain()
    assert (world.posts(kit), world.row(kit)["outlook"]) == (0, "stopped")
    if switch == "stop":
        world.say(lambda c: operating.start(c, Said("us", "", store_time(c))))
    else:
        world.say(
            lambda c: operating.resume(c, world.services.policy, "stuck-kit", Said("us", "", store_time(c)))
        )
    world.drain()
    assert world.posts(kit) == 1


# --- the record --------------------------------------------------------------------------------------------


def test_no_longer_due_names_the_rule_and_what_the_look_changed(world: World) -> None:
    world.policy(KIT)
    kit = a_kit(world)
    world.sandbox.event(kit, "transit_customer", quiet=True)
    world.drain()
    (told,) = world.decisions(kit)
    assert (told["verdict"], told["rule"], told["action"]) == ("keep", "stuck-kit", "cancel_order")
    assert told["due_at"] is not None
    look = told["trace"]["fresh_look"]
    assert (look["before"]["status"], look["after"]["status"]) == ("ordered", "transit_customer")
    assert (look["before"]["events"], look["after"]["events"]) == (1, 2)
    assert "method" not in look["after"]  # only what differs
    assert told["trace"]["rules"][0]["why"]


def test_a_look_that_changes_nothing_says_so(sqlite_world: World) -> None:
    sqlite_world.policy(KIT)
    kit = a_kit(sqlite_world)
    sqlite_world.drain()
    (told,) = sqlite_world.decisions(kit)
    assert told["verdict"] == "cancel"
    assert told["trace"]["fresh_look"] is None


def test_the_same_no_again_is_only_counted(sqlite_world: World) -> None:
    world = sqlite_world
    world.policy(KIT)
    kit = a_kit(world)
    world.say(lambda c: operating.stop(c, Said("us", "wait", store_time(c))))
    world.drain()
    for _ in range(2):
        world.say(lambda c: controls.touch(c, [kit], store_time(c)))
        world.drain()
    (told,) = world.decisions(kit)
    assert (told["verdict"], told["rule"], told["times"]) == ("held", "stuck-kit", 3)
    assert told["trace"]["rules"][0]["verdict"] == "due"
    assert "fresh_look" not in told["trace"]  # no call is spent on what is stopped
    assert told["last_at"] > told["at"]
