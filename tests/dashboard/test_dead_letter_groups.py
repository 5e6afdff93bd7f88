"""Dead letters by cause: how it went lately, whom it concerns, what came back, and choosing by filter."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.dashboard.conftest import Dashboard

CAUSE = "evaluate KeyError somewhere"


def a_failure(dashboard: Dashboard, *, hours_ago: float = 0, **changed: Any) -> int:
    usual = {
        "queue": "orders", "actor": "evaluate", "fingerprint": CAUSE, "error": "KeyError",
        "place": "somewhere", "args": {"ids": ["order-1"]}, "version": "v1", "attempts": 4,
        "at": dashboard.clock() - timedelta(hours=hours_ago), "state": "open", "message_id": "m1",
        "order_id": "order-1",
    }  # fmt: skip
    dashboard.put("failures", **{**usual, **changed})
    return int(dashboard.rows("failures")[-1]["id"])


def carry_out(browser: httpx.Client, action: str, **which: Any) -> str:
    """Chooses, confirms, and returns the page that was shown before."""
    answer = browser.post("/dead-letters/previews", data={"action": action, **which})
    assert answer.status_code == 303, answer.text
    address = answer.headers["location"]
    shown = browser.get(address).text
    browser.post(address, data={"reason": "fixed in v2"})
    return shown


def states(dashboard: Dashboard) -> list[str]:
    return [row["state"] for row in dashboard.rows("failures")]


def moment(dashboard: Dashboard, hours_ago: float) -> str:
    """As a browser's field for a time in UTC sends it."""
    return f"{dashboard.clock() - timedelta(hours=hours_ago):%Y-%m-%dT%H:%M}"


def test_each_cause_shows_how_it_went_in_the_last_day(dashboard: Dashboard) -> None:
    for hours_ago in (0, 0, 5, 30):
        a_failure(dashboard, hours_ago=hours_ago)
    browser = dashboard.sign_in()
    assert "3 failures in 24 hours, at most 2 in one of them" in browser.get("/dead-letters").text
    assert "3 failures in 24 hours" in browser.get(f"/dead-letters/cause?cause={CAUSE}").text


def test_many_causes_are_listed_page_by_page(dashboard: Dashboard, links: Callable[[str], set[str]]) -> None:
    for number in range(23):
        a_failure(dashboard, fingerprint=f"act Error{number} here", error=f"Error{number}")
    browser = dashboard.sign_in()
    page = browser.get("/dead-letters").text
    (older,) = [link for link in links(page) if "before=" in link]
    rest = browser.get(older).text
    assert "Error3</a>" in page
    assert ["Error2</a>" in rest, "Error0</a>" in rest, "Error3</a>" in rest] == [True, True, False]


def test_the_orders_it_concerns_are_listed_once_the_latest_first(dashboard: Dashboard) -> None:
    for number in (*range(14), 1):
        a_failure(dashboard, order_id=f"order-{number}")
    page = dashboard.sign_in().get(f"/dead-letters/cause?cause={CAUSE}").text
    listed = page.split("Orders: ")[1].split("</p>")[0]
    assert listed.count("<a href=") == 12
    assert listed.index('/orders/order-1"') < listed.index('/orders/order-13"')
    assert listed.endswith("and more")


def test_a_resolved_cause_leaves_the_list_and_nothing_of_it_runs(dashboard: Dashboard) -> None:
    a_failure(dashboard)
    a_failure(dashboard, state="acknowledged", resolved_at=dashboard.clock(), resolved_by="ana", reason="r")
    browser = dashboard.sign_in()
    assert "Its cause is taken for repaired" in carry_out(browser, "resolve", all=CAUSE)
    assert states(dashboard) == ["resolved", "resolved"]
    assert dashboard.rows("audit")[-1]["action"] == "resolve"
    assert dashboard.broker.client.llen("autocancel:orders") == 0
    assert "Came back" not in browser.get("/dead-letters?state=resolved").text


def test_what_fails_again_after_it_was_resolved_has_come_back(dashboard: Dashboard) -> None:
    a_failure(dashboard)
    browser = dashboard.sign_in()
    carry_out(browser, "resolve", all=CAUSE)
    assert "Nothing is open" in browser.get("/dead-letters").text
    a_failure(dashboard)
    assert "Came back" in browser.get("/dead-letters").text
    assert "Somebody took it for repaired" in browser.get(f"/dead-letters/cause?cause={CAUSE}").text
    assert states(dashboard) == ["resolved", "open"]


def test_what_fails_again_after_it_was_discarded_was_never_taken_for_repaired(dashboard: Dashboard) -> None:
    a_failure(dashboard)
    browser = dashboard.sign_in()
    carry_out(browser, "discard", all=CAUSE)
    a_failure(dashboard)
    assert "Came back" not in browser.get("/dead-letters").text


def test_what_failed_since_a_time_is_replayed(dashboard: Dashboard) -> None:
    for hours_ago in (1, 3, 8):
        a_failure(dashboard, hours_ago=hours_ago)
    browser = dashboard.sign_in()
    a_failure(dashboard, fingerprint="act KeyError elsewhere", actor="act", args={"id": 1})
    shown = carry_out(browser, "replay", all=CAUSE, **{"from": moment(dashboard, 4)})
    assert "Replay 2 failures" in shown
    assert states(dashboard) == ["replayed", "replayed", "open", "open"]


def test_whatever_fits_a_filter_is_shown_and_chosen_whatever_its_cause(dashboard: Dashboard) -> None:
    a_failure(dashboard, hours_ago=2)
    a_failure(dashboard, hours_ago=2, fingerprint="evaluate ValueError elsewhere", error="ValueError")
    a_failure(dashboard, hours_ago=2, fingerprint="act KeyError elsewhere", queue="actions", actor="act")
    a_failure(dashboard, hours_ago=9)
    browser = dashboard.sign_in()
    wanted = {"queue": "orders", "from": moment(dashboard, 3)}
    page = browser.get("/dead-letters", params=wanted).text
    assert "With all 2 that nobody has settled and that fit:" in page
    assert f'name="from" value="{wanted["from"]}"' in page
    assert "act KeyError" not in page
    carry_out(browser, "discard", all="*", **wanted)
    assert states(dashboard) == ["discarded", "discarded", "open", "open"]


def test_one_cause_under_a_filter_is_chosen_as_far_as_it_fits(dashboard: Dashboard) -> None:
    a_failure(dashboard, order_id="order-1")
    a_failure(dashboard, order_id="order-2")
    carry_out(dashboard.sign_in(), "acknowledge", all=CAUSE, order="order-2")
    assert states(dashboard) == ["open", "acknowledged"]


def test_a_filter_that_cannot_be_read_chooses_nothing(dashboard: Dashboard) -> None:
    a_failure(dashboard)
    browser = dashboard.sign_in()
    assert browser.get("/dead-letters?from=yesterday").status_code == 400
    answer = browser.post(
        "/dead-letters/previews", data={"action": "discard", "all": "*", "from": "yesterday"}
    )
    assert answer.status_code == 400
    assert "write a day like" in answer.text


def test_a_filter_that_nothing_fits_says_so(dashboard: Dashboard) -> None:
    a_failure(dashboard)
    browser = dashboard.sign_in()
    assert "Nothing that is open fits" in browser.get("/dead-letters?error=ValueError").text
    answer = browser.post("/dead-letters/previews", data={"action": "replay", "all": "*", "error": "X"})
    assert answer.status_code == 400
