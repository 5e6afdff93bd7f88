"""Deliveries: how they are signed, retried, lost, doubled, overtaken, and asked for again."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import httpx
import pytest

from sandbox.config import SECRET
from sandbox.running import RunningSandbox
from sandbox.webhooks import RETRY_WAITS

SECOND_SECRET = "whsec_" + base64.b64encode(b"the secret after the rotation").decode()


def recomputed(delivery: httpx.Request, secret: str, family: str = "svix") -> str:
    """The signature, computed here from the scheme's description."""
    key = base64.b64decode(secret.split("_", 1)[1])
    parts = [delivery.headers[f"{family}-id"], delivery.headers[f"{family}-timestamp"]]
    content = ".".join([*parts, delivery.content.decode()]).encode()
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def envelope(delivery: httpx.Request) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(delivery.content)
    return parsed


def test_a_delivery_is_signed_over_id_time_and_body(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    sandbox.order()
    sandbox.settle()
    (delivery,) = deliveries
    assert delivery.headers["svix-signature"] == recomputed(delivery, SECRET)


def test_during_a_rotation_both_signatures_come_in_the_other_header_family_too(
    receiver_url: str, deliveries: list[httpx.Request]
) -> None:
    secrets = (SECRET, SECOND_SECRET)
    with RunningSandbox(webhook_url=receiver_url, secrets=secrets, header_family="webhook") as sandbox:
        sandbox.order()
        sandbox.settle()
    (delivery,) = deliveries
    expected = [recomputed(delivery, secret, "webhook") for secret in secrets]
    assert delivery.headers["webhook-signature"].split(" ") == expected


def test_the_envelope_names_team_and_users_and_carries_the_whole_order(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    order = sandbox.order(client_user_id="c-1")
    sandbox.settle()
    told = envelope(deliveries[0])
    assert told["event_type"] == "labtest.order.created"
    assert (told["team_id"], told["user_id"]) == (order["team_id"], order["user_id"])
    assert told["client_user_id"] == "c-1"
    assert told["data"] == order


def test_partial_results_are_not_told(sandbox: RunningSandbox, deliveries: list[httpx.Request]) -> None:
    order_id = sandbox.order(method="on_site_collection", state="partial_results")["id"]
    sandbox.settle()
    told = [envelope(one)["data"]["last_event"]["status"].rpartition(".")[2] for one in deliveries]
    assert sorted(told) == ["draw_completed", "ordered", "requisition_created"]
    order = sandbox.api.get(f"/v3/order/{order_id}").json()
    assert order["last_event"]["status"] == "sample_with_lab.on_site_collection.partial_results"


def test_a_failed_delivery_is_retried_under_the_same_id_until_it_is_taken(
    sandbox: RunningSandbox, deliveries: list[httpx.Request], answers: list[int]
) -> None:
    answers += [500, 302, 202]
    sandbox.order()
    sandbox.settle()
    assert len({delivery.headers["svix-id"] for delivery in deliveries}) == 1
    (message,) = sandbox.messages()
    assert [attempt["status"] for attempt in message["attempts"]] == [500, 302, 202]
    assert message["state"] == "delivered"


def test_a_message_that_ran_out_of_attempts_is_reported(sandbox: RunningSandbox, answers: list[int]) -> None:
    answers += [503] * len(RETRY_WAITS)
    sandbox.order()
    sandbox.settle()
    shown = sandbox.api.get("/sandbox/webhooks").json()
    assert len(shown["messages"][0]["attempts"]) == 8
    assert shown["exhausted"][0]["type"] == "message.attempt.exhausted"
    assert shown["exhausted"][0]["data"]["msg_id"] == shown["messages"][0]["id"]


def test_a_receiver_that_is_not_there_costs_attempts_and_nothing_else() -> None:
    with RunningSandbox(webhook_url="http://127.0.0.1:9/", retry_scale=1e-6) as sandbox:
        order_id = sandbox.order()["id"]
        sandbox.settle()
        (message,) = sandbox.messages(order_id=order_id)
    assert message["attempts"][0]["error"] == "ConnectError"


def test_a_duplicate_arrives_twice_under_one_id(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    sandbox.fault("webhook_duplicate", operation="labtest.order.*")
    sandbox.order()
    sandbox.settle()
    while len(deliveries) < 2:
        time.sleep(0.01)
    assert deliveries[0].headers["svix-id"] == deliveries[1].headers["svix-id"]


def test_a_delayed_message_is_overtaken_by_a_later_one(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    sandbox.fault("webhook_delay", seconds=0.3, operation="labtest.order.created")
    sandbox.order(state="requisition_created")
    sandbox.settle()
    assert [len(envelope(one)["data"]["events"]) for one in deliveries] == [2, 1]


def test_reordering_shuffles_what_was_in_order(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    sandbox.fault("webhook_reorder", seconds=0.3)
    sandbox.order(method="testkit", state="completed")
    sandbox.settle()
    arrived = [len(envelope(one)["data"]["events"]) for one in deliveries]
    assert sorted(arrived) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert arrived != sorted(arrived)


def test_lost_attempts_are_made_up_for_by_the_retries(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    sandbox.fault("webhook_drop", attempts=2, count=1)
    sandbox.order()
    sandbox.settle()
    (message,) = sandbox.messages()
    assert [attempt["status"] for attempt in message["attempts"]] == [None, None, 204]
    assert len(deliveries) == 1


def test_paused_webhooks_wait_while_the_api_goes_on(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    sandbox.api.post("/sandbox/webhooks/pause").raise_for_status()
    order_id = sandbox.order()["id"]
    sandbox.api.post(f"/v3/order/{order_id}/cancel").raise_for_status()
    assert sandbox.api.get("/sandbox/webhooks").json()["pending"] == 2
    assert deliveries == []
    sandbox.api.post("/sandbox/webhooks/resume").raise_for_status()
    sandbox.settle()
    assert len(deliveries) == 2


def test_a_quiet_change_is_missed_by_the_webhooks(
    sandbox: RunningSandbox, deliveries: list[httpx.Request]
) -> None:
    order_id = sandbox.order(quiet=True)["id"]
    sandbox.event(order_id, "lost", quiet=True)
    sandbox.appointment(order_id, quiet=True)
    assert sandbox.messages() == []


@pytest.mark.parametrize("by", ["ids", "window"])
def test_a_resend_tells_the_latest_event_again_under_a_new_id(
    sandbox: RunningSandbox, deliveries: list[httpx.Request], by: str
) -> None:
    order = sandbox.order(state="with_customer", created_at="2026-03-01T00:00:00Z")
    sandbox.order(created_at="2026-04-01T00:00:00Z")
    sandbox.settle()
    known = {delivery.headers["svix-id"] for delivery in deliveries}
    window = {"start_at": "2026-02-20T00:00:00Z", "end_at": "2026-03-02T00:00:00Z"}
    wish: dict[str, Any] = {"order_ids": [order["id"]]} if by == "ids" else window
    answer = sandbox.api.post("/v3/order/resend_events", json=wish)
    assert answer.json() == {"order_ids": [order["id"]]}
    sandbox.settle()
    assert deliveries[-1].headers["svix-id"] not in known
    assert envelope(deliveries[-1])["data"]["last_event"] == order["last_event"]


def test_a_resend_needs_orders_or_a_window_of_sixty_days_at_most(sandbox: RunningSandbox) -> None:
    window = {"start_at": "2026-01-01T00:00:00Z", "end_at": "2026-03-03T00:00:00Z"}
    for wish in ({}, {"start_at": "2026-01-01T00:00:00Z"}, window):
        assert sandbox.api.post("/v3/order/resend_events", json=wish).status_code == 400
