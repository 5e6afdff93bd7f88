"""dramatiq's Redis broker as we use it: consumers that wait instead of polling, queues that can be paused,
few and discreet retries, messages that can be called off. What the messages are is said in messages.py.
"""

# mypy: allow-untyped-calls
# (dramatiq's Redis broker has no types)

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from traceback import walk_tb
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import compute_backoff
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import (
    CurrentMessage,
    Middleware,
    ShutdownNotifications,
    SkipMessage,
    TimeLimit,
)
from redis.backoff import FullJitterBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

NAMESPACE = "autocancel"

# A worker not heard of for this long is dead, and its messages go back to their queues. Looking for dead
# workers is part of every command: left to dramatiq's chance of 0.1 %, it took up to three minutes.
HEARTBEAT_TIMEOUT_MS = 30_000
MAINTENANCE_CHANCE = 1_000_000

# What an actor may take that says nothing about it: handlers are meant to take seconds.
TIME_LIMIT_MS = 20_000

# How many messages a process may hold, running ones included, where twice its threads would be too many:
# a call to Junction takes long, and what waits for it here would not wait in an idle process.
PREFETCH = {"actions": 2}

MAX_RETRIES = 3
MIN_BACKOFF_MS = 1_000
MAX_BACKOFF_MS = 30_000

OUR_PACKAGES = ("workers.", "receiver.")


def make_broker(
    redis_url: str,
    *,
    namespace: str = NAMESPACE,
    middleware: Sequence[Middleware] = (),
    publisher: bool = False,
) -> Broker:
    """The queue at `redis_url`. Connects on first use; dramatiq's global broker is not touched.

    `middleware` sees each message before retries are decided on, and its outcome after. A `publisher` only
    enqueues; it gives up within about a second, because whoever publishes has better things to do than wait.
    """
    if publisher:
        return Broker(_client(redis_url, seconds=0.5, retries=1), namespace, [])
    return Broker(
        _client(redis_url, seconds=5.0, retries=3),
        namespace,
        [
            ShutdownNotifications(),  # an actor may ask to be told that its process is ending
            CurrentMessage(),  # logs name the message they belong to
            *middleware,
            Tombstones(),
            Retries(),
            TimeLimit(time_limit=TIME_LIMIT_MS),
        ],
    )


def _client(url: str, *, seconds: float, retries: int) -> redis.Redis:
    """`seconds`: how long an answer may take; for a consumer, more than its longest wait (one second).

    A command whose answer was lost is sent again, so an enqueue may happen twice; every handler stands that.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=min(seconds, 2.0),
        retry=Retry(FullJitterBackoff(cap=1.0, base=0.05), retries),
    )


class Broker(RedisBroker):
    """`paused` names the queues nothing is taken from; any thread may replace the set."""

    def __init__(self, client: redis.Redis, namespace: str, middleware: list[Middleware]) -> None:
        super().__init__(
            client=client,
            namespace=namespace,
            middleware=middleware,
            heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
            maintenance_chance=MAINTENANCE_CHANCE,
        )
        self.paused: frozenset[str] = frozenset()

    @property
    def consumer_class(self) -> type[WaitingConsumer]:
        return WaitingConsumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 1000) -> WaitingConsumer:
        if queue_name in self.delay_queues:
            self._put_back_delayed(queue_name)
        return WaitingConsumer(self, queue_name, PREFETCH.get(queue_name, prefetch), timeout)

    def _put_back_delayed(self, queue_name: str) -> None:
        # A consumer that loses its connection forgets the delayed messages it held. Redis does not.
        with _closed_when_unreachable():
            held: Any = self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}")
            if held:
                self.do_requeue(queue_name, *held)

    def close(self) -> None:
        self.client.close()


class WaitingConsumer(_RedisConsumer):
    """Waits in Redis for the next message, up to `timeout` milliseconds; dramatiq's sleeps and asks again.

    It also gives a sign of life after each wait. dramatiq's gives none while it holds all it may and lives on
    those of the process's other consumers; without any, its messages would be given to somebody else.
    """

    def __init__(self, broker: Broker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)
        self.list_key = f"{broker.namespace}:{queue_name}"
        self.may_block = True
        self.room = Event()

    def __next__(self) -> dramatiq.MessageProxy | None:
        with _closed_when_unreachable():
            if self.message_cache or self._wait():
                message: dramatiq.MessageProxy | None = super().__next__()
                return message
            self.broker.do_fetch(self.queue_name, 0)  # takes nothing: a sign of life
            return None

    def ack(self, message: dramatiq.MessageProxy) -> None:
        with _closed_when_unreachable():
            super().ack(message)
        self.room.set()

    def nack(self, message: dramatiq.MessageProxy) -> None:
        with _closed_when_unreachable():
            super().nack(message)
        self.room.set()

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        with _closed_when_unreachable():
            super().requeue(messages)

    @property
    def _may_take(self) -> bool:
        paused = self.queue_name in self.broker.paused
        return not paused and self.outstanding_message_count < self.prefetch

    def _wait(self) -> bool:
        """Until there may be a message to take, or for `timeout`; whether to fetch."""
        self.room.clear()  # before looking, or an ack in between would be missed
        if not self._may_take:
            self.room.wait(self.timeout / 1000)
        elif self.may_block:
            self._wait_for_a_message()
        return self._may_take

    def _wait_for_a_message(self) -> None:
        self.misses = 0  # nothing to take after all? Then dramatiq's back-off starts from its shortest pause
        try:
            # The head moves onto its own place: this waits for a head and changes nothing.
            self.broker.client.blmove(self.list_key, self.list_key, self.timeout / 1000, "LEFT", "LEFT")
        except redis.ResponseError:
            log.warning("this Redis refuses BLMOVE; polling %s instead", self.list_key, exc_info=True)
            self.may_block = False


@contextmanager
def _closed_when_unreachable() -> Iterator[None]:
    # dramatiq restarts a consumer and repeats an ack when a connection breaks, but not when one times out.
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise ConnectionClosed(error) from None


class Retries(Middleware):
    """Runs a failed message again, 1 to 30 seconds apart, for what passes by itself: a lock, a lost
    connection. Three times, unless the actor's option `max_retries` says otherwise. Whether an order needs
    another look is never decided here but in the store.

    Unlike dramatiq's own it puts no traceback into the message: those hold values.
    """

    @property
    def actor_options(self) -> set[str]:
        return {"max_retries"}

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is None:
            return
        retries = message.options.get("retries", 0)
        message.options["retries"] = retries + 1
        message.options["traceback"] = f"{type(exception).__name__} at {place_of(exception)}"
        if retries >= broker.get_actor(message.actor_name).options.get("max_retries", MAX_RETRIES):
            message.fail()
        else:
            _, delay = compute_backoff(retries, factor=MIN_BACKOFF_MS, max_backoff=MAX_BACKOFF_MS)
            broker.enqueue(message.copy(), delay=delay)


def place_of(error: BaseException) -> str:
    """`module:function` of our innermost frame; of the innermost of all if none is ours."""
    frames = [frame for frame, _line in walk_tb(error.__traceback__)]
    places = [f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}" for frame in frames]
    ours = [place for place in places if place.startswith(OUR_PACKAGES)]
    return (ours or places or ["?"])[-1]


class Tombstones(Middleware):
    """Passes over a message that an operator called off while a worker already held it."""

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        assert isinstance(broker, Broker)
        if broker.client.exists(tombstone_key(broker.namespace, message.message_id)):
            raise SkipMessage(message.message_id)


def tombstone_key(namespace: str, message_id: str) -> str:
    """The key that exists while this message must not run."""
    return f"{namespace}:tombstones:{message_id}"
