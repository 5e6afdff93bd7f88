"""What an operator sees and does while all runs: receiver, worker and clock as processes, a real Redis,
the sandbox in Junction's place. Pages are not reloaded: what happens is to appear by itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from sandbox.running import RunningSandbox
from tests.browser.conftest import OpenTab
from tests.dashboard.conftest import Dashboard, running_dashboard
from tests.faults.house import SECRET, House, free_port, house
from tests.faults.receiver_process import TEAM
from workers.store.database import writing

pytestmark = pytest.mark.browser

POLICY = """
version: 1
policy: story
environment: sandbox
time: {settle: 0s}
limits: {per_hour: 100, per_day: 100, share_of_open: 100%, floor: 100}
rules:
  - name: ask-first
    mode: review
    methods: [testkit]
    act_any_time: true
    when:
      - status: {in: [ordered], for: 1s}
    then: {action: cancel_order}
"""
SLOWLY = 30_000  # ms; three attempts with pauses, or a process that looks once a second


@dataclass
class Scene:
    sandbox: RunningSandbox
    programs: House
    dashboard: Dashboard

    def order(self, state: str = "transit_customer") -> str:
        return str(self.sandbox.order(method="testkit", state=state)["id"])

    def has_heard_of(self, order_id: str) -> bool:
        return self.programs.order(order_id) is not None

    def execute(self, statement: str) -> None:
        with writing(self.programs.store) as connection:
            connection.execute(text(statement))

    def wait(self, holds: Callable[[], bool]) -> None:
        self.programs.wait(holds, 30)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, port = tmp_path_factory.mktemp("scene"), free_port()
    webhooks = f"http://127.0.0.1:{port}/webhooks/junction"
    with (
        RunningSandbox(seed=7, team_id=UUID(TEAM), webhook_url=webhooks, secrets=(SECRET,)) as sandbox,
        house(
            folder,
            POLICY,
            port=port,
            JUNCTION_BASE_URL=sandbox.url,
            JUNCTION_API_KEY=sandbox.config.api_key,
            AUTOCANCEL_TICK_SECONDS="0.2",
        ) as programs,
        running_dashboard(str(programs.store.url), programs.redis.url) as dashboard,
    ):
        yield Scene(sandbox, programs, dashboard)


@pytest.fixture
def tab(scene: Scene, open_tab: OpenTab) -> Page:
    return open_tab(scene.dashboard)


def confirm(tab: Page, button: str) -> None:
    tab.get_by_label("Reason").fill("as the story goes")
    tab.get_by_role("main").get_by_role("button", name=button).click()


def test_a_poison_event_dies_is_shown_replayed_and_drains(scene: Scene, tab: Page) -> None:
    kit = scene.order()
    scene.wait(lambda: scene.has_heard_of(kit))
    tab.goto("/dead-letters")
    expect(tab.get_by_text("Nothing has ever failed for good")).to_be_visible()

    scene.execute(
        f"CREATE TRIGGER poison BEFORE INSERT ON order_events WHEN new.order_id = '{kit}' "
        "BEGIN SELECT RAISE(ABORT, 'a bug'); END"
    )
    scene.sandbox.event(kit, "with_customer")
    cause = tab.get_by_role("main").get_by_role("link", name="IntegrityError")
    expect(cause).to_be_visible(timeout=SLOWLY)
    expect(tab.get_by_role("link", name="A dead letter waits", exact=True)).to_be_visible()

    scene.execute("DROP TRIGGER poison")  # the fix is deployed
    cause.click()
    tab.get_by_role("button", name="Replay all").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Replay 1 failure")
    confirm(tab, "Replay 1")
    expect(tab.get_by_role("heading", level=1)).to_have_text("Replay: done")

    tab.get_by_role("link", name="See what became of replays").click()
    tab.get_by_role("main").get_by_role("link", name="IntegrityError").click()
    expect(tab.get_by_text("Replayed 1: 0 failed again, 1 did not.")).to_be_visible()
    tab.goto(f"/orders/{kit}")
    expect(tab.locator(".map-drawing .current")).to_contain_text("With customer", timeout=SLOWLY)
    expect(tab.get_by_role("link", name="A dead letter waits")).to_have_count(0)


def test_a_paused_queue_fills_and_drains_when_it_goes_on(scene: Scene, tab: Page) -> None:
    tab.goto("/queues")
    row = tab.locator("#queue-events")
    row.get_by_role("link", name="events", exact=True).click()
    tab.get_by_role("link", name="Pause", exact=True).click()
    confirm(tab, "Pause")
    expect(tab.get_by_role("main").get_by_role("status")).to_have_text("events is paused.")
    tab.get_by_role("link", name="Queues").first.click()
    expect(row).to_contain_text("Paused", timeout=SLOWLY)
    scene.wait(lambda: all("events" in row["paused"] for row in scene.dashboard.rows("processes")))

    kit = scene.order()
    expect(row.locator("td[data-label=Ready]")).not_to_have_text(re.compile("^0"), timeout=SLOWLY)
    time.sleep(1)
    assert not scene.has_heard_of(kit)

    row.get_by_role("link", name="events", exact=True).click()
    tab.get_by_role("link", name="Resume", exact=True).click()
    confirm(tab, "Resume")
    tab.get_by_role("link", name="Queues").first.click()
    expect(row).to_contain_text("Running")
    expect(row.locator("td[data-label=Ready]")).to_have_text("0", timeout=SLOWLY)
    scene.wait(lambda: scene.has_heard_of(kit))


def test_an_approved_review_item_is_cancelled_and_the_map_shows_it(scene: Scene, tab: Page) -> None:
    tab.goto("/")
    kit = scene.order("ordered")
    tab.get_by_role("link", name="A decision waits for you", exact=True).click(timeout=SLOWLY)
    tab.locator("tbody th").get_by_role("link").click()
    expect(tab.get_by_role("main")).to_contain_text("ask-first")
    tab.get_by_role("link", name="Approve").click()
    confirm(tab, "Approve")

    tab.goto(f"/orders/{kit}")
    drawing = tab.locator(".map-drawing")
    expect(drawing.locator(".current")).to_contain_text("Cancelled", timeout=SLOWLY)
    expect(drawing.locator(".deed.confirmed")).to_be_visible(timeout=SLOWLY)
    expect(drawing.locator(".deed.call")).to_be_visible()
    expect(tab.locator("#map-steps")).to_contain_text("Cancelled")
    assert len(scene.sandbox.calls(order_id=kit, operation="cancel_order")) == 1
