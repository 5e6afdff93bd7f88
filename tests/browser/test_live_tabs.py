"""What is live never takes away what one is reading, choosing or typing; and it says when it is not live."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import OpenTab, empty_dashboard
from tests.dashboard.conftest import Dashboard
from workers.messages import Act, publish
from workers.store import controls
from workers.store.database import writing

pytestmark = pytest.mark.browser

CAUSE = "evaluate KeyError evaluating.py:look"


@pytest.fixture
def tab(house: Dashboard, open_tab: OpenTab) -> Page:
    return open_tab(house)


def go(tab: Page, address: str) -> None:
    """Waits for the first update, which every page gets to make up for what it missed."""
    with tab.expect_response(lambda answer: "hx-request" in answer.request.headers):
        tab.goto(address)
    expect(live(tab)).to_have_text("Live")


def live(tab: Page) -> Locator:
    return tab.locator("#live")


def link_to_ready(tab: Page) -> Locator:
    return tab.locator("#queue-actions").locator("a[href='/queues/actions'].count")


def ready(tab: Page) -> int:
    return int(link_to_ready(tab).inner_text())


def fail_again(house: Dashboard) -> None:
    (*_, last) = house.rows("failures")
    house.put("failures", **(last | {"id": None, "state": "open", "at": house.clock(), "resolved_at": None}))


def test_a_page_is_live_also_when_its_scripts_come_one_after_the_other(tab: Page) -> None:
    def late(route: Route) -> None:
        time.sleep(0.5)
        route.continue_()

    tab.route("**/hx-sse*", late)
    go(tab, "/queues")


def listen_for(tab: Page, topic: str) -> None:
    tab.evaluate(
        f"window.heard = new Promise((hear) => addEventListener('live:{topic}', hear, {{once: true}}))"
    )


def test_where_one_was_stays_when_a_row_comes(house: Dashboard, tab: Page) -> None:
    go(tab, f"/dead-letters/cause?cause={CAUSE}&state=open")
    here = tab.locator("main tbody").get_by_role("checkbox").nth(1)
    name = here.get_attribute("id")
    here.focus()
    fail_again(house)
    expect(tab.locator("main tbody tr")).to_have_count(3)
    expect(tab.locator(f"#{name}")).to_be_focused()


def test_nothing_moves_while_rows_are_chosen(house: Dashboard, tab: Page) -> None:
    go(tab, f"/dead-letters/cause?cause={CAUSE}&state=open")
    rows = tab.locator("main tbody tr")
    count = rows.count()
    ticked = rows.nth(1).get_by_role("checkbox")
    ticked.check()
    listen_for(tab, "failures")
    fail_again(house)
    tab.evaluate("heard.then(() => null)")
    expect(rows).to_have_count(count)
    expect(ticked).to_be_checked()
    ticked.uncheck()
    expect(rows).to_have_count(count + 1)


def test_what_is_open_and_selected_stays_when_an_order_changes(house: Dashboard, tab: Page) -> None:
    order = next(row for row in house.rows("orders") if row["status_name"] == "transit_customer")
    go(tab, f"/orders/{order['id']}")
    entry = tab.locator(".timeline li", has_text="Details").last
    details = tab.locator(f"[id='{entry.get_attribute('id')}'] details")
    details.locator("summary").click()
    details.evaluate("(one) => getSelection().selectAllChildren(one)")
    selected = tab.evaluate("String(getSelection())")
    with writing(house.store) as connection:
        controls.hold(connection, order["id"], actor="ana", reason="asked to", now=house.clock())
    expect(tab.locator("#hold")).to_contain_text("by ana")
    expect(details).to_have_attribute("open", "")
    assert selected
    assert tab.evaluate("String(getSelection())") == selected


def test_what_one_types_stays_while_numbers_change(house: Dashboard, tab: Page) -> None:
    go(tab, "/queues")
    before = ready(tab)
    tab.keyboard.press("/")
    tab.keyboard.type("84d9")
    publish(house.broker, Act(8))
    expect(link_to_ready(tab)).to_have_text(str(before + 1))
    expect(tab.get_by_label("Jump to")).to_have_value("84d9")
    expect(tab.get_by_label("Jump to")).to_be_focused()


def test_a_list_does_not_move_by_itself_and_says_that_there_is_more(house: Dashboard, tab: Page) -> None:
    go(tab, "/orders")
    first = tab.locator("tbody tr").first.inner_text()
    count = tab.locator("tbody tr").count()
    (*_, order) = house.rows("orders")
    house.put("orders", **(order | {"id": "a-new-one", "changed_at": house.clock()}))
    news = tab.get_by_role("link", name="1 changed since")
    expect(news).to_be_visible()
    expect(tab.locator("tbody tr")).to_have_count(count)
    assert tab.locator("tbody tr").first.inner_text().splitlines()[1] == first.splitlines()[1]
    tab.keyboard.press(".")
    expect(tab.locator("tbody tr").first).to_contain_text("a-new-on")


def test_p_pauses_and_what_was_missed_is_made_up_for(house: Dashboard, tab: Page) -> None:
    go(tab, "/queues")
    before = ready(tab)
    tab.keyboard.press("p")
    expect(live(tab)).to_have_text("Paused")
    listen_for(tab, "queues")
    publish(house.broker, Act(8))
    tab.evaluate("heard.then(() => null)")
    expect(link_to_ready(tab)).to_have_text(str(before))
    tab.keyboard.press("p")
    expect(link_to_ready(tab)).to_have_text(str(before + 1))
    expect(live(tab)).to_have_text("Live")


def test_a_tab_says_when_nobody_tells_it_anything(tmp_path: Path, open_tab: OpenTab) -> None:
    with empty_dashboard(tmp_path) as dashboard:
        tab = open_tab(dashboard)
        go(tab, "/queues")
        dashboard.stop()
        expect(live(tab)).to_have_text("Reconnecting")


def test_signing_out_in_one_tab_closes_the_others(tab: Page) -> None:
    go(tab, "/queues")
    other = tab.context.new_page()
    go(other, "/orders")
    other.locator("summary", has_text="operator").click()
    other.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Sign in")
