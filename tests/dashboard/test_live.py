"""Open tabs are told what changed, nobody can hold the process up, and it stops at once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from receiver.dashboard.live import STREAMS_A_SESSION
from workers.messages import Act, publish

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.dashboard.conftest import Dashboard, OpenDashboard


def events(stream: httpx.Response) -> Iterator[str]:
    return (line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: "))


def test_a_tab_is_told_that_something_was_queued(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    with browser.stream("GET", "/stream?topics=queues") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = events(stream)
        assert next(told) == "live:queues"  # what happened since the page was made
        publish(dashboard.broker, Act(1))
        assert next(told) == "live:queues"


def test_a_tab_is_told_of_its_own_topics_only(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    with browser.stream("GET", "/stream?topics=failures,no-such-topic") as stream:
        told = events(stream)
        assert next(told) == "live:failures"
        publish(dashboard.broker, Act(1))
        dashboard.put(
            "failures", queue="events", actor="project", fingerprint="f", error="E", place="p", version="v",
            args={}, attempts=3, at=dashboard.clock(), state="open",
        )  # fmt: skip
        assert next(told) == "live:failures"


def test_a_region_gets_only_its_own_block(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    region = browser.get("/queues", headers={"hx-request": "true", "hx-target": "section#queue_table"})
    assert "<table" in region.text
    assert "<html" not in region.text
    bar = browser.get("/queues", headers={"hx-request": "true", "hx-target": "div#attention"})
    assert "No worker on queue events" in bar.text
    assert "<table" not in bar.text


def test_signing_out_closes_the_tabs_of_that_session(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    with browser.stream("GET", "/stream") as stream:
        browser.post("/logout")
        assert list(events(stream))[-1] == "signed-out"


def test_one_session_gets_six_streams_and_no_more(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    with ExitStack() as open_ones:
        for _ in range(STREAMS_A_SESSION):
            stream = open_ones.enter_context(browser.stream("GET", "/stream?topics=queues"))
            assert stream.status_code == 200
        refused = browser.get("/stream?topics=queues")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")


def test_one_process_has_room_for_so_many_streams(
    open_dashboard: OpenDashboard, sqlite_url: str, redis_url: str
) -> None:
    dashboard = open_dashboard(sqlite_url, redis_url, dashboard_streams=1)
    first, second = dashboard.sign_in("viewer"), dashboard.sign_in("admin")
    with first.stream("GET", "/stream"):
        assert second.get("/stream").status_code == 503


def test_a_stream_that_was_closed_makes_room_again(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    for _ in range(STREAMS_A_SESSION * 2):
        with browser.stream("GET", "/stream?topics=queues") as stream:
            if stream.status_code == 200:
                next(events(stream))
    with browser.stream("GET", "/stream?topics=queues") as stream:
        assert stream.status_code == 200


@pytest.mark.timeout(30)
def test_it_stops_at_once_with_twenty_tabs_open(dashboard: Dashboard) -> None:
    with ExitStack() as open_ones:
        for role in ("viewer", "operator", "admin", "viewer"):
            browser = dashboard.sign_in(role)
            for _ in range(5):
                stream = open_ones.enter_context(browser.stream("GET", "/stream?topics=queues"))
                assert stream.status_code == 200
        assert dashboard.stop() < 2
