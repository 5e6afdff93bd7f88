"""The queue as operators see it: what waits where, and the few things that may be done about a message.

Reads and writes dramatiq's own keys; the tests hold that they are laid out as assumed here.
"""

# mypy: allow-untyped-calls
# (redis-py registers scripts without types)

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice
from typing import Any, Literal
from uuid import uuid4

import redis
from dramatiq import Message
from dramatiq.common import dq_name, q_name

from workers import done
from workers.broker import NAMESPACE, tombstone_key
from workers.done import Run
from workers.messages import QUEUES
from workers.permits import JUNCTION, Traffic, traffic
from workers.store.database import EPOCH

Tab = Literal["ready", "delayed", "retrying", "dead"]

# Delayed messages lie in a hash, without order: so many are read and sorted, more than ever should wait.
MOST_DELAYED = 10_000

MOVED_AT_ONCE = 1_000  # in one step, during which Redis does nothing else

# dramatiq delays a message by seven days at most; after that nothing is left that could come back.
TOMBSTONE_SECONDS = 8 * 24 * 3600


class QueueUnreachable(Exception):
    """Redis does not answer. Nothing is lost by it: what the queue held comes back from the store."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many messages a queue holds, by where they are, and since when the oldest has been there (UTC).

    `in_flight`: running or in a worker's memory. `delayed_in_memory`: delayed ones a worker holds already.
    """

    name: str
    ready: int
    in_flight: int
    delayed: int
    delayed_in_memory: int
    dead: int
    oldest_ready_at: datetime | None
    oldest_dead_at: datetime | None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message. `redis_id` addresses it; `id` stays the same over retries. Times are UTC.

    `called_off`: a worker holds it and will pass it over.
    """

    redis_id: str
    id: str
    queue: str
    actor: str
    args: dict[str, Any]
    enqueued_at: datetime
    eta: datetime | None
    retries: int
    error: str | None
    place: str | None
    died_at: datetime | None = None
    called_off: bool = False


@dataclass(frozen=True, slots=True)
class Delays:
    """How many delayed messages have failed before, and when (UTC) the next of all and of those is due."""

    retrying: int
    next_due_at: datetime | None
    next_retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class RedisInfo:
    version: str
    used_memory: int  # bytes
    peak_memory: int  # bytes
    clients: int
    maxmemory_policy: str  # anything but noeviction may lose messages


class Outcome(Enum):
    """What became of an operator's wish."""

    REQUEUED = "requeued"  # waits in its queue again, as if never tried
    RESCHEDULED = "rescheduled"  # waits for its new time, or in its queue
    REPLACED = "replaced"  # a worker holds it and will pass it over; another has taken its place
    REMOVED = "removed"
    CALLED_OFF = "called off"  # a worker holds it and will pass it over, unless it is running already
    NOT_THERE = "not there"  # or not any more


# Every queue at one moment, in one round trip: five counts, the oldest waiting message, the first death.
SNAPSHOT = """
local states = {}
for i, q in ipairs(KEYS) do
    local head = redis.call('LINDEX', q, 0)
    local death = redis.call('ZRANGE', q .. '.XQ', 0, 0, 'WITHSCORES')
    states[i] = {
        redis.call('LLEN', q), redis.call('HLEN', q .. '.msgs'),
        redis.call('LLEN', q .. '.DQ'), redis.call('HLEN', q .. '.DQ.msgs'),
        redis.call('ZCARD', q .. '.XQ'),
        head and redis.call('HGET', q .. '.msgs', head), death[2] or false,
    }
end
return states
"""

# Only the message that was read, and only once, whoever else is at it.
REQUEUE = """
local queue, tombstone = KEYS[1], KEYS[2]
local id, old, new = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', queue .. '.XQ.msgs', id) ~= old then return 'not there' end
if redis.call('ZREM', queue .. '.XQ', id) ~= 1 then return 'not there' end
redis.call('HDEL', queue .. '.XQ.msgs', id)
redis.call('DEL', tombstone)
redis.call('HSET', queue .. '.msgs', id, new)
redis.call('RPUSH', queue, id)
return 'requeued'
"""

DISCARD = """
if redis.call('ZREM', KEYS[1] .. '.XQ', ARGV[1]) ~= 1 then return 'not there' end
redis.call('HDEL', KEYS[1] .. '.XQ.msgs', ARGV[1])
return 'removed'
"""

# Still in its list, a message can be taken out; a worker that holds it can only be told.
CALL_OFF = """
local queue, tombstone = KEYS[1], KEYS[2]
local id, seconds = ARGV[1], ARGV[2]
for _, place in ipairs({queue, queue .. '.DQ'}) do
    if redis.call('LREM', place, 1, id) == 1 then
        redis.call('HDEL', place .. '.msgs', id)
        return 'removed'
    end
    if redis.call('HEXISTS', place .. '.msgs', id) == 1 then
        redis.call('SET', tombstone, 1, 'EX', seconds)
        return 'called off'
    end
end
return 'not there'
"""

# What is still in its list gets its new time under its id. What a worker holds keeps its old time, so another
# takes its place and a tombstone keeps the first from running. What has one was called off before: not again.
RESCHEDULE = """
local queue, target = KEYS[1], KEYS[2]
local said = {}
for i = 1, #KEYS - 2 do
    local tombstone = KEYS[i + 2]
    local id, old, same, other_id, other = unpack(ARGV, i * 5 - 3, i * 5 + 1)
    if redis.call('HGET', queue .. '.DQ.msgs', id) ~= old or redis.call('EXISTS', tombstone) == 1 then
        said[i] = 'not there'
    else
        if redis.call('LREM', queue .. '.DQ', 1, id) == 1 then
            redis.call('HDEL', queue .. '.DQ.msgs', id)
            said[i] = 'rescheduled'
        else
            redis.call('SET', tombstone, 1, 'EX', ARGV[1])
            id, same = other_id, other
            said[i] = 'replaced'
        end
        redis.call('HSET', target .. '.msgs', id, same)
        redis.call('RPUSH', target, id)
    end
end
return said
"""


class QueueReader:
    """Reads and tends the queues at `client`. Every method may raise QueueUnreachable."""

    def __init__(self, client: redis.Redis, namespace: str = NAMESPACE) -> None:
        self.client = client
        self.namespace = namespace
        self._snapshot = client.register_script(SNAPSHOT)
        self._requeue = client.register_script(REQUEUE)
        self._discard = client.register_script(DISCARD)
        self._call_off = client.register_script(CALL_OFF)
        self._reschedule = client.register_script(RESCHEDULE)

    def snapshot(self) -> tuple[QueueState, ...]:
        """Every queue, all at the same moment."""
        with _own_error():
            states = self._snapshot([self._key(queue) for queue in QUEUES])
        return tuple(_state(queue, *state) for queue, state in zip(QUEUES, states, strict=True))

    def messages(self, queue: str, tab: Tab, offset: int = 0, limit: int = 50) -> tuple[MessageRow, ...]:
        """A page of what waits: `ready` as it will be taken, `delayed` as it falls due, `dead` newest first.

        `retrying` is the part of delayed that has failed before.
        """
        with _own_error():
            match tab:
                case "ready":
                    return self._ready(queue, offset, limit)
                case "dead":
                    return self._dead(queue, offset, limit)
                case "delayed":
                    return self._marked(self._delayed(queue)[offset : offset + limit])
                case "retrying":
                    retrying = [row for row in self._delayed(queue) if row.retries]
                    return self._marked(retrying[offset : offset + limit])

    def delays(self, queue: str) -> Delays:
        """Reads every delayed message, MOST_DELAYED of them at most."""
        with _own_error():
            delayed = self._delayed(queue)
        retries = [row.eta for row in delayed if row.retries]
        return Delays(len(retries), delayed[0].eta if delayed else None, retries[0] if retries else None)

    def finished(self, queue: str, offset: int = 0, limit: int = 50) -> tuple[Run, ...]:
        """The runs that ended last, newest first."""
        with _own_error():
            return done.latest(self.client, self.namespace, queue, offset, limit)

    def message(self, queue: str, redis_id: str) -> MessageRow | None:
        """One message wherever it is: waiting, in flight or dead."""
        key = self._key(queue)
        with _own_error(), self.client.pipeline() as together:
            together.hget(f"{key}.msgs", redis_id)
            together.hget(f"{key}.DQ.msgs", redis_id)
            together.hget(f"{key}.XQ.msgs", redis_id)
            together.zscore(f"{key}.XQ", redis_id)
            *places, death = together.execute()
            found = [_row(redis_id, data, death) for data in places if data][:1]
            return next(iter(self._marked(found)), None)

    def requeue_dead(self, queue: str, redis_id: str, now: datetime) -> Outcome:
        """Lets a dead message run again, under the same id and with all its attempts before it."""
        key = self._key(queue)
        with _own_error():
            old: Any = self.client.hget(f"{key}.XQ.msgs", redis_id)
            if old is None:
                return Outcome.NOT_THERE
            message = Message.decode(old)
            keys = [key, tombstone_key(self.namespace, message.message_id)]
            return _outcome(self._requeue(keys, [redis_id, old, _as_new(message, queue, now).encode()]))

    def discard_dead(self, queue: str, redis_id: str) -> Outcome:
        """Throws a dead message away; what it was about is still in the store."""
        with _own_error():
            return _outcome(self._discard([self._key(queue)], [redis_id]))

    def call_off(self, queue: str, redis_id: str) -> Outcome:
        """Keeps a waiting message from running, as far as that is still possible."""
        row = self.message(queue, redis_id)
        if row is None:
            return Outcome.NOT_THERE
        keys = [self._key(queue), tombstone_key(self.namespace, row.id)]
        with _own_error():
            return _outcome(self._call_off(keys, [redis_id, TOMBSTONE_SECONDS]))

    def reschedule(
        self, queue: str, redis_ids: Sequence[str], due_at: datetime | None
    ) -> Mapping[Outcome, int]:
        """Makes delayed messages wait in their queue at once, or until `due_at`; how many went which way."""
        key = self._key(queue)
        with _own_error():
            found: Any = self.client.hmget(f"{key}.DQ.msgs", list(redis_ids)) if redis_ids else []
            moves = [
                _move(redis_id, old, queue, due_at)
                for redis_id, old in zip(redis_ids, found, strict=True)
                if old
            ]
            keys = [key if due_at is None else f"{key}.DQ"]
            keys += [tombstone_key(self.namespace, move.message_id) for move in moves]
            arguments = [part for move in moves for part in move.arguments]
            said = self._reschedule([key, *keys], [TOMBSTONE_SECONDS, *arguments]) if moves else []
        gone = len(redis_ids) - len(moves)
        return Counter(map(_outcome, said)) + Counter({Outcome.NOT_THERE: gone})

    def run_all_now(self, queue: str) -> Mapping[Outcome, int]:
        """Makes what is delayed wait in its queue at once: the MOVED_AT_ONCE that are due first."""
        with _own_error():
            waiting = self._marked(self._delayed(queue))
        ids = [row.redis_id for row in waiting if not row.called_off]
        return self.reschedule(queue, ids[:MOVED_AT_ONCE], None)

    def redis_info(self) -> RedisInfo:
        with _own_error():
            info = self.client.info()
        return RedisInfo(
            version=info.get("valkey_version") or info["redis_version"],
            used_memory=info["used_memory"],
            peak_memory=info["used_memory_peak"],
            clients=info["connected_clients"],
            maxmemory_policy=info["maxmemory_policy"],
        )

    def junction(self) -> Traffic:
        """How calls to Junction fare, by what their permits say."""
        with _own_error():
            return traffic(self.client, JUNCTION)

    def _key(self, queue: str) -> str:
        return f"{self.namespace}:{queue}"

    def _ready(self, queue: str, offset: int, limit: int) -> tuple[MessageRow, ...]:
        key = self._key(queue)
        ids: Any = self.client.lrange(key, offset, offset + limit - 1)
        return tuple(self._rows(key, dict.fromkeys(ids)))

    def _dead(self, queue: str, offset: int, limit: int) -> tuple[MessageRow, ...]:
        key = f"{self._key(queue)}.XQ"
        deaths: Any = self.client.zrange(key, offset, offset + limit - 1, desc=True, withscores=True)
        return tuple(self._rows(key, dict(deaths)))

    def _delayed(self, queue: str) -> list[MessageRow]:
        found = islice(self.client.hscan_iter(f"{self._key(queue)}.DQ.msgs", count=1000), MOST_DELAYED)
        rows = [_row(redis_id.decode(), data) for redis_id, data in found]
        return sorted(rows, key=lambda row: row.eta or row.enqueued_at)

    def _marked(self, rows: Sequence[MessageRow]) -> tuple[MessageRow, ...]:
        """The same rows, saying which were called off."""
        with self.client.pipeline(transaction=False) as together:
            for row in rows:
                together.exists(tombstone_key(self.namespace, row.id))
            tombstones = together.execute()
        return tuple(
            replace(row, called_off=bool(there)) for row, there in zip(rows, tombstones, strict=True)
        )

    def _rows(self, key: str, deaths: Mapping[bytes, float | None]) -> Iterator[MessageRow]:
        """The messages with these ids; one that has just gone is left out."""
        messages: Any = self.client.hmget(f"{key}.msgs", list(deaths)) if deaths else []
        for (redis_id, death), data in zip(deaths.items(), messages, strict=True):
            if data:
                yield _row(redis_id.decode(), data, death)


def _state(
    name: str, ready: int, all_ready: int, unfetched: int, delayed: int, dead: int, head: Any, death: Any
) -> QueueState:
    return QueueState(
        name=name,
        ready=ready,
        in_flight=all_ready - ready,
        delayed=delayed,
        delayed_in_memory=delayed - unfetched,
        dead=dead,
        oldest_ready_at=_time(Message.decode(head).message_timestamp) if head else None,
        oldest_dead_at=_time(float(death)) if death else None,
    )


def _row(redis_id: str, data: bytes, death: float | None = None) -> MessageRow:
    message = Message.decode(data)
    options = message.options
    error, _, place = options.get("traceback", "").partition(" at ")
    return MessageRow(
        redis_id=redis_id,
        id=message.message_id,
        queue=q_name(message.queue_name),
        actor=message.actor_name,
        args=message.kwargs,
        enqueued_at=_time(message.message_timestamp),
        eta=_time(options["eta"]) if "eta" in options else None,
        retries=options.get("retries", 0),
        error=error or None,
        place=place or None,
        died_at=_time(death) if death else None,
    )


def _as_new(message: Message[Any], queue: str, now: datetime) -> Message[Any]:
    tried = {"retries", "traceback", "requeue_timestamp", "eta"}
    return replace(
        message,
        queue_name=queue,
        message_timestamp=(now - EPOCH) // timedelta(milliseconds=1),
        options={name: value for name, value in message.options.items() if name not in tried},
    )


@dataclass(frozen=True, slots=True)
class _Move:
    """What RESCHEDULE is told of one message."""

    message_id: str
    arguments: tuple[str | bytes, ...]


def _move(redis_id: str, old: bytes, queue: str, due_at: datetime | None) -> _Move:
    message = Message.decode(old)
    options = {name: value for name, value in message.options.items() if name != "eta"}
    if due_at is not None:
        options["eta"] = (due_at - EPOCH) // timedelta(milliseconds=1)
    same = replace(message, queue_name=queue if due_at is None else dq_name(queue), options=options)
    other_id = str(uuid4())
    other = replace(same, message_id=str(uuid4()), options=options | {"redis_message_id": other_id})
    return _Move(message.message_id, (redis_id, old, same.encode(), other_id, other.encode()))


def _outcome(said: bytes) -> Outcome:
    return Outcome(said.decode())


def _time(milliseconds: float) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)


@contextmanager
def _own_error() -> Iterator[None]:
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise QueueUnreachable(str(error)) from error
