"""System: versions, settings without secrets, Redis, the database, clocks."""

from typing import Any

import pytest
import redis

from receiver.dashboard.system_page import size
from workers.permits import FAILURES_TO_OPEN, JUNCTION, Granted, Permits
from workers.store.database import open_store
from workers.store.migrate import upgrade
from workers.version import VERSION

HOSTILE = "<script>alert(1)</script>"


def process(dashboard: Any, version: str, **fields: Any) -> None:
    now = dashboard.clock()
    usual = {
        "id": f"host:{version}"[:64],
        "kind": "worker",
        "host": "host",
        "pid": 7,
        "version": version,
        "queues": "events",
        "threads": 8,
        "rss_kb": 91_000,
        "started_at": now,
        "seen_at": now,
        "running": [],
    }
    dashboard.put("processes", **(usual | fields))


def test_processes_of_one_version_agree(dashboard: Any) -> None:
    process(dashboard, VERSION)
    page = dashboard.sign_in("viewer").get("/system").text
    assert "The same" in page
    assert "88.9 MB" in page


def test_a_process_of_another_version_stands_out(dashboard: Any) -> None:
    process(dashboard, VERSION)
    process(dashboard, "9.9.9")
    page = dashboard.sign_in("viewer").get("/system").text
    assert "Not the same" in page
    assert page.count("differs") == 1


def test_settings_are_shown_without_their_secrets(open_dashboard: Any, sqlite_url: str) -> None:
    secret_url = "redis://:a-password@127.0.0.1:1/0"
    page = open_dashboard(sqlite_url, secret_url).sign_in("admin").get("/system").text
    assert "AUTOCANCEL_DASHBOARD_STREAMS" in page
    assert page.count("•••••• (set)") == 2  # DATABASE_URL and REDIS_URL
    for secret in ("a-password", sqlite_url, "127.0.0.1:1"):
        assert secret not in page


def test_a_redis_that_may_throw_messages_away_is_warned_about(dashboard: Any, redis_url: str) -> None:
    viewer = dashboard.sign_in("viewer")
    assert "It may throw messages away" not in viewer.get("/system").text
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            page = viewer.get("/system").text
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert "allkeys-lru" in page
    assert "It may throw messages away" in page


def test_a_redis_that_is_away_is_unknown_and_the_rest_is_shown(open_dashboard: Any, sqlite_url: str) -> None:
    answer = open_dashboard(sqlite_url, "redis://127.0.0.1:1").sign_in("viewer").get("/system")
    assert answer.status_code == 200
    assert "It does not answer" in answer.text
    assert "SQLite" in answer.text


def test_a_schema_of_another_version_is_told(dashboard: Any) -> None:
    viewer = dashboard.sign_in("viewer")
    assert "autocancel db upgrade" in viewer.get("/system").text


def test_the_database_tells_its_kind_and_revision(
    open_dashboard: Any, database_url: str, redis_url: str
) -> None:
    store = open_store(database_url)
    upgrade(store)
    store.dispose()
    dashboard = open_dashboard(database_url, redis_url)
    now = dashboard.clock()
    dashboard.put("policies", hash="abc", source=HOSTILE, text="", loaded_at=now, active=True)
    page = dashboard.sign_in("viewer").get("/system").text
    assert ("SQLite" if database_url.startswith("sqlite") else "PostgreSQL") in page
    assert "Up to date" in page
    assert "In force" in page
    assert "<script>alert" not in page


def test_clocks_that_disagree_are_told(dashboard: Any) -> None:
    viewer = dashboard.sign_in("viewer")
    assert "Disagree" not in viewer.get("/system").text
    dashboard.clock.advance(minutes=2)
    page = viewer.get("/system").text
    assert "Disagree" in page
    assert "120.0 s behind" in page


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1_023, "1023 bytes"), (2_048, "2 kB"), (5 << 40, "5.0 TB")]
)
def test_sizes_are_told_in_units_that_people_read(count: int, text: str) -> None:
    assert size(count) == text


def test_it_tells_how_calls_to_junction_fare(dashboard: Any, redis_url: str) -> None:
    viewer = dashboard.sign_in("viewer")
    assert "Go through" in viewer.get("/system").text
    with redis.Redis.from_url(redis_url) as client:
        permits = Permits(client, JUNCTION, 1.0, 1)
        permits.back_off(90.0)
        for _ in range(FAILURES_TO_OPEN):
            permits.report(Granted(probe=False), ok=False)
    dashboard.clock.advance(minutes=1)
    page = viewer.get("/system").text
    assert "Held back" in page
    assert "s more (429)" in page
    assert "Junction does not answer" in page
