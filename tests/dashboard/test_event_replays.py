"""Replaying what was set aside, many at once; and asking Junction for what may be missing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dramatiq import Message

from tests.dashboard.test_events_page import deliverer
from workers.embedded import EmbeddedRedis
from workers.store import resends
from workers.store.database import writing

if TYPE_CHECKING:
    import httpx

    from tests.dashboard.conftest import Dashboard, OpenDashboard

SET_ASIDE = {"state": "quarantined", "result": None, "error": "KeyError", "attempts": 3}


def queued(dashboard: Dashboard, queue: str) -> list[dict[str, Any]]:
    client: Any = dashboard.broker.client
    ids = client.lrange(f"autocancel:{queue}", 0, -1)
    return [Message.decode(client.hget(f"autocancel:{queue}.msgs", id_)).kwargs for id_ in ids]


def states(dashboard: Dashboard) -> list[str]:
    return [row["state"] for row in dashboard.rows("deliveries")]


def choose(browser: httpx.Client, **which: Any) -> str:
    """The address of what would be replayed."""
    answer = browser.post("/events/previews", data=which)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def span(dashboard: Dashboard, *, days: float, ends_days_ago: float = 0) -> dict[str, str]:
    until = dashboard.clock() - timedelta(days=ends_days_ago)
    return {
        "from": f"{until - timedelta(days=days):%Y-%m-%dT%H:%M}",
        "to": f"{until:%Y-%m-%dT%H:%M}",
    }


def ask(dashboard: Dashboard, browser: httpx.Client) -> str:
    answer = browser.post("/events/missing", data=span(dashboard, days=2))
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


# --- what was set aside ------------------------------------------------------------------------------------


def test_ticked_deliveries_are_replayed_once(dashboard: Dashboard) -> None:
    deliver = deliverer(dashboard)
    first, second, done = deliver(**SET_ASIDE), deliver(**SET_ASIDE), deliver()
    browser = dashboard.sign_in()
    page = browser.get("/events").text
    assert f'name="id" value="{first}"' in page
    assert f'name="id" value="{done}"' not in page
    address = choose(browser, id=[first, done])
    assert "Replay 1 delivery" in browser.get(address).text
    assert "1 that are not set aside" in browser.get(address).text
    for _ in range(2):
        browser.post(address, data={"reason": "fixed in v2"})
    assert states(dashboard) == ["new", "quarantined", "done"]
    assert second not in queued(dashboard, "events")[0]["ids"]
    assert len(queued(dashboard, "events")) == 1
    assert "<dt>Opened</dt><dd>1</dd>" in browser.get(address).text
    line = dashboard.rows("audit")[-1]
    assert (line["action"], line["reason"], line["after"]["count"]) == ("replay", "fixed in v2", 1)


def test_all_that_are_set_aside_and_fit_are_replayed(dashboard: Dashboard) -> None:
    deliver = deliverer(dashboard)
    deliver(**SET_ASIDE)
    deliver(**SET_ASIDE, event_type="labtest.appointment.created")
    deliver(event_type="labtest.appointment.created")
    browser = dashboard.sign_in()
    assert "Replay all that are set aside and fit" in browser.get("/events?type=labtest.appointment.*").text
    address = choose(browser, all="1", type="labtest.appointment.*")
    assert "<dd>none</dd>" in browser.get(address).text
    browser.post(address, data={"reason": "fixed"})
    assert states(dashboard) == ["quarantined", "new", "done"]


def test_more_than_a_handful_takes_typing_their_number(dashboard: Dashboard) -> None:
    deliver = deliverer(dashboard)
    for _ in range(26):
        deliver(**SET_ASIDE)
    browser = dashboard.sign_in()
    address = choose(browser, all="1")
    assert browser.post(address, data={"reason": "fixed"}).status_code == 400
    assert browser.post(address, data={"reason": "fixed", "number": "26"}).status_code == 303
    assert set(states(dashboard)) == {"new"}


def test_nothing_ticked_and_no_right_to_are_refused(dashboard: Dashboard) -> None:
    number = deliverer(dashboard)(**SET_ASIDE)
    assert dashboard.sign_in().post("/events/previews", data={}).status_code == 400
    viewer = dashboard.sign_in("viewer")
    assert "With the chosen" not in viewer.get("/events").text
    assert viewer.post("/events/previews", data={"id": number}).status_code == 403


def test_without_redis_replayed_deliveries_are_left_to_the_clock(
    open_dashboard: OpenDashboard, sqlite_url: str, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        dashboard = open_dashboard(sqlite_url, redis.url)
        number = deliverer(dashboard)(**SET_ASIDE)
        browser = dashboard.sign_in()
        address = choose(browser, id=number)
        redis.kill()
        browser.post(address, data={"reason": "fixed"})
        assert "the clock will find them" in browser.get(address).text
        assert states(dashboard) == ["new"]


# --- what may be missing -----------------------------------------------------------------------------------


def test_what_may_be_missing_is_shown_confirmed_and_left_to_a_worker(dashboard: Dashboard) -> None:
    deliver = deliverer(dashboard)
    deliver(timedelta(days=1))
    deliver(timedelta(days=3))
    browser = dashboard.sign_in()
    address = ask(dashboard, browser)
    page = browser.get(address).text
    assert "1 deliveries" in page
    assert "2 d 0 h later" in page
    assert queued(dashboard, "actions") == []
    assert browser.post(address, data={"reason": " "}).status_code == 400
    browser.post(address, data={"reason": "the receiver was down"})
    assert queued(dashboard, "actions") == [{"id": address.rpartition("/")[2]}]
    line = dashboard.rows("audit")[-1]
    assert (line["action"], line["reason"]) == ("resend_events", "the receiver was down")
    assert line["target"].startswith("events:20")
    assert "Waits for a worker" in browser.get(address).text
    assert "Waits for a worker" in browser.get("/events/missing").text


def test_what_junction_said_and_what_came_since_is_shown(dashboard: Dashboard) -> None:
    deliver = deliverer(dashboard)
    deliver(order_id="order-1")
    browser = dashboard.sign_in()
    address = ask(dashboard, browser)
    browser.post(address, data={"reason": "the receiver was down"})
    with writing(dashboard.store) as connection:
        resends.note(connection, address.rpartition("/")[2], "done", "found", ["order-1", "order-2"])
    dashboard.clock.advance(minutes=1)
    deliver(timedelta(0), order_id="order-2")
    page = browser.get(address).text
    assert "Junction agreed" in page
    assert "1 of 2" in page
    assert "/events?order=order-1" in page
    browser.post(address, data={"reason": "again"})
    assert len(queued(dashboard, "actions")) == 1


def test_a_wish_without_an_answer_can_be_sent_again(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    address = ask(dashboard, browser)
    for _ in range(2):
        assert browser.post(address, data={"reason": "the receiver was down"}).status_code == 303
    assert len(queued(dashboard, "actions")) == 2
    with writing(dashboard.store) as connection:
        resends.note(connection, address.rpartition("/")[2], "waiting", "limited")
    page = browser.get(address).text
    assert "No agreement yet" in page
    assert "Ask again" in page
    assert "Ask again" not in dashboard.sign_in("viewer").get(address).text


def test_a_wish_too_old_to_be_confirmed_is_not_carried_out(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    address = ask(dashboard, browser)
    dashboard.clock.advance(minutes=11)
    browser.post(address, data={"reason": "after lunch"})
    assert queued(dashboard, "actions") == []
    assert "Nothing was asked for lately" in browser.get("/events/missing").text


def test_a_wish_that_failed_for_good_can_be_replayed(dashboard: Dashboard) -> None:
    dashboard.put(
        "failures", queue="actions", actor="resend", fingerprint="resend NotNow here", error="NotNow",
        place="here", args={"id": "a-wish"}, version="v1", attempts=4, at=dashboard.clock(), state="open",
    )  # fmt: skip
    browser = dashboard.sign_in()
    chosen = {"action": "replay", "id": dashboard.rows("failures")[0]["id"]}
    address = browser.post("/dead-letters/previews", data=chosen).headers["location"]
    browser.post(address, data={"reason": "Junction is back"})
    assert queued(dashboard, "actions") == [{"id": "a-wish"}]


def test_only_spans_that_junction_takes_are_asked_for(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    for wrong in (
        {},
        {"from": "yesterday", "to": "today"},
        span(dashboard, days=61),
        span(dashboard, days=0),
        span(dashboard, days=1, ends_days_ago=-1),
    ):
        assert browser.post("/events/missing", data=wrong).status_code == 400, wrong
    assert browser.post("/events/missing", data=span(dashboard, days=60)).status_code == 303
    assert dashboard.sign_in("viewer").post("/events/missing", data={}).status_code == 403


def test_without_redis_the_wish_is_kept_and_can_be_sent_later(
    open_dashboard: OpenDashboard, sqlite_url: str, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        dashboard = open_dashboard(sqlite_url, redis.url)
        browser = dashboard.sign_in()
        address = ask(dashboard, browser)
        redis.kill()
        browser.post(address, data={"reason": "the receiver was down"})
        page = browser.get(address).text
        assert "ask again when it does" in page
        assert "Ask again" in page
