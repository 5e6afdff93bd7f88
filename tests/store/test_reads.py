"""The operators' lists on both databases: what a filter finds, page by page, and how few queries it takes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert

from workers.store import reads
from workers.store.database import open_store, reading, writing
from workers.store.reads import DecisionFilter, OrderFilter
from workers.store.schema import decisions, deliveries, failures, holds, metadata, order_events, orders

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store(database_url: str) -> Iterator[Engine]:
    engine = open_store(database_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def put_order(
    connection: Connection, order_id: str, status: str = "received.testkit.ordered", **columns: Any
) -> None:
    level, method, name = status.split(".")
    row = {
        "id": order_id,
        "method": method,
        "status": status,
        "status_name": name,
        "open": level not in {"completed", "cancelled", "failed"},
        "facts": {},
        "facts_version": 1,
        "changed_at": NOW,
    }
    connection.execute(insert(orders).values({**row, **columns}))


def put_event(connection: Connection, order_id: str, event_id: int, status: str) -> None:
    connection.execute(
        insert(order_events).values(order_id=order_id, event_id=event_id, at=NOW, status=status, seen_at=NOW)
    )


def put_decision(connection: Connection, order_id: str, **columns: Any) -> int:
    row = {
        "order_id": order_id,
        "space": "live",
        "verdict": "keep",
        "state": "final",
        "trigger": "due",
        "at": NOW,
        "last_at": NOW,
        "facts_version": 1,
        "reason": "a reason",
        "trace": {"rules": []},
    }
    found: int = connection.execute(
        insert(decisions).values({**row, **columns}).returning(decisions.c.id)
    ).scalar_one()
    return found


def ids(store: Engine, **wanted: Any) -> set[str]:
    with reading(store) as connection:
        return {row["id"] for row in reads.list_orders(connection, OrderFilter(**wanted))}


def test_the_pages_of_a_list_hold_every_order_once_even_when_all_changed_at_once(store: Engine) -> None:
    with writing(store) as connection:
        for number in range(7):
            put_order(connection, f"order-{number}")
    seen: list[str] = []
    before = None
    with reading(store) as connection:
        while page := reads.list_orders(connection, before=before, limit=3):
            seen += [row["id"] for row in page]
            before = (page[-1]["changed_at"], page[-1]["id"])
    assert seen == [f"order-{number}" for number in reversed(range(7))]


def test_the_page_after_a_place_leads_back_to_what_was_shown_before(store: Engine) -> None:
    with writing(store) as connection:
        for number in range(6):
            put_order(connection, f"order-{number}", changed_at=NOW + number * DAY)
    with reading(store) as connection:
        first = reads.list_orders(connection, limit=2)
        second = reads.list_orders(connection, before=(first[-1]["changed_at"], first[-1]["id"]), limit=2)
        back = reads.list_orders(connection, after=(second[0]["changed_at"], second[0]["id"]), limit=2)
    assert [row["id"] for row in second] == ["order-3", "order-2"]
    assert back == first


def test_orders_are_found_by_high_level_by_low_level_and_by_method(store: Engine) -> None:
    with writing(store) as connection:
        put_order(connection, "kit")
        put_order(connection, "done", "completed.testkit.completed")
        put_order(connection, "visit", "collecting_sample.walk_in_test.appointment_pending")
    assert ids(store, statuses=("ordered",)) == {"kit"}
    assert ids(store, statuses=("completed",)) == {"done"}
    assert ids(store, statuses=("collecting_sample", "ordered")) == {"visit", "kit"}
    assert ids(store, methods=("walk_in_test",)) == {"visit"}


def test_a_percent_sign_in_a_filter_matches_itself_only(store: Engine) -> None:
    with writing(store) as connection:
        put_order(connection, "kit")
    assert ids(store, statuses=("%",)) == ids(store, text="%") == set()


def test_a_kit_back_in_received_after_delivery_is_not_listed_as_open(store: Engine) -> None:
    with writing(store) as connection:
        put_order(connection, "at-home", "received.testkit.requisition_created")
        put_event(connection, "at-home", 1, "collecting_sample.testkit.with_customer")
        put_order(connection, "tracked", "received.testkit.ordered", facts={"outbound_tracking": True})
        put_order(connection, "untouched", "received.testkit.requisition_created")
        put_event(connection, "untouched", 2, "received.testkit.ordered")
    assert ids(store, openings=("open",)) == {"untouched"}
    assert ids(store, openings=("closed",)) == {"at-home", "tracked"}


def test_every_order_stands_in_exactly_one_opening(store: Engine) -> None:
    with writing(store) as connection:
        put_order(connection, "open")
        put_order(connection, "registered", "received.testkit.registered")
        put_event(connection, "registered", 1, "received.testkit.registered")
        put_order(connection, "shipped", "collecting_sample.testkit.transit_customer")
        put_order(connection, "done", "completed.testkit.completed")
        put_order(connection, "reinstated", reinstated=True)
        put_order(connection, "strange", "received.testkit.on_the_moon")
        put_order(connection, "quarrel", method=None)
    found = {opening: ids(store, openings=(opening,)) for opening in reads._OPENINGS}
    assert found == {
        "open": {"open"},
        "opt_in": {"registered"},
        "closed": {"shipped", "reinstated"},
        "ended": {"done"},
        "unknown": {"strange", "quarrel"},
    }


def test_an_order_is_found_by_its_id_its_user_its_event_and_its_delivery(store: Engine) -> None:
    with writing(store) as connection:
        put_order(connection, "wanted", user_id="user-1")
        put_order(connection, "other", user_id="user-2")
        put_event(connection, "wanted", 4711, "received.testkit.ordered")
        connection.execute(
            insert(deliveries).values(
                delivery_id="msg_1", received_at=NOW, signed_at=NOW, secret_label="new", order_id="wanted",
                size=1, sha256="0", state="done",
            )
        )  # fmt: skip
    for text in ("wanted", "user-1", "4711", "msg_1"):
        assert ids(store, text=text) == {"wanted"}
    for text in ("99", "9" * 40, "²", "wan"):
        assert ids(store, text=text) == set()


def test_held_and_failing_orders_are_found(store: Engine) -> None:
    with writing(store) as connection:
        for name in ("plain", "held", "blind", "dead"):
            put_order(connection, name)
        connection.execute(insert(holds).values(order_id="held", at=NOW, actor="ana", reason="asked"))
        connection.execute(
            orders.update().where(orders.c.id == "blind").values(outlook="waits", outlook_why="no_answer")
        )
        connection.execute(
            insert(failures).values(
                queue="orders", actor="evaluate", fingerprint="f", error="E", place="p", args={},
                order_id="dead", version="1", attempts=3, at=NOW, state="open",
            )
        )  # fmt: skip
    assert ids(store, held=True) == {"held"}
    assert ids(store, failing=True) == {"blind", "dead"}


def test_a_range_holds_its_beginning_and_not_its_end(store: Engine) -> None:
    with writing(store) as connection:
        for number in range(3):
            put_order(connection, f"day-{number}", created_at=NOW + number * DAY)
    assert ids(store, created_from=NOW + DAY, created_to=NOW + 2 * DAY) == {"day-1"}


def test_counting_stops_at_the_cap(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "CAP", 3)
    with writing(store) as connection:
        for number in range(5):
            put_order(connection, f"order-{number}", "received.testkit.ordered")
            put_decision(connection, f"order-{number}")
    with reading(store) as connection:
        assert reads.count_orders(connection) == reads.count_decisions(connection) == 4
        assert reads.count_orders(connection, OrderFilter(text="order-1")) == 1


def test_decisions_are_found_by_verdict_state_rule_order_and_time(store: Engine) -> None:
    with writing(store) as connection:
        kept = put_decision(connection, "a", rule="stuck")
        asked = put_decision(connection, "b", verdict="review", state="open", rule="late", at=NOW + DAY)
    finds = [
        (kept, DecisionFilter(verdicts=("keep",))),
        (kept, DecisionFilter(order_id="a")),
        (kept, DecisionFilter(at_to=NOW + DAY)),
        (asked, DecisionFilter(states=("open",))),
        (asked, DecisionFilter(rules=("late",))),
        (asked, DecisionFilter(at_from=NOW + DAY)),
    ]
    with reading(store) as connection:
        for found, wanted in finds:
            assert [row["id"] for row in reads.list_decisions(connection, wanted)] == [found]
        assert [row["id"] for row in reads.list_decisions(connection, before=asked)] == [kept]
        assert [row["id"] for row in reads.list_decisions(connection, after=kept)] == [asked]


def test_the_latest_decisions_of_many_orders_take_one_query(store: Engine) -> None:
    with writing(store) as connection:
        for number in range(5):
            put_decision(connection, f"order-{number}", reason="older")
            put_decision(connection, f"order-{number}", reason="newer")
    seen: list[str] = []
    event.listen(store, "before_cursor_execute", lambda _c, _k, statement, *_: seen.append(statement))
    with reading(store) as connection:
        found = reads.latest_decisions(connection, [f"order-{number}" for number in range(5)])
    assert {row["reason"] for row in found.values()} == {"newer"}
    assert len(found) == 5
    assert len([statement for statement in seen if statement.startswith("SELECT")]) == 1
