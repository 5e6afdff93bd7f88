"""Debian's Chromium with strict ears: whatever it complains about on any page fails the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.dashboard.conftest import Dashboard, running_dashboard
from tests.dashboard.filled import filled_dashboard
from workers.embedded import EmbeddedRedis
from workers.store.users import Role

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 15_000
# An answer of 400 or above and a stream that breaks off: what the page then shows is for the tests to see.
EXPECTED = ("Failed to load resource", "htmx: htmx:sse:error")
TELL = """
document.addEventListener("securitypolicyviolation", (event) =>
  complain(`${location.pathname}: ${event.violatedDirective} forbids ${event.blockedURI || event.sample}`))
"""

OpenTab = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or pytest.skip("set CHROMIUM, as `make test-browser` does")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_tab(chromium: Browser) -> Iterator[OpenTab]:
    """Opens a tab of a browser of its own, signed in as `role`; further arguments are Playwright's."""
    complaints: list[str] = []
    with ExitStack() as at_the_end:

        def open_(dashboard: Dashboard, role: Role | None = "operator", **how: Any) -> Page:
            context = chromium.new_context(base_url=dashboard.origin, reduced_motion="reduce", **how)
            at_the_end.callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            listen(context, complaints)
            if role is not None:
                cookie = dashboard.sign_in(role).cookies["autocancel"]
                context.add_cookies([{"name": "autocancel", "value": cookie, "url": dashboard.origin}])
            return context.new_page()

        yield open_
    assert complaints == []


def listen(context: BrowserContext, complaints: list[str]) -> None:
    """Violations of the content security policy, mistakes in scripts, and what else a console shows."""

    def hear(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(EXPECTED):
            complaints.append(f"{message.location['url']}: {message.text}")

    context.expose_function("complain", lambda text: complaints.append(text))
    context.add_init_script(TELL)
    context.on("console", hear)
    context.on("weberror", lambda error: complaints.append(str(error.error)))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """For tests that only look."""
    with filled_dashboard(tmp_path_factory.mktemp("filled")) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """As `filled`, for tests that do something, each with rows of its own."""
    with filled_dashboard(tmp_path_factory.mktemp("house")) as dashboard:
        yield dashboard


@contextmanager
def empty_dashboard(folder: Path) -> Iterator[Dashboard]:
    with (
        EmbeddedRedis(folder / "redis") as redis,
        running_dashboard(f"sqlite:///{folder / 'empty.db'}", redis.url) as dashboard,
    ):
        yield dashboard
