"""Placing, reading, listing and walking orders over real HTTP; every 200 is checked against the OpenAPI."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from sandbox import canaries
from sandbox.machine import Method
from sandbox.orders import CATALOGUE
from sandbox.running import RunningSandbox

PATIENT = {
    "first_name": "Some",
    "last_name": "Body",
    "dob": "1990-01-01",
    "gender": "female",
    "phone_number": "+15005550001",
    "email": "some.body@example.com",
}
ADDRESS = {"first_line": "1 Road", "city": "Phoenix", "state": "AZ", "zip": "85004", "country": "US"}


def wish(method: Method = Method.WALK_IN, **more: Any) -> dict[str, Any]:
    return {
        "user_id": str(uuid4()),
        "lab_test_id": str(CATALOGUE[method].id),
        "patient_details": PATIENT,
        "patient_address": ADDRESS,
    } | more


def steps(order: dict[str, Any]) -> list[str]:
    return [event["status"].rpartition(".")[2] for event in order["events"]]


@pytest.mark.parametrize("method", Method)
def test_an_order_of_each_method_can_be_placed_and_read_back(sandbox: RunningSandbox, method: Method) -> None:
    placed = sandbox.api.post("/v3/order", json=wish(method)).json()["order"]
    assert sandbox.api.get(f"/v3/order/{placed['id']}").json() == placed
    assert placed["last_event"]["status"] == f"received.{method}.ordered"


def test_the_same_idempotency_key_places_one_order(sandbox: RunningSandbox) -> None:
    headers = {"X-Idempotency-Key": "once"}
    first = sandbox.api.post("/v3/order", json=wish(), headers=headers).json()["order"]["id"]
    second = sandbox.api.post("/v3/order", json=wish(), headers=headers).json()["order"]["id"]
    assert first == second
    assert [call["applied"] for call in sandbox.calls(operation="create_order")] == [True, False]


def test_an_order_shows_the_canaries_and_never_the_patient_it_was_placed_for(sandbox: RunningSandbox) -> None:
    text = sandbox.api.post("/v3/order", json=wish()).text
    assert canaries.FIRST_NAME in text
    assert canaries.PHONE in text
    assert PATIENT["email"] not in text


def test_a_registrable_kit_waits_for_its_patient_and_then_has_one(sandbox: RunningSandbox) -> None:
    shipping = ADDRESS | {"receiver_name": "Clinic", "phone_number": "+15005550002"}
    kit = {
        "user_id": str(uuid4()),
        "lab_test_id": str(CATALOGUE[Method.TESTKIT].id),
        "shipping_details": shipping,
    }
    placed = sandbox.api.post("/v3/order/testkit", json=kit).json()["order"]
    assert steps(placed) == ["ordered", "awaiting_registration"]
    assert placed["patient_details"] is None
    person = {
        "sample_id": placed["sample_id"],
        "patient_details": PATIENT,
        "patient_address": ADDRESS,
    }
    registered = sandbox.api.post("/v3/order/testkit/register", json=person).json()["order"]
    assert steps(registered)[-1] == "registered"
    assert registered["patient_details"]["first_name"] == canaries.FIRST_NAME
    assert sandbox.api.post("/v3/order/testkit/register", json=person).status_code == 400


KIT_PATH = """ordered requisition_created transit_customer out_for_delivery with_customer transit_lab
    delivered_to_lab completed"""
REGISTRABLE_KIT_PATH = """ordered awaiting_registration transit_customer out_for_delivery with_customer
    registered requisition_created transit_lab delivered_to_lab completed"""
WALK_IN_PATH = "ordered requisition_created appointment_pending appointment_scheduled completed"
AT_HOME_PATH = """ordered requisition_created appointment_pending appointment_scheduled draw_completed
    completed"""
ON_SITE_PATH = "ordered requisition_created draw_completed completed"


@pytest.mark.parametrize(
    ("scene", "path"),
    [
        ({"method": "testkit"}, KIT_PATH),
        ({"method": "testkit", "registrable": True}, REGISTRABLE_KIT_PATH),
        ({"method": "walk_in_test"}, WALK_IN_PATH),
        ({"method": "at_home_phlebotomy"}, AT_HOME_PATH),
        ({"method": "on_site_collection"}, ON_SITE_PATH),
    ],
)
def test_a_simulated_order_walks_its_usual_path(
    sandbox: RunningSandbox, scene: dict[str, Any], path: str
) -> None:
    order_id = sandbox.order(**scene)["id"]
    sandbox.api.post(f"/v3/order/{order_id}/test").raise_for_status()
    assert steps(sandbox.api.get(f"/v3/order/{order_id}").json()) == path.split()


def test_a_simulation_goes_on_from_where_the_order_is(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order(method="testkit", state="with_customer")["id"]
    sandbox.api.post(f"/v3/order/{order_id}/test", params={"final_status": "failed.testkit.sample_error"})
    walked = steps(sandbox.api.get(f"/v3/order/{order_id}").json())
    assert walked[-4:] == ["with_customer", "transit_lab", "delivered_to_lab", "sample_error"]


def test_a_simulation_with_a_pause_walks_on_after_its_answer() -> None:
    with RunningSandbox(time_scale=1000.0) as fast:
        order_id = fast.order(method="on_site_collection")["id"]
        fast.api.post(f"/v3/order/{order_id}/test", params={"delay": 1}).raise_for_status()
        while fast.api.get(f"/v3/order/{order_id}").json()["status"] != "completed":
            time.sleep(0.01)


def test_a_simulation_towards_another_methods_end_is_refused(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order(method="testkit")["id"]
    for final in ("completed.walk_in_test.completed", "nonsense"):
        answer = sandbox.api.post(f"/v3/order/{order_id}/test", params={"final_status": final})
        assert answer.status_code == 400


def test_a_list_is_filtered_by_change_and_status_and_comes_in_pages(sandbox: RunningSandbox) -> None:
    now = datetime.now(UTC)
    old = sandbox.order(created_at=(now - timedelta(days=40)).isoformat())["id"]
    new = [sandbox.order(state="with_customer")["id"] for _ in range(3)]
    changed = sandbox.api.get(
        "/v3/orders", params={"updated_start_date": (now - timedelta(days=1)).isoformat()}
    ).json()
    assert {order["id"] for order in changed["orders"]} == set(new)
    waiting = sandbox.api.get("/v3/orders", params={"status": ["ordered", "requisition_created"]}).json()
    assert [order["id"] for order in waiting["orders"]] == [old]
    pages = [sandbox.api.get("/v3/orders", params={"page": page, "size": 3}).json() for page in (1, 2, 3)]
    assert [len(page["orders"]) for page in pages] == [3, 1, 0]
    assert pages[0]["total"] == 4


@pytest.mark.parametrize(
    ("query", "answered"),
    [
        ("size=101", 422),
        ("page=0", 422),
        ("status=teleported", 422),
        ("updated_start_date=soon", 422),
        ("updated_start_date=0001-01-01T00:00:00%2B14:00", 422),
        ("updated_start_date=2026-01-01&updated_end_date=2026-01-02", 200),
        ("end_date=2026-01-01", 200),
    ],
)
def test_a_list_says_what_is_wrong_with_its_query(
    one_sandbox: RunningSandbox, query: str, answered: int
) -> None:
    assert one_sandbox.api.get(f"/v3/orders?{query}").status_code == answered


def test_strangers_are_turned_away_politely(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order()["id"]
    others = sandbox.order(team_id=str(uuid4()))["id"]
    wrong_key = {"x-vital-api-key": "sk_us_guess"}
    assert sandbox.api.get(f"/v3/order/{order_id}", headers=wrong_key).status_code == 401
    assert sandbox.api.get(f"/v3/order/{others}").status_code == 403
    assert sandbox.api.get(f"/v3/order/{uuid4()}").status_code == 404
    assert sandbox.api.get("/v3/order/not-an-id").status_code == 422


@pytest.mark.parametrize(
    "path",
    ["/v3/order", "/v3/order/testkit", "/v3/order/resend_events", "/sandbox/orders", "/sandbox/faults"],
)
@pytest.mark.parametrize(
    "body", [b"{", b"[1]", b'"text"', b"\xff\xfe", b'{"passthrough": "\\ud800", "count": 0}']
)
def test_a_broken_body_is_answered_and_never_a_crash(
    one_sandbox: RunningSandbox, path: str, body: bytes
) -> None:
    assert one_sandbox.api.post(path, content=body).status_code in (400, 422)


def test_an_endpoint_that_is_not_there_says_so_in_json(sandbox: RunningSandbox) -> None:
    assert sandbox.api.get("/v3/nothing").json()["status_code"] == 404
    assert sandbox.api.delete("/v3/orders").json()["status_code"] == 405


def test_every_answer_says_what_time_it_is(sandbox: RunningSandbox) -> None:
    assert "GMT" in sandbox.api.get(f"/v3/order/{uuid4()}").headers["date"]


def test_an_order_can_be_given_any_past(sandbox: RunningSandbox) -> None:
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    order = sandbox.order(
        method="testkit",
        created_at=created.isoformat(),
        state="transit_customer",
        step_seconds=60,
        origin="redraw",
        lab_test="thyroid",
        activate_by="2026-02-01",
        client_user_id="c-1",
        passthrough="p-1",
    )
    times = [datetime.fromisoformat(event["created_at"]) for event in order["events"]]
    assert times == [created + timedelta(minutes=minute) for minute in range(3)]
    assert order["details"]["data"]["shipment"]["outbound_tracking_number"] == canaries.TRACKING_NUMBER
    assert (order["origin"], order["lab_test"]["slug"], order["passthrough"]) == ("redraw", "thyroid", "p-1")


def test_a_pushed_event_takes_its_place_by_time_and_may_be_unknown(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order(method="testkit", state="with_customer")["id"]
    sandbox.event(order_id, "out_for_delivery", at="2020-01-01T00:00:00Z")
    order = sandbox.event(order_id, "received.testkit.teleported")
    assert steps(order)[0] == "out_for_delivery"
    assert order["last_event"]["status"] == "received.testkit.teleported"


def test_a_reset_sandbox_has_forgotten_everything(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    order_id = sandbox.order()["id"]
    sandbox.settle()
    sandbox.api.post("/sandbox/reset").raise_for_status()
    assert sandbox.messages() == sandbox.calls() == []
    assert sandbox.api.get("/sandbox/orders").json() == {}
    assert sandbox.api.get(f"/v3/order/{order_id}").status_code == 404
    assert len(deliveries) == 1


def test_the_envelope_of_every_webhook_has_the_documented_shape(
    sandbox: RunningSandbox,
    deliveries: list[httpx.Request],
    openapi: dict[str, Any],
    fits: Callable[[dict[str, Any], object], None],
) -> None:
    for method in Method:
        order_id = sandbox.order(method=method)["id"]
        sandbox.api.post(f"/v3/order/{order_id}/test").raise_for_status()
    sandbox.settle()
    for delivery in deliveries:
        envelope = json.loads(delivery.content)
        family = envelope["event_type"].rpartition(".")[0]
        request = openapi["webhooks"][f"{family}.*"]["post"]["requestBody"]
        fits(request["content"]["application/json"]["schema"], envelope)
    assert {json.loads(one.content)["event_type"] for one in deliveries} == {
        "labtest.order.created",
        "labtest.order.updated",
        "labtest.appointment.created",
        "labtest.appointment.updated",
    }
