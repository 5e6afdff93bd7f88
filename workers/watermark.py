"""Noticing a store that went back in time: a replica promoted too early, a restore from a backup. What it has
forgotten may have been acted on, so everything stops until a person has looked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from workers.store import controls, marks


class Watermark:
    """The highest numbers this process has seen. They only ever rise in a store that forgets nothing."""

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}

    def check(self, connection: Connection, now: datetime) -> bool:
        """True when all is well; else sets the global stop, which only an operator ends."""
        heights = marks.heights(connection)
        fallen = [name for name, height in heights.items() if height < self._highest.get(name, 0)]
        self._highest = heights
        if fallen:
            reason = f"the store went back: {', '.join(sorted(fallen))}; reconcile, then start"
            controls.switch(connection, controls.STOP, on=True, actor="engine", reason=reason, now=now)
        return not fallen
