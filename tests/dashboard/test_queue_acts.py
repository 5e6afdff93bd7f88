"""Acts on what is delayed, pauses that end, and what the queue pages tell of the last hour."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dramatiq import Message

from workers.broker import NAMESPACE
from workers.done import Run, keep

if TYPE_CHECKING:
    import httpx

    from tests.dashboard.conftest import Dashboard

HOUR = 3_600_000  # milliseconds


def delay(dashboard: Dashboard, order_id: str = "order-1", *, retries: int = 0) -> None:
    options = {"retries": retries} if retries else {}
    message: Message[None] = Message("orders", "evaluate", (), {"ids": [order_id]}, options)
    dashboard.broker.enqueue(message, delay=HOUR)


def hold(dashboard: Dashboard) -> None:
    """As a worker that fetches a delayed message."""
    dashboard.broker.client.lpop("autocancel:orders.DQ")


def address(browser: httpx.Client, tab: str = "delayed") -> str:
    text = browser.get(f"/queues/orders?tab={tab}").text
    return text.split('<th scope="row"><a href="')[1].split('"')[0]


def row_of(page: str, queue: str) -> str:
    return page.split(f'<tr id="queue-{queue}">')[1].split("</tr>")[0]


def test_a_delayed_message_can_be_run_now(dashboard: Dashboard) -> None:
    delay(dashboard)
    browser = dashboard.sign_in()
    where = address(browser)
    assert "passes that one over" in browser.get(f"{where}/now").text
    assert browser.post(f"{where}/now", data={"reason": ""}).status_code == 400
    browser.post(f"{where}/now", data={"reason": "Junction is back"})
    assert "Its time was changed." in browser.get("/queues/orders").text
    assert dashboard.broker.client.llen("autocancel:orders") == 1
    line = dashboard.rows("audit")[-1]
    assert (line["action"], line["after"]["outcome"]) == ("run_now", "rescheduled")
    assert browser.post(f"{where}/now", data={"reason": "again"}).status_code == 404


def test_in_the_place_of_what_a_worker_holds_comes_another_and_it_is_said(dashboard: Dashboard) -> None:
    delay(dashboard)
    hold(dashboard)
    browser = dashboard.sign_in()
    where = address(browser)
    browser.post(f"{where}/now", data={"reason": "Junction is back"})
    page = browser.get("/queues/orders?tab=delayed").text
    assert "another with a new id has taken its place" in page
    assert "called off: a worker holds it" in page
    assert browser.get(f"{where}/now").status_code == 404
    assert dashboard.broker.client.llen("autocancel:orders") == 1


def test_a_retry_can_be_put_off_by_minutes(dashboard: Dashboard) -> None:
    delay(dashboard, retries=2)
    browser = dashboard.sign_in()
    where = address(browser, "retrying")
    for wrong in ("", "0", "soon", "10081"):
        answer = browser.post(f"{where}/later", data={"reason": "wait", "minutes": wrong})
        assert answer.status_code == 400
    browser.post(f"{where}/later", data={"reason": "wait", "minutes": "90"})
    assert "in 1 h 29 m" in browser.get("/queues/orders?tab=retrying").text


def test_all_that_is_delayed_can_be_run_now(dashboard: Dashboard) -> None:
    for number in range(3):
        delay(dashboard, f"order-{number}")
    hold(dashboard)
    browser = dashboard.sign_in()
    assert "/queues/orders/now" in browser.get("/queues/orders?tab=delayed").text
    assert "3 messages are delayed." in browser.get("/queues/orders/now").text
    browser.post("/queues/orders/now", data={"reason": "Junction is back"})
    assert "3 wait in the queue now; 1 of them" in browser.get("/queues/orders").text
    assert dashboard.rows("audit")[-1]["after"] == {"rescheduled": 2, "replaced": 1}


def test_viewers_are_offered_no_acts(dashboard: Dashboard) -> None:
    delay(dashboard)
    viewer = dashboard.sign_in("viewer")
    assert "/now" not in viewer.get("/queues/orders?tab=delayed").text
    assert viewer.post("/queues/orders/now", data={"reason": "let me"}).status_code == 403


def test_what_was_done_lately_is_listed_with_its_order(dashboard: Dashboard) -> None:
    now = dashboard.clock()
    args = {"ids": ["order-1"]}
    runs = [
        Run("m1", "evaluate", "orders", args, 1, "ok", None, "lab:7", now, 12),
        Run("m2", "evaluate", "orders", args, 4, "failed", "KeyError", "lab:7", now, 1_234),
    ]
    keep(dashboard.broker.client, NAMESPACE, {"orders": runs})
    page = dashboard.sign_in().get("/queues/orders?tab=done").text
    assert page.index("m2") < page.index("m1")
    assert 'href="/orders/order-1"' in page
    assert "KeyError" in page
    assert "1,234 ms" in page


def test_nothing_done_is_said_so(dashboard: Dashboard) -> None:
    assert "Nothing has ended lately" in dashboard.sign_in().get("/queues/orders?tab=done").text


def test_a_pause_may_have_an_end(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    assert browser.post("/queues/orders/pause", data={"reason": "r", "minutes": "-5"}).status_code == 400
    browser.post("/queues/orders/pause", data={"reason": "upkeep", "minutes": "30"})
    page = browser.get("/queues/orders").text
    assert "orders is paused for 30 min." in page
    assert "It resumes by itself <time" in page
    assert "resumes <time" in row_of(browser.get("/queues").text, "orders")
    (switch,) = dashboard.rows("controls")
    assert timedelta(minutes=29) < switch["until"] - dashboard.clock() <= timedelta(minutes=30)


def test_a_pause_without_an_end_has_none(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    browser.post("/queues/orders/pause", data={"reason": "upkeep", "minutes": ""})
    assert dashboard.rows("controls")[0]["until"] is None
    assert "resumes by itself" not in browser.get("/queues/orders").text


def test_what_came_in_follows_from_what_was_done_and_what_is_left(dashboard: Dashboard) -> None:
    this_minute = dashboard.clock().replace(second=0, microsecond=0)
    for ago, held in ((2, 10), (1, 25)):
        at = this_minute - timedelta(minutes=ago)
        for gauge, value in (("messages", held), ("ready", held), ("dead", 0)):
            dashboard.put("figures", minute=at, series=f"queue.orders.{gauge}", value=value)
        dashboard.put("figures", minute=at, series="queue.orders.ok", value=7)
    row = row_of(dashboard.sign_in().get("/queues").text, "orders")
    assert "22 came in over 1 min" in row
    assert "at most 25 when a minute began" in row
    assert "Dead over the last hour" not in row


def test_what_came_in_is_unknown_when_nobody_counted(dashboard: Dashboard) -> None:
    assert "What came in was not counted" in row_of(dashboard.sign_in().get("/queues").text, "orders")


def test_the_next_retry_is_shown(dashboard: Dashboard) -> None:
    delay(dashboard)
    delay(dashboard, "order-2", retries=1)
    row = row_of(dashboard.sign_in().get("/queues").text, "orders")
    assert '<a class="count warn" href="/queues/orders?tab=retrying">1</a>' in row
    assert row.count("next <time") == 2
