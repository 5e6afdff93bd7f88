"""Faults on demand: what the caller sees, and whether the cancel took effect behind its back."""

import time
from typing import Any

import httpx
import pytest

from sandbox.running import RunningSandbox


def cancel(sandbox: RunningSandbox, order_id: str, timeout: float = 5.0) -> httpx.Response:
    return sandbox.api.post(f"/v3/order/{order_id}/cancel", timeout=timeout)


def is_cancelled(sandbox: RunningSandbox, order_id: str) -> bool:
    return bool(sandbox.api.get(f"/v3/order/{order_id}").json()["status"] == "cancelled")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_an_error_status_refuses_without_cancelling(sandbox: RunningSandbox, status: int) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault("status", operation="cancel_order", status=status, retry_after=7)
    answer = cancel(sandbox, order_id)
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
    assert not is_cancelled(sandbox, order_id)


@pytest.mark.parametrize(("kind", "effective"), [("timeout_before", False), ("timeout_after", True)])
def test_a_timeout_looks_the_same_whether_the_cancel_took_effect_or_not(
    sandbox: RunningSandbox, kind: str, effective: bool
) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault(kind, operation="cancel_order")
    with pytest.raises(httpx.ReadTimeout):
        cancel(sandbox, order_id, timeout=0.2)
    assert is_cancelled(sandbox, order_id) is effective
    (call,) = sandbox.calls(operation="cancel_order")
    assert (call["status"], call["applied"]) == (None, effective)


def test_a_hung_call_ends_with_a_closed_connection(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault("timeout_before", seconds=0.05)
    with pytest.raises(httpx.RemoteProtocolError):
        cancel(sandbox, order_id)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("at_byte", [0, 20, 500])
def test_a_connection_is_cut_at_any_byte(sandbox: RunningSandbox, at_byte: int, applied: bool) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault("drop", operation="cancel_order", at_byte=at_byte, applied=applied)
    with pytest.raises(httpx.RemoteProtocolError):
        cancel(sandbox, order_id)
    assert is_cancelled(sandbox, order_id) is applied


@pytest.mark.parametrize("fault", [{"status": 504}, {"status": None}])
def test_a_cancel_can_take_effect_after_its_caller_gave_up(
    sandbox: RunningSandbox, fault: dict[str, Any]
) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault("apply_late", operation="cancel_order", seconds=1.0, **fault)
    try:
        assert cancel(sandbox, order_id, timeout=0.2).status_code == 504
    except httpx.ReadTimeout:
        assert fault["status"] is None
    assert not is_cancelled(sandbox, order_id)
    while not is_cancelled(sandbox, order_id):
        time.sleep(0.01)
    assert sandbox.calls(operation="cancel_order")[0]["applied"]


def test_half_of_the_json_comes_with_a_200(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order()["id"]
    sandbox.api.event_hooks["response"].clear()
    sandbox.fault("bad_json", operation="cancel_order")
    answer = cancel(sandbox, order_id)
    assert answer.status_code == 200
    with pytest.raises(ValueError):
        answer.json()
    assert is_cancelled(sandbox, order_id)


def test_latency_comes_on_top_of_other_faults(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault("latency", operation="cancel_order", seconds=0.5)
    sandbox.fault("status", operation="cancel_order", status=502)
    with pytest.raises(httpx.ReadTimeout):
        cancel(sandbox, order_id, timeout=0.1)
    assert cancel(sandbox, order_id).status_code == 502


def test_a_fault_strikes_only_whom_it_names_and_only_so_often(sandbox: RunningSandbox) -> None:
    struck, spared = sandbox.order()["id"], sandbox.order()["id"]
    sandbox.fault("status", operation="/v3/order/*", order_id=struck, count=2, status=500)
    paths = [f"/v3/order/{spared}"] + [f"/v3/order/{struck}"] * 3
    assert [sandbox.api.get(path).status_code for path in paths] == [200, 500, 500, 200]


def test_dice_with_one_seed_fall_the_same_way() -> None:
    def story() -> list[int]:
        with RunningSandbox(seed=11) as sandbox:
            order_id = sandbox.order()["id"]
            sandbox.fault("status", operation="get_order", probability=0.5)
            return [sandbox.api.get(f"/v3/order/{order_id}").status_code for _ in range(20)]

    first = story()
    assert set(first) == {200, 503}
    assert story() == first


def test_cleared_faults_strike_no_more(sandbox: RunningSandbox) -> None:
    order_id = sandbox.order()["id"]
    sandbox.fault("status", status=500)
    sandbox.api.post("/sandbox/faults/clear").raise_for_status()
    assert cancel(sandbox, order_id).status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "earthquake"},
        {"kind": "status", "status": 200},
        {"kind": "status", "status": 499},
        {"kind": "latency"},
        {"kind": "latency", "seconds": 1, "probability": 2},
        {"kind": "latency", "seconds": 1, "who": "me"},
        [{"kind": "bad_json"}, {"kind": "drop", "at_byte": -1}],
    ],
)
def test_a_fault_that_makes_no_sense_is_not_armed(one_sandbox: RunningSandbox, fault: object) -> None:
    assert one_sandbox.api.post("/sandbox/faults", json=fault).status_code == 422
