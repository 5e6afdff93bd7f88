"""What a worker process tells the store about itself, and what it hears back: which queues are paused.

All of it is for people to look at. dramatiq swallows what a middleware raises, so nothing here may be needed
for an order to be treated right.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock, Thread, get_ident
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware

from workers.broker import Broker, place_of
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
    """

    def __init__(
        self, register: Register, clock: Callable[[], datetime], *, version: str, kind: str = "worker"
    ) -> None:
        self.register = register
        self.clock = clock
        self.version = version
        self.kind = kind
        self._lock = Lock()  # guards the two below
        self._running: dict[int, Running] = {}  # by thread
        self._counts: Counter[tuple[datetime, str]] = Counter()
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
        outcome = "ok" if exception is None else "failed" if message.failed else "retried"
        now = self.clock()
        with self._lock:
            took = now - self._running.pop(get_ident()).since
            self._count(now, f"queue.{message.queue_name}", outcome, took // timedelta(milliseconds=1))

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        with self._lock:
            self._running.pop(get_ident(), None)

    def _count(self, now: datetime, series: str, outcome: str, took_ms: int) -> None:
        bucket = next((bound for bound in RUN_TIME_BUCKETS_MS if took_ms <= bound), "inf")
        minute = now.replace(second=0, microsecond=0)
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
        except Exception:  # the store may be away for any reason; the next tick tries again
            log.warning("this process could not be recorded", exc_info=True)

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
