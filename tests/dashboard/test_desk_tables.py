"""Users, sessions, previews and counts in the store, the same on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert

from workers.store import previews, sessions, users, watch
from workers.store.database import open_store, reading, writing
from workers.store.schema import decisions, figures, metadata, orders, rejections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from tests.dashboard.conftest import OpenDashboard

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
PASSWORD = "correct horse battery"


@pytest.fixture
def store(database_url: str) -> Iterator[Engine]:
    engine = open_store(database_url)
    metadata.create_all(engine)
    with writing(engine) as connection:
        users.add(connection, "ana", PASSWORD, "operator", NOON)
    yield engine
    engine.dispose()


def test_the_right_password_tells_the_role(store: Engine) -> None:
    assert users.check_password(store, "ana", PASSWORD, NOON) == "operator"
    assert users.check_password(store, "ana", PASSWORD.upper(), NOON) is None
    assert users.check_password(store, "nobody", PASSWORD, NOON) is None


def test_each_further_wrong_password_doubles_the_wait(store: Engine) -> None:
    now = NOON
    for _ in range(users.FREE_TRIES - 1):
        users.check_password(store, "ana", "wrong", now)
    for wait in (users.FIRST_WAIT, users.FIRST_WAIT * 2, users.FIRST_WAIT * 4):
        assert users.check_password(store, "ana", "wrong", now) is None
        assert users.check_password(store, "ana", PASSWORD, now + wait * 0.9) is None
        now += wait
    assert users.check_password(store, "ana", PASSWORD, now) == "operator"


def test_a_new_password_ends_sessions_and_waits(store: Engine) -> None:
    for _ in range(users.FREE_TRIES):
        users.check_password(store, "ana", "wrong", NOON)
    with writing(store) as connection:
        sessions.begin(connection, "cookie", "ana", NOON)
        assert users.set_password(connection, "ana", "another good one")
        assert sessions.find(connection, "cookie", NOON) is None
    assert users.check_password(store, "ana", "another good one", NOON) == "operator"


def test_a_session_is_found_by_its_cookie_alone(store: Engine) -> None:
    with writing(store) as connection:
        sessions.begin(connection, "cookie", "ana", NOON)
        found = sessions.find(connection, "cookie", NOON)
        assert found is not None
        assert (found.user, found.role) == ("ana", "operator")
        assert sessions.find(connection, found.id, NOON) is None


def test_sessions_that_ran_out_are_forgotten_when_somebody_signs_in(store: Engine) -> None:
    with writing(store) as connection:
        sessions.begin(connection, "old", "ana", NOON)
        sessions.begin(connection, "new", "ana", NOON + sessions.LONGEST_IDLE)
        assert sessions.find(connection, "old", NOON) is None


def test_a_preview_is_claimed_once(store: Engine) -> None:
    with writing(store) as connection:
        previews.freeze(connection, "p", "ana", "orders:hold", ["a", "b"], NOON)
        assert previews.claim(connection, "p", "bob", NOON) is None
        claimed = previews.claim(connection, "p", "ana", NOON)
        assert claimed is not None
        assert claimed.ids == ("a", "b")
        assert previews.claim(connection, "p", "ana", NOON) is None
        previews.note_result(connection, "p", {"held": 2})
        done = previews.load(connection, "p", "ana")
        assert done is not None
        assert (done.done_at, done.result) == (NOON, {"held": 2})


def test_what_waits_for_a_person_is_counted_with_its_newest_sign(store: Engine) -> None:
    with writing(store) as connection:
        connection.execute(
            insert(rejections),
            [
                {"minute": NOON - timedelta(minutes=ago), "reason": reason, "count": 3, "last_at": NOON}
                for ago in (1, 5, 15)
                for reason in ("signature_wrong", "body_too_large")
            ],
        )
        connection.execute(
            insert(orders).values(id="o", open=True, facts={}, facts_version=1, changed_at=NOON)
        )
        connection.execute(
            insert(decisions).values(
                order_id="o", space="live", verdict="review", state="open", trigger="timer", at=NOON,
                last_at=NOON, facts_version=1, reason="", trace={},
            )
        )  # fmt: skip
    with reading(store) as connection:
        counts = watch.counts(connection, NOON)
    assert (counts.bad_signatures, counts.bad_signatures_before) == (6, 3)
    assert (counts.open_decisions, counts.newest_open_decision_at) == (1, NOON)
    assert (counts.open_failures, counts.newest_failure_at) == (0, None)


def test_counters_are_read_by_the_beginning_of_their_name(store: Engine) -> None:
    with writing(store) as connection:
        for series in ("queue.events.ok", "queueXevents.ok", "queue.orders.ok"):
            connection.execute(insert(figures).values(minute=NOON, series=series, value=2))
    with reading(store) as connection:
        found = watch.figures_between(connection, "queue.events.", NOON, NOON + timedelta(minutes=1))
        none = watch.figures_between(connection, "queue.", NOON - timedelta(minutes=1), NOON)
    assert (found, none) == ({"queue.events.ok": {NOON: 2}}, {})


def test_the_pages_work_on_both_databases(
    open_dashboard: OpenDashboard, database_url: str, redis_url: str
) -> None:
    dashboard = open_dashboard(database_url, redis_url)
    browser = dashboard.sign_in()
    assert browser.post("/queues/events/pause", data={"reason": "try"}).status_code == 303
    for state in ("open", "replayed"):
        dashboard.put(
            "failures", queue="orders", actor="evaluate", fingerprint="f", error="E", place="p", version="v1",
            args={"ids": ["o"]}, attempts=3, at=dashboard.clock(), state=state,
        )  # fmt: skip
    for address in [
        "/queues",
        "/queues/events",
        "/dead-letters",
        "/dead-letters/cause?cause=f",
        "/jump?q=m1",
    ]:
        assert browser.get(address).status_code == 200, address
    answer = browser.post("/dead-letters/previews", data={"action": "replay", "all": "f"})
    browser.post(answer.headers["location"], data={"reason": "try"})
    assert "Sent anew" in browser.get(answer.headers["location"]).text
