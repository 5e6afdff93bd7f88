"""From a webhook to a cancelled order: what is cancelled, what is not, and what is said about it."""

from datetime import timedelta

from tests.workers.conftest import World, now

STUCK_KIT = """
  - name: stuck-kit
    mode: enforce
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [ordered, awaiting_registration, requisition_created], for: 10m}
    then: {action: cancel_order}
"""

STUCK_WALK_IN = """
  - name: stuck-walk-in
    mode: enforce
    methods: [walk_in_test]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [requisition_created, appointment_scheduled], for: 10m}
    then: {action: cancel_order, psc_appointment: CHOICE}
"""

DRAWN = """
  - name: too-late
    mode: enforce
    methods: [on_site_collection]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [draw_completed], for: 1m}
    then: {action: cancel_order}
"""


def ago(**time: float) -> str:
    return (now() - timedelta(**time)).isoformat()


def test_a_kit_that_never_shipped_is_cancelled_and_the_decision_says_why(world: World) -> None:
    world.policy(STUCK_KIT)
    kit = world.order(method="testkit", created_at=ago(hours=2))
    world.deliver(kit)
    world.drain()
    assert world.row(kit)["status"] == "cancelled.testkit.cancelled"
    (decision,) = world.decisions(kit)
    assert (decision["verdict"], decision["state"], decision["rule"]) == ("cancel", "confirmed", "stuck-kit")
    assert decision["trace"]["rules"][0]["when"][0]["now"] == "yes"
    assert world.posts(kit) == 1


def test_a_shipped_registrable_kit_back_in_received_is_never_cancelled(world: World) -> None:
    world.policy(STUCK_KIT)
    kit = world.order(method="testkit", registrable=True, state="requisition_created", created_at=ago(days=3))
    assert world.sandbox.api.get(f"/v3/order/{kit}").json()["status"] == "received"
    world.deliver(kit)
    world.drain()
    assert world.posts(kit) == 0
    assert world.row(kit)["next_at"] is None


def test_draw_completed_is_not_cancelled_without_opt_in(world: World) -> None:
    world.policy(DRAWN)
    drawn = world.order(method="on_site_collection", state="draw_completed", created_at=ago(days=1))
    world.deliver(drawn)
    world.drain()
    assert world.posts(drawn) == 0


def test_a_status_nobody_has_seen_is_never_cancelled(world: World) -> None:
    world.policy(STUCK_KIT)
    kit = world.order(method="testkit", created_at=ago(days=1))
    world.sandbox.event(kit, "received.testkit.on_the_moon", at=ago(hours=3))
    world.sandbox.event(kit, "received.testkit.ordered", at=ago(hours=2))
    world.deliver(kit)
    world.drain()
    assert world.posts(kit) == 0


def test_what_shipped_behind_our_back_is_seen_by_the_fresh_look(world: World) -> None:
    world.policy(STUCK_KIT)
    kit = world.order(method="testkit", created_at=ago(hours=2))
    world.deliver(kit)
    world.sandbox.event(kit, "transit_customer", quiet=True)
    world.drain()
    assert world.posts(kit) == 0
    assert world.row(kit)["status_name"] == "transit_customer"
    assert [(d["verdict"], d["reason"]) for d in world.decisions(kit)] == [
        ("keep", "the fresh order is no longer due")
    ]


def test_a_time_out_after_applying_leads_to_exactly_one_post(world: World) -> None:
    world.policy(STUCK_KIT)
    kit = world.order(method="testkit", created_at=ago(hours=2))
    world.sandbox.fault("timeout_after", operation="cancel_order", order_id=kit, count=1)
    world.deliver(kit)
    world.eventually(lambda: world.row(kit)["status_name"] == "cancelled")
    assert world.posts(kit) == 1
    assert [action["state"] for action in world.actions(kit)] == ["confirmed"]


def test_the_documented_400_becomes_refused_and_is_not_retried(world: World) -> None:
    world.policy(STUCK_KIT)
    kit = world.order(method="testkit", created_at=ago(hours=2))
    world.sandbox.fault("status", status=400, operation="cancel_order", order_id=kit, count=1)
    world.deliver(kit)
    world.drain()
    world.deliver(kit)
    world.drain()
    assert [action["state"] for action in world.actions(kit)] == ["refused"]
    assert [decision["state"] for decision in world.decisions(kit)] == ["refused"]
    assert world.posts(kit) == 1


def test_the_slot_goes_before_the_order(world: World) -> None:
    world.policy(STUCK_WALK_IN.replace("CHOICE", "always"))
    visit = _a_booked_visit(world)
    world.drain()
    assert [a["kind"] for a in world.actions(visit)] == ["cancel_psc_appointment", "cancel_order"]
    assert [a["state"] for a in world.actions(visit)] == ["confirmed", "confirmed"]
    acts = [c["operation"] for c in world.sandbox.calls(order_id=visit) if c["method"] in {"POST", "PATCH"}]
    assert acts == ["cancel_psc_appointment", "cancel_order"]


def test_the_slot_stays_when_the_policy_says_never(world: World) -> None:
    world.policy(STUCK_WALK_IN.replace("CHOICE", "never"))
    visit = _a_booked_visit(world)
    world.drain()
    assert [a["kind"] for a in world.actions(visit)] == ["cancel_order"]
    slot = world.sandbox.api.get(f"/v3/order/{visit}/psc/appointment").json()
    assert slot["status"] == "confirmed"


def test_a_shadow_rule_writes_its_decision_and_does_nothing(world: World) -> None:
    world.policy(STUCK_KIT.replace("enforce", "shadow"))
    kit = world.order(method="testkit", created_at=ago(hours=2))
    world.deliver(kit)
    world.drain()
    assert [(d["verdict"], d["space"]) for d in world.decisions(kit)] == [("shadow", "shadow")]
    assert world.posts(kit) == 0


def test_an_order_of_another_team_is_never_cancelled(world: World) -> None:
    world.policy(STUCK_KIT)
    kit = world.order(
        method="testkit", created_at=ago(hours=2), team_id="00000000-0000-4000-8000-000000000000"
    )
    world.deliver(kit)
    world.drain()
    assert world.posts(kit) == 0


def _a_booked_visit(world: World) -> str:
    visit = world.order(method="walk_in_test", state="requisition_created", created_at=ago(days=2))
    start = now() + timedelta(days=3)
    world.sandbox.appointment(
        visit,
        provider="quest",
        status="confirmed",
        start_at=start.isoformat(),
        end_at=(start + timedelta(minutes=20)).isoformat(),
        at=ago(hours=5),
    )
    world.deliver(visit)
    return visit
