"""What a source said last, with its age: asked seldom, and remembered when it no longer answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sighting(Generic[T]):
    """`value` as it was at `at` (UTC); both None if it was never seen. `fresh`: the source answers."""

    value: T | None
    at: datetime | None
    fresh: bool


class LastKnown(Generic[T]):
    """Asks `read` once in `every` at most, however many look. Raises what is not among `failures`."""

    def __init__(
        self,
        read: Callable[[datetime], T],
        *,
        every: timedelta,
        failures: tuple[type[Exception], ...] = (),
    ) -> None:
        self._read = read
        self._every = every
        self._failures = failures
        self._lock = Lock()  # one asks, the others wait for its answer
        self._asked_at: datetime | None = None
        self._last: Sighting[T] = Sighting(None, None, fresh=False)

    def look(self, now: datetime) -> Sighting[T]:
        with self._lock:
            if self._asked_at is None or now - self._asked_at >= self._every:
                self._last = self._ask(now)
                self._asked_at = now
            return self._last

    def forget(self) -> None:
        """What is seen next is read anew: something has just been changed from here."""
        with self._lock:
            self._asked_at = None

    def _ask(self, now: datetime) -> Sighting[T]:
        try:
            return Sighting(self._read(now), now, fresh=True)
        except self._failures:
            return Sighting(self._last.value, self._last.at, fresh=False)
