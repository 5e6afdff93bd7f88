"""What a worker process tells the store about itself, and what it hears back: which queues are paused.

All of it is for people to look at. dramatiq swallows what a middleware raises, so nothing here may be needed
for an order to be treated right.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock, Thread, get_ident
from typing import Any

import dramatiq
import redis
from dramatiq.middleware import Middleware

from workers import done
from workers.broker import Broker, place_of
from workers.done import Ending, Run
from workers.queues import QueueReader, QueueState, QueueUnreachable
from workers.store.database import EPOCH
from workers.store.failures import Failure
from workers.store.processes import Process, Register, Running

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
SIGN_OF_LIFE = timedelta(seconds=5)

# Each run is counted in the first bucket that is not too small for it, so that percentiles can be read off.
RUN_TIME_BUCKETS_MS = (10, 30, 100, 300, 1_000, 3_000, 10_000)


class Recorder(Middleware):
    """Keeps this process's row in `processes` and its counters in `figures`, from one thread of its own.

    Series: `queue.<name>.ok`, `.retried`, `.failed`, `.ms` (run time, summed up) and `.le_<bound>` (run times
    in milliseconds by bucket, the last one `.le_inf`). A process that is killed loses its last second.
    How full the queues were when a minute began: `.ready`, `.dead`, and `.messages` for ready or in flight.
    The last runs themselves go to Redis, a second's worth at a time.
    """

    def __init__(
        self, register: Register, clock: Callable[[], datetime], *, version: str, kind: str = "worker"
    ) -> None:
        self.register = register
        self.clock = clock
        self.version = version
        self.kind = kind
        self._lock = Lock()  # guards the three below
        self._running: dict[int, Running] = {}  # by thread
        self._counts: Counter[tuple[datetime, str]] = Counter()
        self._runs = _no_runs()
        self._minute = _minute_of(clock())
        self._ended = Event()

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, Broker)
        broker.paused = frozenset(broker.queues)  # until the store was asked
        self._broker = broker
        self._told = self._introduction(worker)
        self._tick()
        self._thread = Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._ended.set()
        self._thread.join()
        self._show_runs()
        self.register.say_goodbye(self._told, self._counts)

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        running = Running(message.message_id, message.actor_name, message.queue_name, self.clock())
        with self._lock:
            self._running[get_ident()] = running

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        ending: Ending = "ok" if exception is None else "failed" if message.failed else "retried"
        retries = message.options.get("retries", 0)  # a failure is in it already
        now = self.clock()
        with self._lock:
            took_ms = (now - self._running.pop(get_ident()).since) // timedelta(milliseconds=1)
            self._count(now, f"queue.{message.queue_name}", ending, took_ms)
            self._runs[message.queue_name].append(
                Run(
                    message_id=message.message_id,
                    actor=message.actor_name,
                    queue=message.queue_name,
                    args=message.kwargs,
                    attempt=retries + 1 if exception is None else retries,
                    ending=ending,
                    error=None if exception is None else type(exception).__name__,
                    worker=f"{self._told.host}:{self._told.pid}",
                    at=now,
                    took_ms=took_ms,
                )
            )

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        with self._lock:
            self._running.pop(get_ident(), None)

    def _count(self, now: datetime, series: str, outcome: str, took_ms: int) -> None:
        bucket = next((bound for bound in RUN_TIME_BUCKETS_MS if took_ms <= bound), "inf")
        minute = _minute_of(now)
        self._counts[minute, f"{series}.{outcome}"] += 1
        self._counts[minute, f"{series}.le_{bucket}"] += 1
        self._counts[minute, f"{series}.ms"] += took_ms

    def _run(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            self._tick()

    def _tick(self) -> None:
        try:
            self._broker.paused = self.register.paused_queues()
            self._tell()
            self._sample()
        except Exception:  # the store may be away for any reason; the next tick tries again
            log.warning("this process could not be recorded", exc_info=True)
        self._show_runs()

    def _sample(self) -> None:
        """As a minute begins. All workers do; whoever is first is believed."""
        minute = _minute_of(self.clock())
        if minute == self._minute:
            return
        self._minute = minute
        with suppress(QueueUnreachable):
            states = QueueReader(self._broker.client, self._broker.namespace).snapshot()
            self.register.sample(minute, {name: level for state in states for name, level in _levels(state)})

    def _show_runs(self) -> None:
        """Lays what has ended where the dashboard finds it. What Redis does not take is forgotten."""
        with self._lock:
            runs, self._runs = self._runs, _no_runs()
        if runs:
            with suppress(redis.RedisError):
                done.keep(self._broker.client, self._broker.namespace, runs)

    def _tell(self) -> None:
        """Reports when there is something new to say, or when a sign of life is due."""
        with self._lock:
            running, counts = tuple(self._running.values()), Counter(self._counts)
        process = replace(
            self._told,
            seen_at=self.clock(),
            running=running,
            paused=tuple(sorted(self._broker.paused)),
            rss_kb=_resident_kb(),
        )
        if counts or _is_news(process, self._told):
            self.register.report(process, counts)
            self._told = process
            with self._lock:
                self._counts -= counts

    def _introduction(self, worker: dramatiq.Worker) -> Process:
        host, pid, now = socket.gethostname()[:32], os.getpid(), self.clock()
        return Process(
            id=f"{host}:{pid}:{int(now.timestamp())}",
            kind=self.kind,
            host=host,
            pid=pid,
            version=self.version,
            queues=tuple(sorted(worker.consumer_whitelist or worker.broker.get_declared_queues())),
            threads=worker.worker_threads,
            rss_kb=None,
            started_at=now,
            seen_at=EPOCH,  # by nobody yet
        )


class DeadLetters(Middleware):
    """Writes each message that failed for good into `failures`, once Redis has laid it aside."""

    def __init__(
        self, record: Callable[[Failure], object], clock: Callable[[], datetime], *, version: str
    ) -> None:
        self.record = record
        self.clock = clock
        self.version = version

    def after_nack(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        error = message._exception
        self.record(
            Failure(
                queue=message.queue_name,
                actor=message.actor_name,
                error=type(error).__name__,
                place=place_of(error) if error else "?",
                args=message.kwargs,
                version=self.version,
                attempts=message.options.get("retries", 0),
                at=self.clock(),
                message_id=message.message_id,
                order_id=_only_order(message.kwargs),
            )
        )


def _minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _levels(state: QueueState) -> Iterator[tuple[str, int]]:
    yield f"queue.{state.name}.ready", state.ready
    yield f"queue.{state.name}.dead", state.dead
    yield f"queue.{state.name}.messages", state.ready + state.in_flight


def _no_runs() -> defaultdict[str, deque[Run]]:
    return defaultdict(lambda: deque(maxlen=done.KEPT))


def _is_news(process: Process, told: Process) -> bool:
    overdue = process.seen_at - told.seen_at >= SIGN_OF_LIFE
    return overdue or (process.running, process.paused) != (told.running, told.paused)


def _only_order(arguments: dict[str, Any]) -> str | None:
    """The order a message is about, when it is about one: order ids are texts, row ids are numbers."""
    match arguments.get("ids"):
        case [str(order_id)]:
            return order_id
    return None


def _resident_kb() -> int | None:
    """Memory in use, in KiB; Linux only."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 1024
    return None
