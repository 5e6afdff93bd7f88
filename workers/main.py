"""The worker: settings -> services -> broker with its actors. `python -m workers.main`"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import dramatiq
import structlog

from workers.actors import declare
from workers.broker import Broker, make_broker
from workers.configuration import BadSettings, describe, load
from workers.core.action import Patience
from workers.junction import Junction, Timeouts
from workers.logs import log_as_json
from workers.messages import QUEUES, publish
from workers.permits import JUNCTION, Permits
from workers.reasons import Reasons
from workers.recorder import DeadLetters, Recorder
from workers.services import Services
from workers.settings import Settings
from workers.store import processes
from workers.store.database import open_store
from workers.store.failures import FailureLog
from workers.store.watermark import Watermark
from workers.version import VERSION

LOOK_BACK_SECONDS = 1.0

HELP = f"""The worker: takes messages from the queue and does what they ask for.

    python -m workers.main

It stops on SIGTERM and SIGINT within ten seconds; what it had begun is taken up by another worker.

Settings, all from the environment:
{describe(Settings)}
"""


def utc_now() -> datetime:
    return datetime.now(UTC)


def timeouts(total: float) -> Timeouts:
    """A call as a whole may take `total` seconds; getting through to Junction, a quarter of that."""
    return Timeouts(connect=total / 4, read=total, write=total / 4, pool=total / 4, total=total)


def patience(settings: Settings) -> Patience:
    return Patience(
        first_look=timedelta(seconds=min(10.0, settings.second_call_seconds / 10)),
        second_call=timedelta(seconds=settings.second_call_seconds),
        in_flight=timedelta(seconds=settings.call_seconds + settings.lease_seconds),
        alarm=timedelta(seconds=settings.alarm_seconds),
    )


def build(settings: Settings) -> tuple[Broker, Services]:
    """The broker with its actors, and what they work with. Connects to nothing yet."""
    store = open_store(settings.database_url.get_secret_value())
    redis_url = settings.redis_url.get_secret_value()
    broker = make_broker(
        redis_url,
        middleware=[
            Recorder(processes.Register(store), utc_now, version=VERSION),
            DeadLetters(FailureLog(store).record, utc_now, version=VERSION),
        ],
    )
    permits = Permits(broker.client, JUNCTION, settings.calls_per_second, settings.calls_at_once)
    junction = Junction(
        settings.junction_base_url,
        settings.junction_api_key.get_secret_value(),
        settings.keep,
        now=utc_now,
        permits=permits,
        timeouts=timeouts(settings.call_seconds),
    )
    services = Services(
        store=store,
        junction=junction,
        publish=lambda message: publish(broker, message),
        now=utc_now,
        monotonic=time.monotonic,
        environment=settings.environment,
        team_id=str(settings.team_id),
        version=VERSION,
        reasons=Reasons(utc_now),
        lease=timedelta(seconds=settings.lease_seconds),
        patience=patience(settings),
    )
    declare(broker, services)
    dramatiq.set_broker(broker)  # or something that asks for the broker would build one for RabbitMQ
    return broker, services


def main() -> int:
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(HELP)
        return 0
    try:
        settings = load(Settings)
    except BadSettings as bad:
        sys.stderr.write(f"The worker cannot start:\n{bad}\n")
        return 2
    log_as_json()
    log = structlog.get_logger("worker")
    broker, services = build(settings)
    worker = dramatiq.Worker(
        broker,
        queues=set(QUEUES),
        worker_threads=settings.threads,
        worker_timeout=250,  # milliseconds; how long a stop may have to wait for an idle queue
    )
    broker.emit_after("process_boot")  # dramatiq's own command line says so; the time limit waits for it
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker.start()
    gc.freeze()  # what start-up made stays; collecting it again and again would only cause pauses
    log.info("the worker is up", threads=settings.threads, version=VERSION)
    watermark = Watermark(services.store)
    while not stop.wait(LOOK_BACK_SECONDS):
        try:
            watermark.check()
        except Exception:  # the store may be away for any reason; the next look counts
            log.warning("the store could not be looked at", exc_info=True)
    worker.stop(timeout=8000)
    broker.close()
    log.info("the worker has stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
