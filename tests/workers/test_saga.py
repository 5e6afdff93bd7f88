"""A slot and then its order: two calls, each with its own row, and every way in which one can fail."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.workers.conftest import HEAD, World, now
from workers.junction import Limited
from workers.store import controls
from workers.store.schema import actions

VISIT = """
  - name: stuck-visit
    mode: enforce
    methods: [walk_in_test, at_home_phlebotomy]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [requisition_created, appointment_pending, appointment_scheduled], for: 10m}
    then: {action: cancel_order, psc_appointment: CHOICE}
"""
ALONE = """
  - name: no-show
    mode: enforce
    methods: [METHOD]
    act_any_time: true
    backlog: include
    when:
      - appointment: {is: [confirmed]}
    then: {action: ACTION}
"""


@pytest.fixture
def world(sqlite_world: World) -> World:
    """These stories are the same on either database; test_cancelling.py and test_races.py try both."""
    return sqlite_world


def booked(world: World, method: str = "walk_in_test", hours: float = 72, **slot: Any) -> str:
    """An order whose visit begins in so many hours."""
    at = now() - timedelta(hours=5)
    visit = world.order(
        method=method, state="requisition_created", created_at=(at - timedelta(days=2)).isoformat()
    )
    start = now() + timedelta(hours=hours)
    slot = {"status": "confirmed", "start_at": start.isoformat(), "at": at.isoformat()} | slot
    world.sandbox.appointment(visit, **slot)
    world.deliver(visit)
    return visit


def rule(choice: str) -> str:
    return VISIT.replace("CHOICE", choice)


def acts(world: World, visit: str) -> list[str]:
    calls = world.sandbox.calls(order_id=visit)
    return [call["operation"] for call in calls if call["method"] in {"POST", "PATCH"}]


def steps(world: World, visit: str) -> list[tuple[str, str]]:
    return [(action["kind"], action["state"]) for action in world.actions(visit)]


def outcome(world: World, visit: str) -> tuple[str, str]:
    decision = next(d for d in world.decisions(visit) if d["verdict"] == "cancel")
    return decision["state"], decision["reason"]


def test_the_order_goes_although_its_own_condition_went_with_the_slot(world: World) -> None:
    """The rule speaks of scheduled appointments only; after our first step there is none."""
    world.policy(rule("always").replace("requisition_created, appointment_pending, ", ""))
    visit = booked(world)
    world.drain()
    assert steps(world, visit) == [("cancel_psc_appointment", "confirmed"), ("cancel_order", "confirmed")]
    assert outcome(world, visit)[0] == "confirmed"


def test_a_slot_that_junction_will_not_cancel_leaves_the_order_alone_and_says_so(world: World) -> None:
    world.policy(rule("always"))
    visit = booked(world)
    world.sandbox.fault("status", status=400, operation="cancel_psc_appointment", order_id=visit, count=1)
    world.drain()
    assert steps(world, visit) == [("cancel_psc_appointment", "refused"), ("cancel_order", "dropped")]
    assert outcome(world, visit)[0] == "refused"
    assert acts(world, visit) == ["cancel_psc_appointment"]
    assert [type_ for type_, _ in world.news(visit)] == ["autocancel.refused"]


def test_an_order_refused_after_its_slot_is_partial_and_told(world: World) -> None:
    world.policy(rule("always"))
    visit = booked(world)
    world.sandbox.fault("status", status=400, operation="cancel_order", order_id=visit, count=1)
    world.drain()
    assert steps(world, visit) == [("cancel_psc_appointment", "confirmed"), ("cancel_order", "refused")]
    assert outcome(world, visit)[0] == "partial"
    assert [type_ for type_, _ in world.news(visit)] == ["autocancel.partial"]
    world.deliver(visit)
    world.drain()
    assert acts(world, visit) == ["cancel_psc_appointment", "cancel_order"]


@pytest.mark.parametrize("operation", ["cancel_psc_appointment", "cancel_order"])
@pytest.mark.parametrize("fault", ["timeout_after", "status"])
def test_each_step_that_gets_no_clear_answer_is_looked_at_and_the_saga_goes_on(
    world: World, operation: str, fault: str
) -> None:
    world.policy(rule("always"))
    visit = booked(world)
    how: dict[str, Any] = {"status": 429, "retry_after": 1} if fault == "status" else {}
    world.sandbox.fault(fault, operation=operation, order_id=visit, count=1, **how)
    world.eventually(lambda: outcome(world, visit)[0] == "confirmed")
    assert steps(world, visit) == [("cancel_psc_appointment", "confirmed"), ("cancel_order", "confirmed")]
    applied = [c["operation"] for c in world.sandbox.calls(order_id=visit) if c["applied"]]
    assert applied == ["cancel_psc_appointment", "cancel_order"]


def test_a_hold_after_the_slot_went_is_heeded_and_shown_as_partial(world: World) -> None:
    world.policy(rule("always"))
    visit = booked(world)
    world.sandbox.fault(
        "status", status=429, retry_after=1, operation="cancel_order", order_id=visit, count=1
    )
    world.drain()
    world.say(lambda c: controls.hold(c, visit, actor="us", reason="call them first", now=now()))
    world.eventually(lambda: outcome(world, visit)[0] == "partial")
    assert "a person holds this order" in outcome(world, visit)[1]
    assert world.status(visit) == "appointment_cancelled"


def test_a_patient_who_books_again_between_the_steps_keeps_the_order(world: World) -> None:
    world.policy(rule("always"))
    visit = booked(world)
    world.sandbox.fault(
        "status", status=429, retry_after=1, operation="cancel_order", order_id=visit, count=1
    )
    world.drain()
    start = (now() + timedelta(days=5)).isoformat()
    world.sandbox.appointment(visit, new=True, status="confirmed", start_at=start)
    world.eventually(lambda: outcome(world, visit)[0] == "partial")
    assert world.status(visit) == "appointment_scheduled"


def test_a_slot_that_came_closer_since_the_decision_is_not_cancelled(world: World) -> None:
    """Cancelled only if more than a day ahead: it was moved to this afternoon, so the order goes alone."""
    world.policy(rule("{if_more_than: 24h, otherwise: keep}"))
    visit = booked(world)
    world.decide()
    near = (now() + timedelta(hours=3)).isoformat()
    world.sandbox.appointment(visit, status="confirmed", start_at=near, order_follows=False, quiet=True)
    world.let_go()
    world.drain()
    assert acts(world, visit) == ["cancel_order"]
    assert [d["state"] for d in world.decisions(visit) if d["verdict"] == "cancel"] == [
        "confirmed",
        "dropped",
    ]


@pytest.mark.parametrize(
    ("choice", "hours", "slot", "expected"),
    [
        ("never", 72, {}, ["cancel_order"]),
        ("always", 3, {}, ["cancel_psc_appointment", "cancel_order"]),
        ("{if_more_than: 24h, otherwise: keep}", 72, {}, ["cancel_psc_appointment", "cancel_order"]),
        ("{if_more_than: 24h, otherwise: keep}", 3, {}, ["cancel_order"]),
        ("{if_more_than: 24h, otherwise: hold}", 3, {}, []),
        # Cannot be cancelled through the API: counts as near.
        ("{if_more_than: 24h, otherwise: keep}", 72, {"provider": "sonora_quest"}, ["cancel_order"]),
        ("{if_more_than: 24h, otherwise: hold}", 72, {"provider": "sonora_quest"}, []),
    ],
)
def test_what_becomes_of_the_slot(
    world: World, choice: str, hours: float, slot: dict[str, Any], expected: list[str]
) -> None:
    world.policy(rule(choice))
    visit = booked(world, hours=hours, **slot)
    world.drain()
    assert acts(world, visit) == expected


def test_a_home_visit_goes_with_its_order_and_that_is_verified(world: World) -> None:
    world.policy(rule("never"))
    visit = booked(world, "at_home_phlebotomy")
    world.drain()
    assert acts(world, visit) == ["cancel_order"]
    assert outcome(world, visit) == ("confirmed", "cancelled by us; seen at Junction")
    assert world.sandbox.api.get(f"/v3/order/{visit}/phlebotomy/appointment").status_code == 404


def test_a_home_visit_that_stands_after_all_is_partial(world: World) -> None:
    world.policy(rule("never"))
    visit = booked(world, "at_home_phlebotomy")
    world.decide()
    visits = world.sandbox.app.state.sandbox.laboratory.orders
    lab_order = next(order for id_, order in visits.items() if str(id_) == visit)
    standing = lab_order.appointment
    cancel = world.sandbox.app.state.sandbox.laboratory.cancel

    def leave_it(order: Any) -> None:
        cancel(order)
        order.appointment = standing

    world.sandbox.app.state.sandbox.laboratory.cancel = leave_it
    world.let_go()
    world.eventually(lambda: outcome(world, visit)[0] == "partial")
    assert "the home visit still stands" in outcome(world, visit)[1]
    assert acts(world, visit) == ["cancel_order"]


@pytest.mark.parametrize(
    ("method", "action"),
    [("walk_in_test", "cancel_psc_appointment"), ("at_home_phlebotomy", "cancel_home_visit")],
)
def test_an_appointment_can_be_cancelled_alone(world: World, method: str, action: str) -> None:
    world.policy(ALONE.replace("METHOD", method).replace("ACTION", action))
    visit = booked(world, method)
    world.drain()
    assert steps(world, visit) == [(action, "confirmed")]
    assert outcome(world, visit)[0] == "confirmed"
    assert world.status(visit) == "appointment_cancelled"
    assert len(acts(world, visit)) == 1


def test_a_home_visit_past_its_refund_line_is_left_alone(world: World) -> None:
    world.policy(
        ALONE.replace("METHOD", "at_home_phlebotomy").replace("ACTION", "cancel_home_visit")
        + rule("never").replace("[walk_in_test, at_home_phlebotomy]", "[at_home_phlebotomy]")
    )
    visit = booked(world, "at_home_phlebotomy", hours=24.4)  # full refund until 24 h, our margin is 30 min
    world.drain()
    assert acts(world, visit) == []


def test_a_reason_that_junction_does_not_have_ends_it_and_says_so(world: World) -> None:
    world.policy(rule("always"), head=HEAD + "psc_cancel_reason: Full moon\n")
    visit = booked(world)
    world.drain()
    assert acts(world, visit) == []
    assert outcome(world, visit) == ("failed", "Junction has no cancellation reason 'Full moon'")


def test_reasons_are_asked_for_once_and_waited_for(world: World) -> None:
    world.policy(rule("always"))
    world.sandbox.fault("status", status=500, operation="psc_reasons", count=1)
    visits = [booked(world), booked(world)]
    world.eventually(lambda: {outcome(world, visit)[0] for visit in visits} == {"confirmed"})
    assert len(world.sandbox.calls(operation="psc_reasons")) == 2


# --- a worker that died, a call that came to nothing -------------------------------------------------------


def test_a_row_left_sending_by_a_dead_worker_is_looked_at_never_called_blindly(world: World) -> None:
    """It died after the call, before the answer: Junction had applied it."""
    world.policy(rule("never"))
    visit = booked(world)
    world.decide()
    world.sandbox.api.post(f"/v3/order/{visit}/cancel")
    sent = now() - timedelta(minutes=5)
    lost = {"state": "sending", "posts": 1, "sent_at": sent, "sending_until": sent, "next_at": sent}
    world.say(lambda c: c.execute(update(actions).values(**lost, leased_until=sent)))
    world.let_go()
    world.drain()
    assert outcome(world, visit) == ("confirmed", "cancelled by us; seen at Junction")
    assert world.posts(visit) == 1


def test_a_row_left_sending_before_its_call_is_called_once_more_after_looking_long_enough(
    world: World,
) -> None:
    world.policy(rule("never"))
    visit = booked(world)
    world.decide()
    sent = now() - timedelta(minutes=5)
    lost = {"state": "sending", "posts": 1, "sent_at": sent, "sending_until": sent, "next_at": sent}
    world.say(lambda c: c.execute(update(actions).values(**lost, baseline=_newest(world, visit))))
    world.waiting.clear()
    world.eventually(lambda: outcome(world, visit)[0] == "confirmed")
    assert world.posts(visit) == 1
    assert world.actions(visit)[0]["posts"] == 2


def test_a_call_applied_only_after_our_first_looks_is_one_post(world: World) -> None:
    world.policy(rule("never"))
    visit = booked(world)
    world.sandbox.fault("apply_late", seconds=1, status=504, operation="cancel_order", order_id=visit)
    world.eventually(lambda: outcome(world, visit)[0] == "confirmed")
    assert world.posts(visit) == 1


def test_after_two_calls_without_any_effect_a_person_decides(world: World) -> None:
    world.policy(rule("never"))
    visit = booked(world)
    world.sandbox.fault("timeout_before", seconds=0.1, operation="cancel_order", order_id=visit)
    world.eventually(lambda: outcome(world, visit)[0] == "failed", 30)
    assert world.posts(visit) == 2
    assert outcome(world, visit)[1] == "2 calls without any visible effect"
    world.policy(rule("never").replace("stuck-visit", "another-rule"))
    world.drain()
    assert world.posts(visit) == 2
    assert next(d["verdict"] for d in world.decisions(visit)) == "review"


def test_an_unconfirmed_cancel_is_told_to_people_once(world: World) -> None:
    object.__setattr__(world.services.patience, "alarm", timedelta(0))
    world.policy(rule("never"))
    visit = booked(world)
    world.sandbox.fault("apply_late", seconds=1.5, status=504, operation="cancel_order", order_id=visit)
    world.eventually(lambda: outcome(world, visit)[0] == "confirmed")
    assert [type_ for type_, _ in world.news(visit)] == ["autocancel.unconfirmed", "autocancel.confirmed"]


def test_waiting_for_a_permit_uses_up_no_attempt(world: World) -> None:
    """Ten times Junction asks for patience; the eleventh call is made."""
    world.policy(rule("never"))
    visit = booked(world)
    object.__setattr__(world.services.patience, "first_look", timedelta(0))
    cancel = world.services.junction.cancel_order
    refused = iter(range(10))

    def put_off(order_id: str, **how: Any) -> Any:
        if next(refused, None) is not None:
            return Limited(0.0, call="cancel_order", at=now(), http_status=429)
        return cancel(order_id, **how)

    world.services.junction.cancel_order = put_off  # type: ignore[method-assign]
    world.drain()
    assert outcome(world, visit)[0] == "confirmed"


def _newest(world: World, order_id: str) -> int:
    return int(world.sandbox.api.get(f"/v3/order/{order_id}").json()["events"][-1]["id"])
