"""Noticing a store that went back in time: a replica promoted too early, a restore from a backup. What it has
forgotten may have been acted on, so everything stops until a person has looked. Every process looks, because
one alone may be starting just then and would know nothing of before."""

from __future__ import annotations

from threading import Lock

import structlog
from sqlalchemy import Connection, Engine, func, literal, select, union_all

from workers.store import controls
from workers.store.database import reading, store_time, writing
from workers.store.schema import actions, audit, decisions, deliveries

log = structlog.get_logger(__name__)

NUMBERED = (deliveries, decisions, actions, audit)  # numbered by the store, and the last row always stays


class Watermark:
    """The highest numbers this process has seen. They only ever rise in a store that forgets nothing."""

    def __init__(self, store: Engine) -> None:
        self._store = store
        self._highest: dict[str, int] = {}
        self._turn = Lock()  # an older look must not be compared with a newer one

    def check(self) -> bool:
        """True when all is well; else sets the global stop, which only an operator ends. It reads in a
        transaction of its own: what is not committed may vanish without anything being wrong."""
        with self._turn:
            with reading(self._store) as connection:
                heights = _heights(connection)
            fallen = [name for name, height in heights.items() if height < self._highest.get(name, 0)]
            if fallen:
                self._stop(f"the store went back: {', '.join(sorted(fallen))}; reconcile, then start")
            self._highest = heights  # not before the stop is set: one that failed is tried again
            return not fallen

    def _stop(self, reason: str) -> None:
        log.error("everything is stopped", reason=reason)
        with writing(self._store) as connection:
            now = store_time(connection)
            controls.switch(connection, controls.STOP, on=True, actor="engine", reason=reason, now=now)


def _heights(connection: Connection) -> dict[str, int]:
    """The highest number given so far, by table; 0 for an empty one."""
    queries = [
        select(func.coalesce(func.max(table.c.id), 0).label("height"), literal(table.name).label("name"))
        for table in NUMBERED
    ]
    return {row.name: row.height for row in connection.execute(union_all(*queries))}
