"""Scripts are a comfort: without them one signs in, finds, reads and does everything."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from receiver.dashboard.pages import PAGES
from tests.browser.conftest import OpenTab
from tests.dashboard.conftest import PASSWORD, Dashboard

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(house: Dashboard, open_tab: OpenTab) -> Page:
    house.add_user("admin")
    return open_tab(house, "admin", java_script_enabled=False)


def confirm(tab: Page, button: str) -> None:
    """A page that says what will happen; it wants a reason."""
    tab.get_by_label("Reason").fill("because the test says so")
    tab.get_by_role("main").get_by_role("button", name=button).click()


def test_one_signs_in_changes_the_theme_and_signs_out(house: Dashboard, open_tab: OpenTab) -> None:
    house.add_user("viewer")
    tab = open_tab(house, None, java_script_enabled=False)
    tab.goto("/decisions")
    tab.get_by_label("Name").fill("viewer")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    expect(tab).to_have_url(re.compile("/decisions$"))
    tab.locator("summary", has_text="viewer").click()
    tab.get_by_role("button", name="dark").click()
    expect(tab.locator("html")).to_have_attribute("data-theme", "dark")
    tab.locator("summary", has_text="viewer").click()
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_the_menu_leads_everywhere(tab: Page) -> None:
    tab.goto("/")
    for page in PAGES:
        tab.get_by_role("navigation", name="Pages").get_by_role("link", name=page.label).click()
        expect(tab.get_by_role("heading", level=1)).to_have_text(page.label)
        expect(tab.get_by_role("main")).to_contain_text(re.compile(r"\w{3}"))


def test_orders_are_filtered_and_the_filter_taken_back(tab: Page) -> None:
    tab.goto("/orders")
    tab.get_by_label("Method").select_option("walk_in_test")
    tab.get_by_role("button", name="Filter").click()
    expect(tab.locator("tbody tr")).to_have_count(2)
    expect(tab.get_by_role("list", name="Filters")).to_contain_text("method: walk-in")
    tab.get_by_role("link", name="Clear filters").click()
    expect(tab).to_have_url(re.compile("/orders$"))


def test_an_id_is_jumped_to(house: Dashboard, tab: Page) -> None:
    order_id = house.rows("orders")[0]["id"]
    tab.goto("/")
    tab.get_by_label("Jump to").fill(order_id)
    tab.keyboard.press("Enter")
    expect(tab).to_have_url(re.compile(f"/orders/{order_id}$"))


def test_an_order_is_held(house: Dashboard, tab: Page) -> None:
    order = next(row for row in house.rows("orders") if row["outlook_rule"] == "home-visit-never-booked")
    tab.goto(f"/orders/{order['id']}")
    tab.get_by_role("link", name="Hold from auto-cancel").click()
    confirm(tab, "Hold")
    expect(tab.get_by_role("main").get_by_role("status")).to_have_text("It is held.")
    expect(tab.locator("#hold")).to_contain_text("because the test says so")


def test_a_queue_is_paused(tab: Page) -> None:
    tab.goto("/queues/events")
    tab.get_by_role("link", name="Pause", exact=True).click()
    confirm(tab, "Pause")
    expect(tab.get_by_role("main").get_by_role("status")).to_have_text("events is paused.")


def test_chosen_dead_letters_are_replayed(tab: Page) -> None:
    tab.goto("/dead-letters")
    tab.get_by_role("main").get_by_role("link", name="KeyError").click()
    tab.get_by_role("checkbox").first.check()
    tab.get_by_role("group", name="With the chosen").get_by_role("button", name="Replay").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Replay 1 failure")
    confirm(tab, "Replay 1")
    expect(tab.get_by_role("heading", level=1)).to_have_text("Replay: done")
    expect(tab.get_by_role("main")).to_contain_text("Sent anew")


def test_a_review_item_is_declined(tab: Page) -> None:
    tab.goto("/")
    tab.get_by_role("link", name="A decision waits for you", exact=True).click()
    tab.locator("tbody th").get_by_role("link").first.click()
    tab.get_by_role("link", name="Decline").click()
    confirm(tab, "Decline")
    expect(tab.get_by_role("main")).to_contain_text("because the test says so")


def test_everything_is_stopped_and_started_again(tab: Page) -> None:
    tab.goto("/rules")
    tab.get_by_role("link", name="Stop everything").click()
    tab.get_by_label("Type stop").fill("stop")
    confirm(tab, "Stop everything")
    expect(tab.locator(".mode")).to_have_text(re.compile("stopped"))
    tab.get_by_role("link", name="Start again").click()
    tab.get_by_label("Type start").fill("start")
    tab.get_by_label("Your password").fill(PASSWORD)
    confirm(tab, "Start")
    expect(tab.locator(".mode")).to_have_text(re.compile("enforcing"))


def test_a_draft_of_the_rules_is_tried(tab: Page) -> None:
    tab.goto("/rules/draft")
    expect(tab.get_by_text("From a file")).to_be_hidden()
    tab.get_by_role("main").get_by_role("textbox").fill("version: one")
    tab.get_by_role("button", name="Try it").click()
    expect(tab.get_by_role("heading", name="mistakes")).to_be_visible()
