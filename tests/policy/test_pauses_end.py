"""The clock ends what was paused for a while."""

from datetime import timedelta

from tests.policy.conftest import Reader
from workers.store import controls
from workers.store.database import reading, store_time, writing


def test_the_clock_ends_a_pause_whose_time_is_up(reader: Reader) -> None:
    store = reader.world.store
    with writing(store) as connection:
        now = store_time(connection)
        for queue, until in (("orders", now), ("events", now + timedelta(hours=1))):
            controls.switch(
                connection, f"queue:{queue}", on=True, actor="ana", reason="upkeep", now=now, until=until
            )
    reader.clock.end_pauses()
    with reading(store) as connection:
        assert list(controls.all_raised(connection)) == ["queue:events"]
