"""What may be cancelled, what goes with it, and what stays: orders, PSC slots and home visits."""

import json
from uuid import uuid4

import httpx
import pytest

from sandbox.machine import STEPS, Method, full_status
from sandbox.running import RunningSandbox

REFUSED = {
    "error": "Bad Request",
    "message": "Transition from current_status to cancelled is not allowed",
    "status_code": 400,
}
PSC = "psc/appointment"
VISIT = "phlebotomy/appointment"


def psc_order(sandbox: RunningSandbox) -> str:
    order_id = str(sandbox.order(method="walk_in_test", state="requisition_created")["id"])
    sandbox.api.post(f"/v3/order/{order_id}/{PSC}/book", json={"booking_key": "k"}).raise_for_status()
    return order_id


def last_status(sandbox: RunningSandbox, order_id: str) -> str:
    return str(sandbox.api.get(f"/v3/order/{order_id}").json()["last_event"]["status"])


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method, steps in STEPS.items() for name in steps]
)
def test_a_cancel_is_granted_exactly_from_the_cancellable_statuses(
    one_sandbox: RunningSandbox, method: Method, name: str
) -> None:
    order_id = one_sandbox.order(method=method)["id"]
    one_sandbox.event(order_id, name)
    answer = one_sandbox.api.post(f"/v3/order/{order_id}/cancel")
    if STEPS[method][name].cancellable:
        assert answer.json()["order"]["last_event"]["status"] == f"cancelled.{method}.cancelled"
    else:
        assert (answer.status_code, answer.json()) == (400, REFUSED)
        assert last_status(one_sandbox, order_id) == full_status(method, name)


def test_an_order_in_a_status_nobody_knows_is_not_cancelled(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order()["id"]
    sandbox.event(order_id, "received.testkit.teleported")
    assert sandbox.api.post(f"/v3/order/{order_id}/cancel").json() == REFUSED


def test_the_log_tells_effective_cancels_from_refused_ones(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order()["id"]
    for _ in range(3):
        sandbox.api.post(f"/v3/order/{order_id}/cancel")
    calls = sandbox.calls(order_id=order_id, operation="cancel_order")
    assert [(call["status"], call["applied"]) for call in calls] == [(200, True), (400, False), (400, False)]


def test_the_guides_reading_answers_a_cancel_with_the_bare_order() -> None:
    with RunningSandbox(cancel_answer="bare") as sandbox:
        order_id = sandbox.order()["id"]
        cancelled = sandbox.api.post(f"/v3/order/{order_id}/cancel").json()
    assert (cancelled["id"], cancelled["status"]) == (order_id, "cancelled")


def test_a_cancelled_walk_in_order_leaves_the_slot_booked(sandbox: RunningSandbox, reason_id: str) -> None:
    order_id = psc_order(sandbox)
    sandbox.api.post(f"/v3/order/{order_id}/cancel").raise_for_status()
    slot = f"/v3/order/{order_id}/{PSC}"
    assert sandbox.api.get(slot).json()["status"] == "confirmed"
    sandbox.api.patch(f"{slot}/cancel", json={"cancellationReasonId": reason_id}).raise_for_status()
    assert sandbox.api.get(slot).status_code == 404
    assert last_status(sandbox, order_id) == "cancelled.walk_in_test.cancelled"


def test_a_cancelled_at_home_order_takes_the_visit_with_it(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    order_id = sandbox.order(method="at_home_phlebotomy", state="appointment_scheduled")["id"]
    assert sandbox.api.get(f"/v3/order/{order_id}/{VISIT}").json()["status"] == "confirmed"
    sandbox.api.post(f"/v3/order/{order_id}/cancel").raise_for_status()
    assert sandbox.api.get(f"/v3/order/{order_id}/{VISIT}").status_code == 404
    sandbox.settle()
    told = [json.loads(delivery.content) for delivery in deliveries]
    visits = [one["data"]["status"] for one in told if one["event_type"] == "labtest.appointment.updated"]
    assert visits[-1] == "cancelled"


@pytest.mark.parametrize("spelling", ["cancellationReasonId", "cancellation_reason_id"])
def test_a_slot_is_cancelled_with_a_known_reason_in_either_spelling(
    sandbox: RunningSandbox, reason_id: str, spelling: str
) -> None:
    order_id = psc_order(sandbox)
    url = f"/v3/order/{order_id}/{PSC}/cancel"
    for body in ({}, {spelling: None}, {spelling: "no reason"}, {spelling: str(uuid4())}):
        assert sandbox.api.patch(url, json=body).status_code == 400
    assert sandbox.api.patch(url, json={spelling: reason_id}).json()["event_status"] == "cancelled"
    assert last_status(sandbox, order_id) == "collecting_sample.walk_in_test.appointment_cancelled"


def test_a_home_visit_is_cancelled_with_a_reason(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order(method="at_home_phlebotomy", state="appointment_scheduled")["id"]
    reasons = sandbox.api.get(f"/v3/order/{VISIT}/cancellation-reasons").json()
    assert {reason["is_refundable"] for reason in reasons} == {True, False}
    body = {"cancellation_reason_id": reasons[0]["id"], "notes": "moved away"}
    sandbox.api.patch(f"/v3/order/{order_id}/{VISIT}/cancel", json=body).raise_for_status()
    assert last_status(sandbox, order_id) == "collecting_sample.at_home_phlebotomy.appointment_cancelled"


def test_a_slot_at_sonora_quest_is_known_from_its_own_webhook_only_and_cannot_be_cancelled(
    sandbox: RunningSandbox, reason_id: str, deliveries: list[httpx.Request]
) -> None:
    order_id = sandbox.order(method="walk_in_test", state="requisition_created")["id"]
    sandbox.appointment(order_id, provider="sonora_quest")
    cancel = {"cancellationReasonId": reason_id}
    assert sandbox.api.patch(f"/v3/order/{order_id}/{PSC}/cancel", json=cancel).status_code == 503
    assert last_status(sandbox, order_id) == "received.walk_in_test.requisition_created"
    sandbox.settle()
    told = {json.loads(delivery.content)["event_type"] for delivery in deliveries}
    assert "labtest.appointment.created" in told


def test_a_team_without_scheduling_gets_503_for_every_slot() -> None:
    with RunningSandbox(psc_scheduling=False) as sandbox:
        order_id = sandbox.order(method="walk_in_test", state="appointment_scheduled")["id"]
        assert sandbox.api.get(f"/v3/order/{order_id}/{PSC}").status_code == 503
        assert sandbox.api.get(f"/v3/order/{PSC}/cancellation-reasons").status_code == 503


def test_a_slot_is_moved_by_a_day_and_its_times_carry_no_zone(sandbox: RunningSandbox) -> None:
    order_id = psc_order(sandbox)
    slot = f"/v3/order/{order_id}/{PSC}"
    before = sandbox.api.get(slot).json()
    after = sandbox.api.patch(f"{slot}/reschedule", json={"booking_key": "k"}).json()
    assert (after["id"], after["start_at"] > before["start_at"]) == (before["id"], True)
    assert not after["start_at"].endswith(("Z", "+00:00"))
    assert last_status(sandbox, order_id) == "collecting_sample.walk_in_test.appointment_scheduled"
    assert sandbox.api.post(f"{slot}/book", json={"booking_key": "k"}).status_code == 400


def test_a_slot_confirmed_later_is_pending_until_the_scene_confirms_it(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order(method="walk_in_test", state="requisition_created")["id"]
    booking = {"booking_key": "k", "async_confirmation": True}
    slot = sandbox.api.post(f"/v3/order/{order_id}/{PSC}/book", json=booking).json()
    assert slot["status"] == "pending"
    assert last_status(sandbox, order_id) == "collecting_sample.walk_in_test.appointment_pending"
    confirmed = sandbox.appointment(order_id, start_at="2026-09-01T17:00:00Z", iana_timezone="America/Denver")
    assert (confirmed["id"], confirmed["start_at"]) == (slot["id"], "2026-09-01T17:00:00")
    assert confirmed["end_at"] == "2026-09-01T18:00:00"
    assert sandbox.appointment(order_id, new=True)["id"] != slot["id"]


def test_only_an_on_site_draw_is_reported_by_hand_and_only_once(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order(method="on_site_collection", state="requisition_created")["id"]
    url = f"/v3/order/{order_id}/draw_completed"
    drawn = sandbox.api.patch(url).json()["order"]
    assert drawn["last_event"]["status"] == "sample_with_lab.on_site_collection.draw_completed"
    assert sandbox.api.patch(url).status_code == 400
    kit = sandbox.order(method="testkit")["id"]
    assert sandbox.api.patch(f"/v3/order/{kit}/draw_completed").status_code == 400
