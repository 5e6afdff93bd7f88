"""What the dashboard's pages work with: store, queue, clock, and what these said last. Built in `main`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import Connection, Engine

from receiver.dashboard.attention import Problem, Scene, problems_of
from receiver.dashboard.last_known import LastKnown, Sighting
from receiver.dashboard.settings import DashboardSettings
from workers.messages import Message
from workers.permits import Traffic
from workers.queues import QueueReader, QueueState, QueueUnreachable
from workers.store import controls, overview_reads, policies, processes, reads, watch
from workers.store.database import reading, writing

COUNTED_EVERY = timedelta(seconds=15)


@dataclass(frozen=True)
class Shell:
    """What stands around every page."""

    mode: str  # enforcing, review, shadow, stopped, no policy
    mode_reason: str
    problems: tuple[Problem, ...]
    acknowledged: tuple[Problem, ...]


@dataclass(frozen=True)
class Desk:
    """`publish` puts a message on the queue and raises what the broker raises; `now` tells aware UTC time."""

    settings: DashboardSettings
    store: Engine
    queues: QueueReader
    publish: Callable[[Message], object]
    now: Callable[[], datetime]

    def reading(self) -> AbstractContextManager[Connection]:
        return reading(self.store)

    def writing(self) -> AbstractContextManager[Connection]:
        return writing(self.store)

    def queue_states(self, now: datetime) -> Sighting[tuple[QueueState, ...]]:
        return self._queue_states.look(now)

    def junction_traffic(self, now: datetime) -> Sighting[Traffic]:
        return self._junction_traffic.look(now)

    def cancellable(self, now: datetime) -> Sighting[int]:
        """How many orders may be cancelled; CAP + 1 when there are more than CAP. It takes a while to count,
        so it is counted less often than anything else. Raises the store's TROUBLE."""
        return self._cancellable.look(now)

    def coming(self, now: datetime) -> Sighting[Mapping[str, int]]:
        """How many orders each rule will cancel, if nothing new happens. Raises the store's TROUBLE."""
        return self._coming.look(now)

    def shell(self, now: datetime) -> Shell:
        """Raises the store's TROUBLE."""
        seen = self._shell.look(now).value
        assert seen is not None
        return seen

    def forget(self) -> None:
        """After a change made here, nobody is shown what was before."""
        self._queue_states.forget()
        self._cancellable.forget()
        self._coming.forget()
        self._shell.forget()

    @property
    def every(self) -> timedelta:
        return timedelta(seconds=self.settings.dashboard_refresh_seconds)

    @cached_property
    def _queue_states(self) -> LastKnown[tuple[QueueState, ...]]:
        return LastKnown(lambda _now: self.queues.snapshot(), every=self.every, failures=(QueueUnreachable,))

    @cached_property
    def _junction_traffic(self) -> LastKnown[Traffic]:
        return LastKnown(lambda _now: self.queues.junction(), every=self.every, failures=(QueueUnreachable,))

    @cached_property
    def _cancellable(self) -> LastKnown[int]:
        def count(_now: datetime) -> int:
            with self.reading() as connection:
                return reads.count_orders(connection, reads.OrderFilter(openings=("open",)))

        return LastKnown(count, every=COUNTED_EVERY)

    @cached_property
    def _coming(self) -> LastKnown[Mapping[str, int]]:
        def count(_now: datetime) -> Mapping[str, int]:
            with self.reading() as connection:
                return overview_reads.coming_by_rule(connection)

        return LastKnown(count, every=COUNTED_EVERY)

    @cached_property
    def _shell(self) -> LastKnown[Shell]:
        return LastKnown(self._look_around, every=self.every)

    def _look_around(self, now: datetime) -> Shell:
        queues, traffic = self.queue_states(now), self.junction_traffic(now)
        with self.reading() as connection:
            switches = controls.all_raised(connection)
            modes = policies.modes(connection)
            scene = Scene(
                now=now,
                queues=queues,
                traffic=traffic,
                processes=processes.list_processes(connection),
                switches=switches,
                counts=watch.counts(connection, now),
            )
        open_ones, acknowledged = problems_of(scene)
        mode, why = _mode(switches, {mode for mode, _ in modes.values()})
        return Shell(mode, why, open_ones, acknowledged)


def _mode(switches: dict[str, tuple[str, str, datetime]], modes: set[str]) -> tuple[str, str]:
    for switch in (controls.STOP, controls.LIMITS):
        if switch in switches:
            return "stopped", switches[switch][0]
    for mode, told in (
        ("enforce", ("enforcing", "Rules that enforce cancel orders by themselves.")),
        ("review", ("review", "Rules propose; an operator decides.")),
        ("shadow", ("shadow", "Rules only say what they would do.")),
    ):
        if mode in modes:
            return told
    return "no policy", "Nothing is cancelled: no policy is active."
