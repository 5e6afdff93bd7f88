"""Everything can be reached and done without a mouse, one always sees where one is, and keys stay out of the
way of those who type."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from receiver.dashboard.page import Page as OurPage
from receiver.dashboard.pages import PAGES
from tests.browser.conftest import OpenTab
from tests.dashboard.conftest import Dashboard

pytestmark = pytest.mark.browser

# What Tab should come to, in the order in which it stands on the page.
REACHABLE = """() => {
  window.reachable = () =>
    [...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter(
      (one) => !one.disabled && one.type !== "hidden" && one.checkVisibility({visibilityProperty: true}))
  return reachable().length
}"""
WHERE = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return [reachable().indexOf(one), seen, one.outerHTML];
}"""


@pytest.fixture
def tab(filled: Dashboard, open_tab: OpenTab) -> Page:
    return open_tab(filled)


@pytest.mark.parametrize("address", ["/", "/orders", "/queues", "/dead-letters", "/rules/draft"])
def test_tab_goes_through_everything_in_order_and_shows_where_it_is(tab: Page, address: str) -> None:
    tab.goto(address)
    expect(tab.locator("#live")).to_have_text("Live")  # before, this button is not there
    reached: list[int] = []
    count = tab.evaluate(REACHABLE)
    while len(reached) < count:
        number, is_seen, what = step(tab)
        assert is_seen, what
        reached.append(number)
    assert reached == list(range(count))


def step(tab: Page) -> Any:
    """Presses Tab until it leaves what it was on: a day and its time have seven places of their own."""
    before = tab.evaluate("reachable().indexOf(document.activeElement)")
    for _ in range(9):
        tab.keyboard.press("Tab")
        where = tab.evaluate(WHERE)
        if where[0] != before:
            return where
    raise AssertionError(f"Tab is stuck at {where}")


def test_the_first_tab_skips_to_the_content(tab: Page) -> None:
    tab.goto("/queues")
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("link", name="To the content")).to_be_focused()
    expect(tab.get_by_role("link", name="To the content")).to_be_in_viewport()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.label)
def test_g_and_a_letter_lead_to_a_page(tab: Page, page: OurPage) -> None:
    tab.goto("/system" if page.path == "/" else "/")
    tab.keyboard.press("g")
    tab.keyboard.press(page.key)
    expect(tab.get_by_role("heading", level=1)).to_have_text(page.label)
    expect(tab).to_have_url(re.compile(f"{page.path}$"))


def test_slash_jumps_to_an_order(tab: Page, filled: Dashboard) -> None:
    order_id = filled.rows("orders")[0]["id"]
    tab.goto("/system")
    tab.keyboard.press("/")
    tab.keyboard.type(order_id)
    tab.keyboard.press("Enter")
    expect(tab).to_have_url(re.compile(f"/orders/{order_id}$"))


def test_j_and_k_walk_through_rows_and_enter_opens_one(tab: Page) -> None:
    tab.goto("/orders")
    rows = tab.locator("tbody tr")
    for key, row in (("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)):
        tab.keyboard.press(key)
        expect(rows.nth(row).get_by_role("link").first).to_be_focused()
    address = rows.nth(0).get_by_role("link").first.get_attribute("href")
    tab.keyboard.press("Enter")
    expect(tab).to_have_url(re.compile(f"{address}$"))


def test_x_chooses_a_row_and_lets_go_of_it(tab: Page) -> None:
    tab.goto("/orders")
    tab.keyboard.press("j")
    box = tab.locator("tbody tr").first.get_by_role("checkbox")
    for key, chosen in (("x", True), ("x", False)):
        tab.keyboard.press(key)
        expect(box).to_be_checked(checked=chosen)


def test_e_shows_more_of_where_one_is(tab: Page, filled: Dashboard) -> None:
    tab.goto(f"/orders/{filled.rows('orders')[0]['id']}")
    tab.keyboard.press("j")
    more = tab.locator(".timeline li", has=tab.locator(":focus")).locator("details")
    tab.keyboard.press("e")
    expect(more).to_have_attribute("open", "")
    tab.keyboard.press("e")
    expect(more).not_to_have_attribute("open", "")


def test_escape_closes_the_menu_and_stays_there(tab: Page) -> None:
    tab.goto("/queues")
    menu = tab.locator("summary", has_text="operator")
    menu.press("Enter")
    expect(tab.get_by_role("button", name="Sign out")).to_be_visible()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(menu).to_be_focused()


def test_a_question_mark_lists_the_keys_and_escape_leads_back(tab: Page) -> None:
    tab.goto("/orders")
    tab.keyboard.press("j")
    tab.keyboard.press("?")
    expect(tab.get_by_role("dialog", name="Keys")).to_be_visible()
    tab.keyboard.press("g")
    tab.keyboard.press("q")
    expect(tab.get_by_role("dialog", name="Keys")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("dialog", name="Keys")).to_be_hidden()
    expect(tab.locator("tbody tr").first.get_by_role("link").first).to_be_focused()


def test_keys_can_be_switched_off_for_good_and_on_again(tab: Page) -> None:
    tab.goto("/orders")
    tab.keyboard.press("?")
    tab.get_by_label("Single keys do these things").uncheck()
    tab.keyboard.press("Escape")
    tab.reload()
    tab.keyboard.press("/")
    expect(tab.get_by_label("Jump to")).not_to_be_focused()
    tab.locator("summary", has_text="operator").click()
    tab.get_by_role("button", name="Keys").click()
    tab.get_by_label("Single keys do these things").check()
    tab.keyboard.press("Escape")
    tab.keyboard.press("/")
    expect(tab.get_by_label("Jump to")).to_be_focused()


def test_keys_mean_themselves_where_one_types_and_with_modifiers(tab: Page) -> None:
    tab.goto("/orders")
    field = tab.get_by_placeholder("Order, user, event or delivery")
    field.press_sequentially("gq/jp?")
    expect(field).to_have_value("gq/jp?")
    field.evaluate("(one) => one.blur()")
    tab.keyboard.press("Control+/")
    expect(tab.get_by_label("Jump to")).not_to_be_focused()
    expect(tab).to_have_url(re.compile("/orders$"))


def test_where_a_reason_is_asked_one_can_type_at_once(tab: Page) -> None:
    tab.goto("/queues/events/pause")
    expect(tab.get_by_label("Reason")).to_be_focused()
