"""The queue pages: what is known has its age, what is not known is no zero, what was done is on record."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dramatiq import Message

from workers.embedded import EmbeddedRedis
from workers.messages import Act, ProjectDeliveries, publish

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.dashboard.conftest import Dashboard, OpenDashboard


def row_of(page: str, queue: str) -> str:
    return page.split(f'<tr id="queue-{queue}">')[1].split("</tr>")[0]


def a_worker(
    dashboard: Dashboard, *, queues: str = "events", silent_for: int = 0, version: str = "v1"
) -> None:
    now = dashboard.clock()
    running = [{"message_id": "m1", "actor": "project", "queue": "events", "since": now.isoformat()}]
    dashboard.put(
        "processes", id=f"w{silent_for}", kind="worker", host="lab", pid=7, version=version, queues=queues,
        threads=8, started_at=now, seen_at=now - timedelta(seconds=silent_for), running=running,
    )  # fmt: skip


def a_dead_message(dashboard: Dashboard, queue: str = "orders", actor: str = "evaluate") -> None:
    dead: Message[None] = Message(
        queue, actor, (), {"ids": ["order-1"]}, {"redis_message_id": "r1", "retries": 4}, message_id="m1"
    )
    client = dashboard.broker.client
    client.hset(f"autocancel:{queue}.XQ.msgs", "r1", dead.encode())
    client.zadd(f"autocancel:{queue}.XQ", {"r1": dashboard.clock().timestamp() * 1000})


def test_a_queue_shows_what_waits_and_who_works(dashboard: Dashboard) -> None:
    a_worker(dashboard)
    for _ in range(3):
        publish(dashboard.broker, ProjectDeliveries([1, 2]))
    row = row_of(dashboard.sign_in().get("/queues").text, "events")
    assert '<a class="count " href="/queues/events">3</a>' in row
    assert "the oldest </span><time" in row
    assert "1 of 8 threads run" in row
    assert "Running" in row


def test_a_queue_nobody_works_on_says_so(dashboard: Dashboard) -> None:
    page = dashboard.sign_in().get("/queues").text
    assert "No worker" in row_of(page, "actions")
    assert "No worker on queue actions" in page


def test_a_worker_that_fell_silent_counts_for_nothing(dashboard: Dashboard) -> None:
    a_worker(dashboard, silent_for=60)
    browser = dashboard.sign_in()
    assert "No worker" in row_of(browser.get("/queues").text, "events")
    assert "No sign of life for 1 min" in browser.get("/queues/events?tab=running").text


def test_a_worker_of_another_version_is_marked(dashboard: Dashboard) -> None:
    a_worker(dashboard, version="v0-old")
    assert "differs" in dashboard.sign_in().get("/queues").text


def test_pausing_shows_what_will_happen_asks_why_and_is_on_record(dashboard: Dashboard) -> None:
    a_worker(dashboard)
    browser = dashboard.sign_in()
    assert "The 1 running come to their end." in browser.get("/queues/events/pause").text
    assert browser.post("/queues/events/pause", data={"reason": " "}).status_code == 400

    answer = browser.post("/queues/events/pause", data={"reason": "Junction is down"})
    assert answer.headers["location"] == "/queues/events"
    assert "events is paused." in browser.get("/queues/events").text
    assert "events is paused." not in browser.get("/queues/events").text
    assert "Pausing, 1 still running" in row_of(browser.get("/queues").text, "events")
    (switch,) = dashboard.rows("controls")
    assert (switch["name"], switch["state"], switch["actor"]) == ("queue:events", "on", "operator")
    assert dashboard.rows("audit")[-1]["reason"] == "Junction is down"

    browser.post("/queues/events/resume", data={"reason": "it is back"})
    assert "Running" in row_of(browser.get("/queues").text, "events")


def test_a_waiting_message_can_be_discarded(dashboard: Dashboard) -> None:
    publish(dashboard.broker, Act(7))
    browser = dashboard.sign_in()
    address = message_address(browser, "/queues/actions")
    assert "<dd><code>" in browser.get(address).text
    browser.post(f"{address}/discard", data={"reason": "ordered by mistake"})
    assert "taken out and will not run" in browser.get("/queues/actions").text
    assert dashboard.broker.client.llen("autocancel:actions") == 0
    assert dashboard.rows("audit")[-1]["after"] == {"outcome": "removed"}
    assert browser.get(address).status_code == 404


def test_discarding_what_a_worker_holds_promises_no_more_than_it_can(dashboard: Dashboard) -> None:
    publish(dashboard.broker, Act(7))
    browser = dashboard.sign_in()
    address = message_address(browser, "/queues/actions")
    dashboard.broker.client.lpop("autocancel:actions")  # as a worker that fetches it
    browser.post(f"{address}/discard", data={"reason": "ordered by mistake"})
    assert "if it runs already, it cannot be stopped" in browser.get("/queues/actions").text
    assert dashboard.rows("audit")[-1]["after"] == {"outcome": "called off"}


def test_a_dead_message_can_be_retried(dashboard: Dashboard) -> None:
    a_dead_message(dashboard)
    browser = dashboard.sign_in()
    address = message_address(browser, "/queues/orders?tab=dead")
    browser.post(f"{address}/retry", data={"reason": "fixed"})
    assert dashboard.broker.client.llen("autocancel:orders") == 1
    assert dashboard.rows("audit")[-1]["action"] == "retry_message"


def test_without_redis_the_last_known_numbers_stay_with_their_age(
    open_dashboard: OpenDashboard, sqlite_url: str, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        dashboard = open_dashboard(sqlite_url, redis.url)
        browser = dashboard.sign_in()
        publish(dashboard.broker, Act(7))
        assert ">1</a>" in row_of(browser.get("/queues").text, "actions")
        redis.kill()
        dashboard.clock.advance(seconds=5)
        page = browser.get("/queues").text
        assert "Redis does not answer" in page
        assert "Last known" in page
        assert ">1</a>" in row_of(page, "actions")
        assert "cannot be listed now" in browser.get("/queues/actions").text
        assert browser.get("/dead-letters").status_code == 200
        assert browser.get("/queues/actions/messages/x").status_code == 503


def test_numbers_that_were_never_known_are_no_zeros(open_dashboard: OpenDashboard, sqlite_url: str) -> None:
    dashboard = open_dashboard(sqlite_url, "redis://127.0.0.1:1/0")
    row = row_of(dashboard.sign_in().get("/queues").text, "events")
    assert row.count('<span class="unknown">–</span>') == 4
    assert '<span class="zero">' not in row


def message_address(browser: httpx.Client, page: str) -> str:
    text = browser.get(page).text
    return text.split('<th scope="row"><a href="')[1].split('"')[0]
