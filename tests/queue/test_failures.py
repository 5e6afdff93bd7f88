"""Failures with the same cause are one thing to look at, and what became of each is known."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine

from workers.store.database import writing
from workers.store.failures import (
    Failure,
    FailureFilter,
    count_states,
    failed_again,
    list_failures,
    list_groups,
    orders_of_group,
    record_failure,
    resolved_groups,
    settle,
    times_by_group,
    unsettled_ids,
)
from workers.store.processes import (
    Process,
    list_processes,
    record_process,
    remove_processes_unseen_since,
)

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
BROKEN = Failure(
    queue="orders",
    actor="evaluate",
    error="KeyError",
    place="workers.handlers:evaluate",
    args={"ids": ["order-1"]},
    version="v1",
    attempts=4,
    at=NOON,
    message_id="m1",
    order_id="order-1",
)


@pytest.fixture
def connection(store: Engine) -> Iterator[Connection]:
    with writing(store) as connection:
        yield connection


def test_failures_with_the_same_cause_are_one_group(connection: Connection) -> None:
    record_failure(connection, BROKEN)
    record_failure(connection, replace(BROKEN, actor="act"))
    again = replace(BROKEN, order_id="order-2", version="v2", at=NOON + timedelta(hours=1))
    newest = record_failure(connection, again)

    last, other = list_groups(connection)
    assert (last.size, last.orders, last.first_at, last.last_at) == (2, 2, NOON, again.at)
    assert (last.sample.id, last.sample.failure, last.sample.state) == (newest, again, "open")
    assert other.fingerprint == "act KeyError workers.handlers:evaluate"


def test_the_rows_of_a_group_are_read_page_by_page(connection: Connection) -> None:
    ids = [record_failure(connection, BROKEN) for _ in range(3)]
    first_page = list_failures(connection, BROKEN.fingerprint, limit=2)
    rest = list_failures(connection, BROKEN.fingerprint, before=first_page[-1].id)
    assert [row.id for row in (*first_page, *rest)] == ids[::-1]


def test_what_was_settled_once_stays_so(connection: Connection) -> None:
    ids = [record_failure(connection, BROKEN) for _ in range(2)]
    later = NOON + timedelta(hours=1)
    assert settle(connection, ids[:1], "acknowledged", actor="ana", reason="looking", now=NOON) == 1
    assert settle(connection, ids[:1], "resolved", actor="ana", reason="fixed", now=later) == 1
    assert settle(connection, ids, "discarded", actor="ben", reason="old", now=later) == 1

    (fixed,) = list_failures(connection, BROKEN.fingerprint, "resolved")
    assert (fixed.id, fixed.resolved_by, fixed.reason, fixed.resolved_at) == (ids[0], "ana", "fixed", later)
    assert list_groups(connection) == ()


def test_a_replayed_message_that_failed_again_is_known(connection: Connection) -> None:
    ids = [record_failure(connection, replace(BROKEN, message_id=f"m{number}")) for number in range(3)]
    settle(connection, ids, "replayed", actor="ana", reason="fixed", now=NOON)
    record_failure(connection, replace(BROKEN, message_id="m1"))
    assert failed_again(connection, BROKEN.fingerprint) == 1


def test_processes_that_died_without_a_word_are_forgotten_in_time(connection: Connection) -> None:
    seen = Process("a:1:0", "worker", "a", 1, "v1", ("orders",), 8, 4096, started_at=NOON, seen_at=NOON)
    later = replace(seen, id="b:1:0", seen_at=NOON + timedelta(hours=1))
    for process in (seen, later):
        record_process(connection, process)
    assert remove_processes_unseen_since(connection, NOON + timedelta(minutes=1)) == 1
    assert list_processes(connection) == (later,)


def test_failures_are_chosen_by_whatever_is_known_of_them(connection: Connection) -> None:
    hour = timedelta(hours=1)
    old = record_failure(connection, BROKEN)
    other = record_failure(connection, replace(BROKEN, queue="actions", actor="act", order_id=None))
    late = record_failure(connection, replace(BROKEN, error="ValueError", order_id="order-2", at=NOON + hour))
    settle(connection, [record_failure(connection, BROKEN)], "discarded", actor="ana", reason="r", now=NOON)
    for wanted, ids in (
        (FailureFilter(), [old, other, late]),
        (FailureFilter(fingerprint=BROKEN.fingerprint), [old]),
        (FailureFilter(queue="actions"), [other]),
        (FailureFilter(error="ValueError"), [late]),
        (FailureFilter(order_id="order-2"), [late]),
        (FailureFilter(since=NOON + hour), [late]),
        (FailureFilter(to=NOON + hour), [old, other]),
    ):
        assert unsettled_ids(connection, wanted, 10) == ids
        assert count_states(connection, wanted).get("open", 0) == len(ids)
        assert {group.sample.id for group in list_groups(connection, wanted=wanted)} == set(ids)
    assert [group.sample.id for group in list_groups(connection, before=late)] == [other, old]


def test_what_is_told_of_a_cause(connection: Connection) -> None:
    for number, order_id in enumerate(("order-1", "order-2", None, "order-1")):
        record_failure(connection, replace(BROKEN, order_id=order_id, at=NOON + timedelta(hours=number)))
    assert orders_of_group(connection, BROKEN.fingerprint, "open", 10) == ("order-1", "order-2")
    assert len(times_by_group(connection)[BROKEN.fingerprint]) == 4
    assert resolved_groups(connection, [BROKEN.fingerprint]) == {}
    for ids, hours in (([1], 5), ([2], 7)):
        at = NOON + timedelta(hours=hours)
        settle(connection, ids, "resolved", actor="ana", reason="fixed", now=at)
    assert resolved_groups(connection, [BROKEN.fingerprint]) == {
        BROKEN.fingerprint: NOON + timedelta(hours=7)
    }
