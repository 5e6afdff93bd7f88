"""Dead letters: what would be done is shown first, is done once, and what came of it is told honestly."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dramatiq import Message

from workers.embedded import EmbeddedRedis

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.dashboard.conftest import Dashboard, OpenDashboard


def a_failure(dashboard: Dashboard, **changed: Any) -> int:
    usual = {
        "queue": "orders", "actor": "evaluate", "fingerprint": "evaluate KeyError somewhere",
        "error": "KeyError", "place": "somewhere", "args": {"ids": ["order-1"]}, "version": "v1",
        "attempts": 4, "at": dashboard.clock(), "state": "open", "message_id": "m1", "order_id": "order-1",
    }  # fmt: skip
    dashboard.put("failures", **{**usual, **changed})
    return int(dashboard.rows("failures")[-1]["id"])


def a_set_aside_delivery(dashboard: Dashboard) -> int:
    now = dashboard.clock() - timedelta(hours=1)
    dashboard.put(
        "deliveries", delivery_id="msg_1", received_at=now, signed_at=now, secret_label="main", size=1,
        sha256="0", state="quarantined", attempts=3, error="KeyError", body={},
    )  # fmt: skip
    return int(dashboard.rows("deliveries")[0]["id"])


def choose(browser: httpx.Client, action: str, **which: Any) -> str:
    """The address of what would be done."""
    answer = browser.post("/dead-letters/previews", data={"action": action, **which})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def queued(dashboard: Dashboard, queue: str) -> list[dict[str, Any]]:
    client = dashboard.broker.client
    ids: Any = client.lrange(f"autocancel:{queue}", 0, -1)
    return [Message.decode(client.hget(f"autocancel:{queue}.msgs", id_)).kwargs for id_ in ids]  # type: ignore[arg-type]


def test_failures_are_shown_by_cause(dashboard: Dashboard) -> None:
    for number in range(3):
        a_failure(dashboard, order_id=f"order-{number}")
    page = dashboard.sign_in().get("/dead-letters").text
    assert page.count("KeyError</a>") == 1
    assert "<strong>3</strong>" in page
    assert "3 dead letters wait" in page


def test_the_first_of_all_days_has_words_of_its_own(dashboard: Dashboard) -> None:
    assert "Nothing has ever failed for good" in dashboard.sign_in().get("/dead-letters").text


def test_what_will_happen_is_shown_before_anything_does(dashboard: Dashboard) -> None:
    a_failure(dashboard)
    browser = dashboard.sign_in()
    page = browser.get(choose(browser, "replay", all="evaluate KeyError somewhere")).text
    assert "Replay 1 failure" in page
    assert "becomes due again" in page
    assert dashboard.rows("failures")[0]["state"] == "open"
    assert queued(dashboard, "orders") == []


def test_a_delivery_that_was_set_aside_is_worked_on_again(dashboard: Dashboard) -> None:
    row = a_set_aside_delivery(dashboard)
    failure = a_failure(dashboard, queue="events", actor="project", args={"ids": [row]}, message_id=None)
    browser = dashboard.sign_in()
    address = choose(browser, "replay", id=failure)
    browser.post(address, data={"reason": "fixed in v2"})

    (delivery,) = dashboard.rows("deliveries")
    assert (delivery["state"], delivery["attempts"]) == ("new", 0)
    assert queued(dashboard, "events") == [{"ids": [row]}]
    (settled,) = dashboard.rows("failures")
    assert (settled["state"], settled["resolved_by"], settled["reason"]) == (
        "replayed",
        "operator",
        "fixed in v2",
    )
    assert "Sent anew" in browser.get(address).text
    (line,) = [line for line in dashboard.rows("audit") if line["action"] == "replay"]
    assert (line["actor"], line["role"], line["after"]) == ("operator", "operator", {"failures": 1})
    assert line["request_id"]
    assert line["ip_prefix"] == "127.0.0.0/24"


def test_a_message_that_is_still_in_redis_goes_back_under_its_own_id(dashboard: Dashboard) -> None:
    dead: Message[None] = Message(
        "orders", "evaluate", (), {"ids": ["order-1"]}, {"redis_message_id": "r1"}, message_id="m1"
    )
    dashboard.broker.client.hset("autocancel:orders.XQ.msgs", "r1", dead.encode())
    dashboard.broker.client.zadd("autocancel:orders.XQ", {"r1": 1.0})
    failure = a_failure(dashboard)
    browser = dashboard.sign_in()
    address = choose(browser, "replay", id=failure)
    browser.post(address, data={"reason": "fixed"})
    assert dashboard.broker.client.lrange("autocancel:orders", 0, -1) == [b"r1"]
    assert "Requeued" in browser.get(address).text


def test_confirming_twice_does_it_once(dashboard: Dashboard) -> None:
    failure = a_failure(dashboard)
    browser = dashboard.sign_in()
    address = choose(browser, "replay", id=failure)
    for _ in range(2):
        assert browser.post(address, data={"reason": "fixed"}).status_code == 303
    assert len(queued(dashboard, "orders")) == 1


def test_a_preview_is_its_makers_alone_and_grows_old(dashboard: Dashboard) -> None:
    failure = a_failure(dashboard)
    operator, admin = dashboard.sign_in("operator"), dashboard.sign_in("admin")
    address = choose(operator, "discard", id=failure)
    assert admin.get(address).status_code == 404
    admin.post(address, data={"reason": "mine now"})
    dashboard.clock.advance(minutes=11)
    operator.post(address, data={"reason": "after lunch"})
    assert dashboard.rows("failures")[0]["state"] == "open"


def test_what_somebody_settled_meanwhile_is_passed_over(dashboard: Dashboard) -> None:
    failure = a_failure(dashboard)
    browser = dashboard.sign_in()
    replaying, discarding = choose(browser, "replay", id=failure), choose(browser, "discard", id=failure)
    browser.post(discarding, data={"reason": "not needed"})
    assert "1 that somebody has settled already" in browser.get(replaying).text
    browser.post(replaying, data={"reason": "fixed"})
    assert queued(dashboard, "orders") == []
    assert dashboard.rows("failures")[0]["state"] == "discarded"


def test_more_than_a_handful_takes_typing_their_number(dashboard: Dashboard) -> None:
    for _ in range(26):
        a_failure(dashboard)
    browser = dashboard.sign_in()
    address = choose(browser, "discard", all="evaluate KeyError somewhere")
    assert "Type 26 to confirm" in browser.get(address).text
    assert browser.post(address, data={"reason": "all of them"}).status_code == 400
    assert browser.post(address, data={"reason": "all of them", "number": "26"}).status_code == 303
    assert {row["state"] for row in dashboard.rows("failures")} == {"discarded"}


def test_an_acknowledged_failure_can_still_be_replayed(dashboard: Dashboard) -> None:
    failure = a_failure(dashboard)
    browser = dashboard.sign_in()
    browser.post(choose(browser, "acknowledge", id=failure), data={"reason": "I am on it"})
    assert dashboard.rows("failures")[0]["state"] == "acknowledged"
    browser.post(choose(browser, "replay", id=failure), data={"reason": "fixed"})
    assert dashboard.rows("failures")[0]["state"] == "replayed"


def test_a_replay_that_fails_again_is_counted(dashboard: Dashboard) -> None:
    for number in range(2):
        order = f"order-{number}"
        settled = {"state": "replayed", "resolved_at": dashboard.clock()}
        a_failure(dashboard, **settled, message_id=None, order_id=order, args={"ids": [order]})
    a_failure(dashboard, message_id="m9", args={"ids": ["order-0"]}, order_id="order-0")
    page = dashboard.sign_in().get("/dead-letters/cause?cause=evaluate+KeyError+somewhere").text
    assert "Replayed 2: 1 failed again, 1 did not." in page


def test_without_redis_a_replay_is_left_to_the_clock(
    open_dashboard: OpenDashboard, sqlite_url: str, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        dashboard = open_dashboard(sqlite_url, redis.url)
        row = a_set_aside_delivery(dashboard)
        failure = a_failure(dashboard, queue="events", actor="project", args={"ids": [row]}, message_id=None)
        browser = dashboard.sign_in()
        address = choose(browser, "replay", id=failure)
        redis.kill()
        browser.post(address, data={"reason": "fixed"})
        assert "Left to the clock" in browser.get(address).text
        assert dashboard.rows("deliveries")[0]["state"] == "new"


def test_nothing_chosen_is_nothing_done(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    assert browser.post("/dead-letters/previews", data={"action": "replay"}).status_code == 400
    assert browser.post("/dead-letters/previews", data={"action": "explode", "id": "1"}).status_code == 400
