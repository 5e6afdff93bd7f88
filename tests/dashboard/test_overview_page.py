"""Overview: numbers with what is behind them, what comes next, and the first steps of a new installation."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.dashboard.charts import HEIGHT, ceiling, spans, stacked
from receiver.dashboard.overview_page import slowest_but_five_percent
from workers.store.database import open_store
from workers.store.migrate import upgrade

MINUTE = timedelta(minutes=1)
ORDER = "11111111-2222-4333-8444-555555555555"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(name="put_all")
def fill(dashboard: Any) -> Any:
    """A store in which things have happened."""
    full(dashboard)
    return dashboard


def full(dashboard: Any) -> None:
    now = dashboard.clock()
    minute = now.replace(second=0, microsecond=0)
    dashboard.put(
        "policies", hash="a" * 64, source="rules.yaml", text="version: 1", loaded_at=now, active=True
    )
    for number in range(1, 101):
        received_at = now - 2 * MINUTE
        dashboard.put(
            "deliveries",
            delivery_id=f"msg_{number}",
            received_at=received_at,
            signed_at=received_at,
            secret_label="primary",
            size=1,
            sha256="0" * 64,
            state="done",
            result="projected",
            finished_at=received_at + timedelta(milliseconds=10 * number),
        )
    for outcome, count in (("ok", 40), ("retried", 3), ("failed", 2)):
        dashboard.put("figures", minute=minute - MINUTE, series=f"queue.events.{outcome}", value=count)
    for order_id, hours, rule in (("sooner", 1, "rule-one"), ("later", 5, HOSTILE)):
        dashboard.put(
            "orders",
            id=order_id,
            open=True,
            facts={},
            facts_version=1,
            changed_at=now,
            method="testkit",
            status="received.testkit.ordered",
            status_name="ordered",
            outlook="will_cancel",
            outlook_rule=rule,
            outlook_at=now + timedelta(hours=hours),
        )


def decide(dashboard: Any, state: str, verdict: str = "cancel", ago: timedelta = timedelta(0)) -> None:
    at = dashboard.clock() - ago
    dashboard.put(
        "decisions",
        order_id=ORDER,
        space="live",
        rule="rule-one",
        verdict=verdict,
        state=state,
        trigger="due",
        at=at,
        last_at=at,
        facts_version=1,
        reason=HOSTILE,
        trace={},
    )


def tile(page: str, label: str) -> str:
    """What a tile shows, tags and all."""
    begins = page.index(f'<span class="label">{label}')
    return page[begins : begins + 400]


def test_the_first_page_is_the_overview(dashboard: Any) -> None:
    viewer = dashboard.sign_in("viewer")
    page = viewer.get("/").text
    assert "<h1>Overview</h1>" in page
    assert 'href="/" data-key="h" aria-current="page"' in page


def test_tiles_say_how_fast_deliveries_come_and_get_through(put_all: Any) -> None:
    page = put_all.sign_in("viewer").get("/").text
    assert "100 in the last hour" in tile(page, "Webhooks a minute")
    assert "950 ms" in tile(page, "Processing lag, p95")


def test_what_is_not_known_is_no_zero(open_dashboard: Any, sqlite_url: str) -> None:
    page = open_dashboard(sqlite_url, "redis://127.0.0.1:1").sign_in("viewer").get("/").text
    for label in ("Ready", "Dead", "Processing lag, p95"):
        assert '<span class="value">–</span>' in tile(page, label)
    assert "Redis does not answer" in page


def test_endings_of_today_are_told_apart(put_all: Any) -> None:
    for state, verdict in (
        ("confirmed", "cancel"),
        ("confirmed", "cancel"),
        ("confirmed", "review"),
        ("refused", "cancel"),
        ("refused", "cancel"),
        ("failed", "cancel"),
        ("partial", "cancel"),
        ("acting", "cancel"),
        ("final", "keep"),
    ):
        decide(put_all, state, verdict)
    decide(put_all, "confirmed", ago=timedelta(days=2))
    shown = put_all.sign_in("viewer").get("/").text
    for count, word in ((2, "by rules"), (1, "approved"), (3, "failed"), (1, "partial")):
        assert f"<strong>{count}</strong> {word}" in shown
    assert "1 under way" in shown


def test_what_closes_sooner_stands_first(put_all: Any, links: Callable[[str], set[str]]) -> None:
    page = put_all.sign_in("viewer").get("/").text
    assert page.index('href="/orders/sooner"') < page.index('href="/orders/later"')
    assert "in 59 min" in page or "in 1 h 00 m" in page
    assert "/orders?outcome=will_cancel" in links(page)


def test_what_waits_for_a_person_is_listed(put_all: Any) -> None:
    decide(put_all, "open", "review")
    page = put_all.sign_in("viewer").get("/").text
    assert "/decisions?state=open" in page
    assert "Nothing waits for a person" not in page


def test_the_chart_says_what_it_shows(put_all: Any) -> None:
    viewer = put_all.sign_in("viewer")
    for span in ("1h", "24h", "7d"):
        page = viewer.get(f"/?span={span}").text
        assert "40 ok, 3 to be tried again, 2 failed" in page
        assert f'href="/?span={span}" aria-current="true"' in page
    assert "over the last 1 hour" in viewer.get("/?span=bogus").text


def test_nothing_that_is_shown_is_taken_for_html(put_all: Any) -> None:
    decide(put_all, "open", "review")
    page = put_all.sign_in("viewer").get("/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_new_installation_is_led_step_by_step(open_dashboard: Any, sqlite_url: str, redis_url: str) -> None:
    dashboard = open_dashboard(sqlite_url, redis_url)
    viewer = dashboard.sign_in("viewer")

    def ticked(title: str) -> bool:
        page: str = viewer.get("/").text
        return f'<strong>{title}</strong><span class="hidden">: done.</span>' in page

    assert not ticked("Database migrated")
    assert "autocancel send examples/kit-ordered.json" in viewer.get("/").text
    now = dashboard.clock()
    dashboard.put(
        "processes",
        id="w:1",
        kind="worker",
        host="w",
        pid=1,
        version="1",
        queues="events",
        threads=8,
        started_at=now,
        seen_at=now,
        running=[],
    )
    assert ticked("Worker seen")
    assert not ticked("First webhook received")
    assert 'Secret set</strong><span class="hidden">: not known yet.' in viewer.get("/").text
    full(dashboard)
    assert "First steps" not in viewer.get("/").text


def test_events_without_rules_are_no_complete_installation(dashboard: Any) -> None:
    now = dashboard.clock()
    row = {
        "received_at": now,
        "signed_at": now,
        "secret_label": "a",
        "size": 1,
        "sha256": "0",
        "state": "foreign",
    }
    dashboard.put("deliveries", delivery_id="msg_1", **row)
    page = dashboard.sign_in("viewer").get("/").text
    assert "First steps" in page
    assert '<strong>First webhook received</strong><span class="hidden">: done.</span>' in page
    assert '<strong>Policy loaded</strong><span class="hidden">: to do.</span>' in page


def test_a_migrated_database_is_ticked(open_dashboard: Any, tmp_path: Any, redis_url: str) -> None:
    url = f"sqlite:///{tmp_path / 'migrated.db'}"
    store = open_store(url)
    upgrade(store)
    store.dispose()
    page = open_dashboard(url, redis_url).sign_in("viewer").get("/").text
    assert '<strong>Database migrated</strong><span class="hidden">: done.</span>' in page


def test_both_databases_tell_the_same(open_dashboard: Any, database_url: str, redis_url: str) -> None:
    dashboard = open_dashboard(database_url, redis_url)
    full(dashboard)
    decide(dashboard, "confirmed")
    page = dashboard.sign_in("viewer").get("/?span=7d").text
    assert "100 in the last hour" in tile(page, "Webhooks a minute")
    assert "40 ok, 3 to be tried again, 2 failed" in page
    assert "<strong>1</strong> by rules" in page


def test_live_regions_are_asked_for_every_ten_seconds_only(dashboard: Any) -> None:
    page = dashboard.sign_in("viewer").get("/").text
    assert 'hx-trigger="live:overview from:body"' in page


def test_a_percentile_leaves_out_the_slowest_five_of_a_hundred() -> None:
    lags = [timedelta(seconds=number) for number in range(100, 0, -1)]
    assert slowest_but_five_percent(lags) == timedelta(seconds=95)
    assert slowest_but_five_percent(lags[:1]) == timedelta(seconds=100)


def test_bars_stand_on_each_other_and_fill_their_share() -> None:
    now = datetime(2026, 11, 21, 9, 0, 30, tzinfo=UTC)
    times = spans(now, MINUTE, 3)
    assert times == [datetime(2026, 11, 21, 8, 58 + more, tzinfo=UTC) for more in (0, 1)] + [
        datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    ]
    chart = stacked({"ok": {times[1]: 6}, "failed": {times[1]: 4}}, ("ok", "failed"), times)
    assert [len(bar.pieces) for bar in chart.bars] == [0, 2, 0]
    ok, failed = chart.bars[1].pieces
    assert ok.y + ok.height == pytest.approx(HEIGHT)
    assert failed.y + failed.height == pytest.approx(ok.y)
    assert failed.y == pytest.approx(0)
    assert chart.totals == {"ok": 6, "failed": 4}
    assert [line.value for line in chart.lines] == [0, 5, 10]


@pytest.mark.parametrize(("value", "round_one"), [(0, 1), (1, 1), (3, 5), (10, 10), (11, 20), (99, 100)])
def test_scales_end_at_round_numbers(value: int, round_one: int) -> None:
    assert ceiling(value) == round_one
