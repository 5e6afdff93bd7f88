"""The timeline: one list out of many tables, with what was odd about each piece of news."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.dashboard.timeline import Change, differences, timeline

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def an_event(number: int, minute: int, seen: int | None = None, **changed: Any) -> dict[str, Any]:
    """Something that happened at a minute and was seen at another."""
    seen_at = NOW + (minute if seen is None else seen) * MINUTE
    usual = {
        "event_id": number, "at": NOW + minute * MINUTE, "status": "received.testkit.ordered", "detail": None,
        "delivery": number, "delivery_id": f"msg_{number}", "seen_at": seen_at, "received_at": seen_at,
    }  # fmt: skip
    return {**usual, **changed}


def a_delivery(number: int, minute: int, **changed: Any) -> dict[str, Any]:
    at = NOW + minute * MINUTE
    usual = {
        "id": number, "delivery_id": f"msg_{number}", "signed_at": at, "received_at": at,
        "secret_label": "main", "event_type": "labtest.order.updated", "state": "done",
        "result": "projected", "attempts": 1, "error": None, "duplicates": 0,
        "body": {"order": {"id": "order-1"}},
    }  # fmt: skip
    return {**usual, **changed}


def an_audit_line(number: int, minute: int) -> dict[str, Any]:
    return {
        "id": number, "at": NOW + minute * MINUTE, "actor": "ana", "action": "hold", "reason": "asked to",
        "before": None, "after": None, "role": "operator",
    }  # fmt: skip


def test_rows_of_all_kinds_stand_in_the_order_in_which_they_happened() -> None:
    entries = timeline(
        events=[an_event(1, 0), an_event(2, 10)], deliveries=[a_delivery(1, 5)], audit=[an_audit_line(1, 7)]
    )
    assert [entry.kind for entry in entries] == ["status", "webhook", "operator", "status"]
    assert [entry.after for entry in entries] == [None, 5 * MINUTE, 2 * MINUTE, 3 * MINUTE]


def test_late_news_stands_where_it_belongs_and_says_when_it_was_heard() -> None:
    entries = timeline(events=[an_event(1, 0), an_event(2, 1, seen=20), an_event(3, 10)])
    late = entries[1]
    assert late.marks == ("arrived out of order: it belongs in place 2",)
    assert late.heard_at == NOW + 20 * MINUTE
    assert entries[2].marks == ()


def test_what_only_a_look_brought_is_marked_synthetic() -> None:
    (entry,) = timeline(events=[an_event(1, 0, delivery=None, delivery_id=None, received_at=None)])
    assert entry.marks == ("synthetic: seen by a look of ours",)


def test_a_status_nobody_knows_is_marked() -> None:
    (entry,) = timeline(events=[an_event(1, 0, status="received.testkit.on_the_moon")])
    assert entry.marks == ("a status that nobody knows here",)


def test_duplicates_and_replays_are_marked() -> None:
    duplicate, replayed, late = timeline(
        deliveries=[
            a_delivery(1, 0, duplicates=2),
            a_delivery(2, 1, result="no_change"),
            a_delivery(3, 2, result="out_of_order"),
        ]
    )
    assert duplicate.marks == ("duplicate: came 2 times more and was ignored",)
    assert replayed.marks == ("replayed: the same content under a new id",)
    assert late.marks == ("arrived out of order",)


def test_a_webhook_tells_what_it_changed_against_the_one_before() -> None:
    before = {"order": {"status": "a", "events": [{"id": 1, "status": "a"}]}}
    after = {"order": {"status": "b", "events": [{"id": 2, "status": "b"}, {"id": 1, "status": "a"}]}}
    first, second = timeline(deliveries=[a_delivery(1, 0, body=before), a_delivery(2, 1, body=after)])
    assert first.changes is None
    assert second.changes == (
        Change("order.events[2].id", None, 2),
        Change("order.events[2].status", None, "b"),
        Change("order.status", "a", "b"),
    )


def test_a_webhook_whose_body_is_gone_is_passed_over_when_comparing() -> None:
    bodies: list[Any] = [{"a": 1}, None, {"a": 2}]
    entries = timeline(deliveries=[a_delivery(n, n, body=body) for n, body in enumerate(bodies)])
    assert [entry.changes for entry in entries] == [None, None, (Change("a", 1, 2),)]


def test_what_was_removed_is_a_difference_too() -> None:
    assert list(differences({"a": 1, "b": 2}, {"a": 1})) == [Change("b", 2, None)]
