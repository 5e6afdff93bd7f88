"""A pause with an end: the clock ends it, says so in the audit, and leaves every other switch alone."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, select

from workers.store.controls import all_raised, ends, switch, switch_off_expired
from workers.store.database import writing
from workers.store.schema import audit

HOUR = timedelta(hours=1)


@pytest.fixture
def connection(store: Engine) -> Iterator[Connection]:
    with writing(store) as connection:
        yield connection


def pause(connection: Connection, queue: str, now: datetime, until: datetime | None) -> None:
    switch(connection, f"queue:{queue}", on=True, actor="ana", reason="upkeep", now=now, until=until)


def test_a_pause_ends_when_its_time_is_up_and_not_before(connection: Connection, now: datetime) -> None:
    pause(connection, "orders", now, now + HOUR)
    pause(connection, "events", now, None)
    assert ends(connection) == {"queue:orders": now + HOUR}
    assert switch_off_expired(connection, now + HOUR - timedelta(seconds=1)) == []
    assert switch_off_expired(connection, now + HOUR) == ["queue:orders"]
    assert switch_off_expired(connection, now + HOUR) == []
    assert list(all_raised(connection)) == ["queue:events"]
    assert ends(connection) == {}


def test_that_it_ended_is_on_record(connection: Connection, now: datetime) -> None:
    pause(connection, "orders", now, now + HOUR)
    switch_off_expired(connection, now + HOUR)
    begun, ended = connection.execute(select(audit).order_by(audit.c.id)).mappings()
    assert begun["after"] == {"until": (now + HOUR).isoformat()}
    assert (ended["actor"], ended["action"], ended["reason"]) == ("engine", "switch_off", "its time was up")


def test_a_second_pause_without_an_end_has_none(connection: Connection, now: datetime) -> None:
    pause(connection, "orders", now, now + HOUR)
    pause(connection, "orders", now, None)
    assert switch_off_expired(connection, now + 2 * HOUR) == []
