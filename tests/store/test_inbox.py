"""The inbox on both databases: every delivery once, and every one worked on, save the one that kills."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, Row, event, select
from sqlalchemy.exc import DBAPIError

from workers.store import inbox
from workers.store.database import reading, writing
from workers.store.inbox import GRACE, MAX_ATTEMPTS, Arrival, Taken
from workers.store.schema import deliveries, metadata, rejections

NOW = datetime(2026, 3, 4, 12, 30, 15, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
LEASE = timedelta(minutes=1)

Statements = list[str]


@pytest.fixture
def statements(store: Engine) -> Statements:
    """The first word of each statement sent to the database."""
    seen: Statements = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement.split()[0])

    event.listen(store, "before_cursor_execute", note)
    return seen


def an_arrival(delivery_id: str = "msg_1", **changed: Any) -> Arrival:
    usual: dict[str, Any] = {
        "signed_at": NOW,
        "secret_label": "main",
        "size": 2,
        "sha256": "0" * 64,
        "state": "new",
        "event_type": "labtest.order.created",
        "team_id": "team",
        "order_id": "order-1",
        "body": {"event_type": "labtest.order.created"},
    }
    return Arrival(delivery_id, **{**usual, **changed})


def an_unreadable(delivery_id: str = "msg_1") -> Arrival:
    return an_arrival(
        delivery_id, state="unreadable", event_type=None, team_id=None, order_id=None, body=None
    )


def stored(store: Engine, count: int, now: datetime = NOW) -> list[int]:
    """The ids of so many new rows."""
    return [
        recorded.id
        for recorded in inbox.commit(store, [an_arrival(f"msg_{n:02}") for n in range(count)], now)
    ]


def take(store: Engine, ids: list[int], now: datetime = NOW) -> Taken:
    with writing(store) as connection:
        return inbox.take(connection, ids, now, LEASE)


def finish(store: Engine, results: dict[int, str], now: datetime = NOW) -> None:
    with writing(store) as connection:
        inbox.finish(connection, results, now)


def unfinished(store: Engine, now: datetime, limit: int = 100) -> list[int]:
    with reading(store) as connection:
        return inbox.unfinished(connection, now, limit)


def rows(store: Engine) -> list[Row[Any]]:
    with reading(store) as connection:
        return list(connection.execute(select(deliveries).order_by(deliveries.c.id)))


class TestRecording:
    def test_a_batch_is_one_transaction_with_one_insert(self, store: Engine, statements: Statements) -> None:
        commits: list[object] = []
        event.listen(store, "commit", commits.append)
        recorded = inbox.commit(store, [an_arrival(f"msg_{n:02}") for n in range(50)], NOW)
        assert [(answer.outcome, answer.waits) for answer in recorded] == [("accepted", True)] * 50
        assert [row.id for row in rows(store)] == [answer.id for answer in recorded]
        assert statements.count("INSERT") == 1
        assert len(commits) - 1 == 1  # one was `rows`

    def test_answers_come_in_the_order_of_the_arrivals(self, store: Engine) -> None:
        names = ["msg_b", "msg_c", "msg_a"]
        recorded = inbox.commit(store, [an_arrival(name) for name in names], NOW)
        by_id = {row.id: row.delivery_id for row in rows(store)}
        assert [by_id[answer.id] for answer in recorded] == names

    def test_a_duplicate_is_counted_and_changes_nothing_else(self, store: Engine) -> None:
        (first,) = inbox.commit(store, [an_arrival()], NOW)
        before = rows(store)[0]
        (again,) = inbox.commit(store, [an_arrival(body={"other": 1}, order_id="order-2")], LATER)
        assert (again.id, again.outcome, again.waits) == (first.id, "duplicate", False)
        after = rows(store)[0]
        assert (after.duplicates, after.last_duplicate_at) == (1, LATER)
        assert after[: len(after) - 2] == before[: len(before) - 2]

    def test_duplicates_within_a_batch_are_counted(self, store: Engine) -> None:
        arrivals = [an_arrival("msg_1"), an_arrival("msg_2"), an_arrival("msg_1"), an_arrival("msg_1")]
        recorded = inbox.commit(store, arrivals, NOW)
        assert [answer.outcome for answer in recorded] == ["accepted", "accepted", "duplicate", "duplicate"]
        assert recorded[0].id == recorded[2].id == recorded[3].id
        assert [answer.waits for answer in recorded] == [True, True, False, False]
        assert [row.duplicates for row in rows(store)] == [2, 0]

    def test_what_is_set_aside_at_the_door_does_not_wait_for_a_worker(self, store: Engine) -> None:
        recorded = inbox.commit(store, [an_unreadable("msg_1"), an_arrival("msg_2", state="foreign")], NOW)
        assert [answer.waits for answer in recorded] == [False, False]
        assert unfinished(store, LATER) == []

    def test_a_readable_resend_fills_an_unreadable_row_again(self, store: Engine) -> None:
        (first,) = inbox.commit(store, [an_unreadable()], NOW)
        (again,) = inbox.commit(store, [an_arrival()], LATER)
        assert (again.id, again.outcome, again.waits) == (first.id, "duplicate", True)
        (row,) = rows(store)
        assert (row.state, row.order_id, row.received_at) == ("new", "order-1", LATER)
        assert row.body == {"event_type": "labtest.order.created"}

    def test_an_unreadable_resend_of_an_unreadable_row_stays_one(self, store: Engine) -> None:
        inbox.commit(store, [an_unreadable()], NOW)
        (again,) = inbox.commit(store, [an_unreadable()], LATER)
        assert (again.outcome, again.waits) == ("duplicate", False)

    def test_a_resend_of_a_quarantined_row_starts_it_afresh(self, store: Engine) -> None:
        (row_id,) = stored(store, 1)
        with writing(store) as connection:
            inbox.quarantine(connection, row_id, "KeyError at x:y", NOW)
        (again,) = inbox.commit(store, [an_arrival("msg_00")], LATER)
        assert again.waits
        (row,) = rows(store)
        assert (row.state, row.attempts, row.error, row.finished_at) == ("new", 0, None, None)

    def test_a_finished_row_is_not_worked_on_again(self, store: Engine) -> None:
        (row_id,) = stored(store, 1)
        finish(store, {row_id: "projected"})
        (again,) = inbox.commit(store, [an_arrival("msg_00")], LATER)
        assert not again.waits
        assert rows(store)[0].state == "done"

    def test_a_value_the_database_refuses_costs_that_delivery_its_content_and_no_other_anything(
        self, store: Engine
    ) -> None:
        # Neither database takes half a surrogate pair in text; the door lets none through.
        arrivals = [an_arrival("msg_1"), an_arrival("msg_2", order_id="\ud800"), an_arrival("msg_3")]
        recorded = inbox.commit(store, arrivals, NOW)
        assert [answer.outcome for answer in recorded] == ["accepted"] * 3
        assert [answer.waits for answer in recorded] == [True, False, True]
        assert [row.state for row in rows(store)] == ["new", "unreadable", "new"]

    def test_receivers_with_the_same_deliveries_at_once_store_each_once_and_never_block_each_other(
        self, store: Engine
    ) -> None:
        receivers, rounds, size = 4, 8, 400
        together = Barrier(receivers, timeout=30)

        def receive(number: int) -> list[str]:
            outcomes: list[str] = []
            for turn in range(rounds):
                names = [f"msg_{turn}_{n}" for n in range(size)]
                start = number * size // receivers  # each in another order
                arrivals = [an_arrival(name) for name in names[start:] + names[:start]]
                together.wait()
                outcomes += [answer.outcome for answer in inbox.commit(store, arrivals, NOW)]
            return outcomes

        with ThreadPoolExecutor(receivers) as threads:
            outcomes = [outcome for found in threads.map(receive, range(receivers)) for outcome in found]
        assert outcomes.count("accepted") == rounds * size
        assert {row.duplicates for row in rows(store)} == {receivers - 1}


class TestTaking:
    def test_new_rows_are_taken_together_and_their_attempt_counted(self, store: Engine) -> None:
        ids = stored(store, 3)
        taken = take(store, ids)
        assert [row.id for row in taken.rows] == ids
        assert [row.attempts for row in taken.rows] == [1, 1, 1]
        assert (taken.quarantined, taken.left) == ([], [])
        assert [(row.attempts, row.leased_until) for row in rows(store)] == [(1, NOW + LEASE)] * 3

    def test_a_taken_row_is_nobody_elses_until_its_lease_has_run_out(self, store: Engine) -> None:
        ids = stored(store, 1)
        take(store, ids)
        assert take(store, ids, NOW + LEASE - timedelta(seconds=1)) == Taken([], [], [])
        assert [row.id for row in take(store, ids, NOW + LEASE).rows] == ids

    def test_two_workers_never_get_the_same_row(self, store: Engine) -> None:
        ids = stored(store, 60)
        with ThreadPoolExecutor(4) as workers:
            takings = list(workers.map(lambda _: take(store, ids), range(4)))
        assert sorted(row.id for taken in takings for row in taken.rows) == ids

    def test_finished_and_unknown_rows_are_passed_over(self, store: Engine) -> None:
        done, waiting = stored(store, 2)
        finish(store, {done: "projected"})
        assert [row.id for row in take(store, [done, waiting, 999]).rows] == [waiting]
        assert take(store, []) == Taken([], [], [])

    def test_a_row_tried_before_is_taken_alone_and_after_the_others(self, store: Engine) -> None:
        ids = stored(store, 4)
        take(store, ids[:2])
        first = take(store, ids, LATER)
        assert [row.id for row in first.rows] == ids[2:]
        second = take(store, first.left, LATER)
        assert [row.id for row in second.rows] == ids[:1]
        third = take(store, second.left, LATER)
        assert [row.id for row in third.rows] == ids[1:2]
        assert third.left == []

    @pytest.mark.parametrize("poison", [{4}, {0}, {9}, {0, 4, 5, 9}])
    def test_a_row_that_kills_is_set_aside_after_three_deaths_and_the_others_get_through(
        self, store: Engine, poison: set[int]
    ) -> None:
        ids = stored(store, 10)
        killers = {ids[place] for place in poison}
        now, deaths = NOW + LEASE, 0
        while waiting := unfinished(store, now):
            try:
                work_on(store, waiting, killers, now)
            except ProcessDiedError:
                deaths += 1
            now += LEASE
        states = {row.id: row.state for row in rows(store)}
        assert states == {row_id: "quarantined" if row_id in killers else "done" for row_id in ids}
        assert len(killers) < deaths <= MAX_ATTEMPTS * len(killers)


class ProcessDiedError(Exception):
    """kill -9, as a test can raise it."""


def work_on(store: Engine, ids: list[int], killers: set[int], now: datetime) -> None:
    """A worker with a message: takes, handles, finishes, until nothing is left or a row kills it."""
    while ids:
        taken = take(store, ids, now)
        in_hand = {row.id for row in taken.rows}
        if in_hand & killers:
            raise ProcessDiedError
        finish(store, dict.fromkeys(in_hand, "projected"), now)
        ids = taken.left


class TestFinishing:
    def test_rows_end_as_done_or_ignored_with_their_result(
        self, store: Engine, statements: Statements
    ) -> None:
        ids = stored(store, 3)
        take(store, ids)
        statements.clear()
        finish(store, dict(zip(ids, ["projected", "no_change", "unknown_type"], strict=True)), LATER)
        assert statements.count("UPDATE") == 1
        assert [(row.state, row.result) for row in rows(store)] == [
            ("done", "projected"),
            ("done", "no_change"),
            ("ignored", "unknown_type"),
        ]
        assert {(row.finished_at, row.leased_until) for row in rows(store)} == {(LATER, None)}

    def test_finishing_twice_keeps_the_first_result(self, store: Engine) -> None:
        (row_id,) = stored(store, 1)
        finish(store, {row_id: "projected"}, NOW)
        finish(store, {row_id: "no_change"}, LATER)
        finish(store, {})
        assert (rows(store)[0].result, rows(store)[0].finished_at) == ("projected", NOW)

    def test_a_released_row_waits_for_its_time_and_keeps_its_attempt(self, store: Engine) -> None:
        (row_id,) = stored(store, 1)
        take(store, [row_id])
        with writing(store) as connection:
            inbox.release(connection, row_id, "KeyError at handlers:project", LATER)
        assert rows(store)[0].error == "KeyError at handlers:project"
        assert take(store, [row_id], LATER - timedelta(seconds=1)).rows == []
        assert unfinished(store, LATER - timedelta(seconds=1)) == []
        assert unfinished(store, LATER) == [row_id]
        assert [row.attempts for row in take(store, [row_id], LATER).rows] == [2]

    def test_a_row_that_fails_as_often_as_allowed_is_set_aside_with_its_last_error(
        self, store: Engine
    ) -> None:
        (row_id,) = stored(store, 1)
        for _ in range(MAX_ATTEMPTS):
            assert len(take(store, [row_id]).rows) == 1
            with writing(store) as connection:
                inbox.release(connection, row_id, "KeyError at handlers:project", NOW)
        assert take(store, [row_id]) == Taken([], [row_id], [])
        (row,) = rows(store)
        assert (row.state, row.error) == ("quarantined", "KeyError at handlers:project")
        assert unfinished(store, LATER) == []


class TestSweeping:
    def test_a_row_nobody_took_is_found_after_a_while(self, store: Engine) -> None:
        ids = stored(store, 2)
        assert unfinished(store, NOW + GRACE - timedelta(seconds=1)) == []
        assert unfinished(store, NOW + GRACE) == ids

    def test_a_row_whose_lease_ran_out_is_found(self, store: Engine) -> None:
        ids = stored(store, 2)
        take(store, ids)
        assert unfinished(store, NOW + LEASE - timedelta(seconds=1)) == []
        assert unfinished(store, NOW + LEASE) == ids

    def test_the_oldest_come_first_and_no_more_than_asked_for(self, store: Engine) -> None:
        ids = stored(store, 5)
        assert unfinished(store, LATER, limit=2) == ids[:2]


class TestForgetting:
    @pytest.fixture
    def ids(self, store: Engine) -> list[int]:
        """Four old rows: two done, one ignored, one waiting."""
        ids = stored(store, 4)
        finish(store, dict(zip(ids, ["projected", "projected", "unknown_type"], strict=False)))
        return ids

    def test_old_finished_rows_lose_their_content_and_stay_known(self, store: Engine, ids: list[int]) -> None:
        with writing(store) as connection:
            assert inbox.scrub(connection, NOW, 100) == 0
            assert inbox.scrub(connection, LATER, 2) == 2
            assert inbox.scrub(connection, LATER, 100) == 1
            assert inbox.scrub(connection, LATER, 100) == 0
        assert [row.body is None for row in rows(store)] == [True, True, True, False]
        (again,) = inbox.commit(store, [an_arrival("msg_00")], LATER)
        assert again.outcome == "duplicate"

    def test_very_old_rows_are_forgotten_unless_they_still_wait(self, store: Engine, ids: list[int]) -> None:
        with writing(store) as connection:
            assert inbox.prune(connection, NOW, 100) == 0
            assert inbox.prune(connection, LATER, 2) == 2
            assert inbox.prune(connection, LATER, 100) == 1
        assert [row.id for row in rows(store)] == ids[3:]

    def test_the_last_row_stays_so_that_the_numbering_never_seems_to_fall(self, store: Engine) -> None:
        ids = stored(store, 2)
        finish(store, dict.fromkeys(ids, "projected"))
        with writing(store) as connection:
            assert inbox.prune(connection, LATER, 100) == 1
        assert [row.id for row in rows(store)] == ids[1:]


def test_requests_turned_away_are_added_up(store: Engine) -> None:
    minute = NOW.replace(second=0)
    inbox.commit_rejections(store, {(minute, "not_post"): 2, (minute, "not_json"): 1}, NOW)
    inbox.commit_rejections(store, {(minute, "not_post"): 3, (LATER, "not_post"): 1}, LATER)
    inbox.commit_rejections(store, {}, LATER)
    with reading(store) as connection:
        found = connection.execute(
            select(rejections).order_by(rejections.c.minute, rejections.c.reason)
        ).all()
    assert [tuple(row) for row in found] == [
        (minute, "not_json", 1, NOW),
        (minute, "not_post", 5, LATER),
        (LATER, "not_post", 1, LATER),
    ]


def test_a_store_that_cannot_be_written_to_says_so(store: Engine) -> None:
    inbox.check(store)
    metadata.drop_all(store)
    with pytest.raises(DBAPIError):
        inbox.check(store)
