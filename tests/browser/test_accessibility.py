"""axe-core finds nothing on any page, light or dark, full, empty or in trouble; and all fits a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page

from receiver.dashboard.pages import PAGES
from tests.browser.conftest import OpenTab, empty_dashboard
from tests.dashboard.conftest import Dashboard, running_dashboard
from tests.dashboard.crawling import crawl, one_of_each

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text(encoding="utf-8")
MENU = [page.path for page in PAGES]
NO_REDIS = "redis://127.0.0.1:1"
PHONE = {"width": 320, "height": 640}
ODD = ["/nothing", "/orders?method=spoon&colour=red", "/orders?method=testkit&status=collecting", "/jump?q=x"]

QUICK = {"resultTypes": ["violations"], "preload": False}
THEMES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": QUICK,
    "dark": QUICK | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}},
}


@pytest.fixture(scope="module")
def pages(filled: Dashboard) -> list[str]:
    """One of each kind, that somebody who may do everything sees."""
    return one_of_each(crawl(filled.sign_in("admin"), "/"))


@pytest.fixture(scope="module")
def in_trouble(filled: Dashboard) -> Iterator[Dashboard]:
    """The same store, with a Redis that does not answer."""
    with running_dashboard(str(filled.store.url), NO_REDIS) as dashboard:
        yield dashboard


def test_every_page_is_accessible(filled: Dashboard, pages: list[str], open_tab: OpenTab) -> None:
    assert len(pages) > len(MENU) * 3
    assert each(open_tab(filled, "admin"), pages, violations) == []


def test_every_empty_page_is_accessible(tmp_path: Path, open_tab: OpenTab) -> None:
    with empty_dashboard(tmp_path) as dashboard:
        assert each(open_tab(dashboard, "viewer"), [*MENU, "/rules/draft"], violations) == []


def test_every_page_in_trouble_is_accessible(in_trouble: Dashboard, open_tab: OpenTab) -> None:
    assert each(open_tab(in_trouble, "admin"), [*MENU, "/queues/events", *ODD], violations) == []


def test_signing_in_is_accessible_also_when_it_fails(filled: Dashboard, open_tab: OpenTab) -> None:
    tab = open_tab(filled, None)
    assert each(tab, ["/login"], violations) == []
    tab.get_by_label("Name").fill("nobody")
    tab.get_by_label("Password").fill("nothing")
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_role("alert").wait_for()
    assert violations(tab) == []


def test_no_page_scrolls_sideways_on_a_phone(
    filled: Dashboard, in_trouble: Dashboard, pages: list[str], open_tab: OpenTab
) -> None:
    phone = open_tab(filled, "admin", viewport=PHONE)
    assert each(phone, ["/login", *pages], too_wide) == []
    assert each(open_tab(in_trouble, "admin", viewport=PHONE), [*MENU, *ODD], too_wide) == []


def each(tab: Page, pages: Iterable[str], find: Callable[[Page], list[str]]) -> list[str]:
    found = []
    for page in pages:
        tab.goto(page)
        found += [f"{page} {one}" for one in find(tab)]
    return found


def violations(tab: Page) -> list[str]:
    """What axe-core finds: by all its rules where it is light, by those about colours in the dark."""
    tab.evaluate(AXE)  # over the debugger's wire, so that no security policy is in its way
    found = []
    for theme, options in THEMES.items():
        tab.emulate_media(color_scheme=theme)
        report = tab.evaluate("(options) => axe.run(document, options)", options)
        found += [
            f"{theme}, {rule['id']}: {node['html'][:200]} {node['failureSummary']}"
            for rule in report["violations"]
            for node in rule["nodes"]
        ]
    return found


def too_wide(tab: Page) -> list[str]:
    """What sticks out to the right, and so makes the page scroll."""
    if tab.evaluate("document.documentElement.scrollWidth <= innerWidth"):
        return []
    return tab.evaluate(  # type: ignore[no-any-return]  # a list of texts
        """[...document.querySelectorAll("body *")]
          .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
          .map((one) => one.outerHTML.slice(0, 120))"""
    )
