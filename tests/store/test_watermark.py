"""A store that forgot something stops everything."""

from datetime import UTC, datetime

from sqlalchemy import Engine, delete, func, select, text

from workers.store import controls
from workers.store.audit import note
from workers.store.database import reading, writing
from workers.store.schema import audit
from workers.store.watermark import Watermark

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def write(store: Engine, times: int = 1) -> None:
    with writing(store) as connection:
        for _ in range(times):
            note(connection, NOW, "ana", "hold", "order")


def go_back(store: Engine) -> None:
    """As a restore from a backup would look."""
    with writing(store) as connection:
        connection.execute(delete(audit).where(audit.c.id > 1))
        if store.dialect.name == "postgresql":
            connection.execute(text("ALTER SEQUENCE audit_id_seq RESTART WITH 2"))


def is_stopped(store: Engine) -> bool:
    with reading(store) as connection:
        return controls.STOP in controls.raised(connection, [controls.STOP])


def test_a_store_that_goes_back_sets_the_global_stop(store: Engine) -> None:
    mark = Watermark(store)
    write(store, 5)
    assert mark.check()
    go_back(store)
    assert not mark.check()
    assert is_stopped(store)


def test_every_process_notices_by_itself(store: Engine) -> None:
    write(store, 5)
    ours, theirs = Watermark(store), Watermark(store)
    assert ours.check()
    assert theirs.check()
    go_back(store)
    assert [ours.check(), theirs.check()] == [False, False]


def test_a_store_that_grows_is_left_alone(store: Engine) -> None:
    mark = Watermark(store)
    for _ in range(3):
        write(store)
        assert mark.check()
    assert not is_stopped(store)


def test_what_is_not_committed_counts_for_nothing(store: Engine) -> None:
    mark = Watermark(store)
    with store.connect() as connection:
        note(connection, NOW, "ana", "hold", "order")
        assert mark.check()
        connection.rollback()
    assert mark.check()


def test_an_operator_who_says_start_is_not_stopped_again(store: Engine) -> None:
    mark = Watermark(store)
    write(store, 5)
    mark.check()
    go_back(store)
    mark.check()
    with writing(store) as connection:
        controls.switch(connection, controls.STOP, on=False, actor="ana", reason="looked", now=NOW)
    assert mark.check()
    assert not is_stopped(store)
    with reading(store) as connection:
        told = connection.execute(select(func.count()).where(audit.c.actor == "engine")).scalar_one()
    assert told == 1
