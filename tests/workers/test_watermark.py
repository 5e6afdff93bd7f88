"""A store that forgot something stops everything."""

from sqlalchemy import Engine, delete

from tests.workers.conftest import now
from workers.store import controls
from workers.store.audit import note
from workers.store.database import writing
from workers.store.schema import audit
from workers.watermark import Watermark


def test_a_store_that_goes_back_sets_the_global_stop(store: Engine) -> None:
    mark = Watermark()
    with writing(store) as connection:
        note(connection, now(), "ana", "hold", "order")
        assert mark.check(connection, now())
        connection.execute(delete(audit))  # as a restore from before it would look
        assert not mark.check(connection, now())
        assert controls.STOP in controls.raised(connection, [controls.STOP])


def test_a_store_that_grows_is_left_alone(store: Engine) -> None:
    mark = Watermark()
    with writing(store) as connection:
        for _ in range(3):
            note(connection, now(), "ana", "hold", "order")
            assert mark.check(connection, now())
        assert not controls.raised(connection, [controls.STOP])
