"""Pictures of the pages for the docs, taken after the demo has played: `make screenshots`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, expect, sync_playwright
from sqlalchemy import select

from demo.cast import CAST
from demo.laboratory import Laboratory
from demo.playing import Play
from demo.stage import ROOT, USER, Stage
from tests.browser.conftest import ARGUMENTS
from workers.store.database import reading
from workers.store.schema import decisions

IMAGES = ROOT / "docs/images"
WINDOW: ViewportSize = {"width": 1280, "height": 860}
MOST_BYTES = 150_000


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Stage(Path(folder) / "demo", _say) as stage,
        Laboratory(stage.place.sandbox_url) as lab,
        sync_playwright() as playwright,
    ):
        lab.trouble_all_webhooks()
        play = Play(
            CAST, lab, stage.store, lambda: datetime.now(UTC), time.monotonic, lambda: time.sleep(0.15)
        )
        for part in play.perform():
            _say(part.story.who)
        browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=ARGUMENTS)
        context = browser.new_context(
            base_url=stage.place.dashboard_url, viewport=WINDOW, color_scheme="light"
        )
        page = context.new_page()
        _sign_in(page, stage.place.password)
        for name, address in _addresses(stage).items():
            _take(page, address, IMAGES / f"{name}.png")
        browser.close()


def _sign_in(page: Page, password: str) -> None:
    page.goto("/login")
    page.get_by_label("Name").fill(USER)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation", name="Pages").wait_for()


def _addresses(stage: Stage) -> dict[str, str]:
    """The order and the decision shown are those of a cancelled kit."""
    cancelled = (
        select(decisions.c.id, decisions.c.order_id)
        .where(decisions.c.rule == "kit-never-shipped", decisions.c.state == "confirmed")
        .order_by(decisions.c.id)
    )
    with reading(stage.store) as connection:
        decision, order = connection.execute(cancelled).first() or (1, "")
    return {
        "overview": "/",
        "order": f"/orders/{order}",
        "decision": f"/decisions/{decision}",
        "queues": "/queues",
        "rules": "/rules",
    }


def _take(page: Page, address: str, path: Path) -> None:
    page.goto(address)
    expect(page.locator("#live")).to_have_text("Live")
    page.screenshot(path=path)
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size:,} bytes, and may have {MOST_BYTES:,}")
    _say(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


if __name__ == "__main__":
    main()
