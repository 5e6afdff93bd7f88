"""Permission to call Junction, shared by all workers through Redis: a token bucket, a quiet time that
Junction asked for, and a circuit breaker. Time is the Redis server's, so that hosts need not agree on it.
"""

# mypy: allow-untyped-calls
# (redis-py registers scripts without types)

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import redis
from redis.commands.core import Script

log = logging.getLogger(__name__)

JUNCTION = "junction"  # what all calls there are rationed under

FAILURES_TO_OPEN = 5  # in a row
OPEN_SECONDS = 5.0  # at least; at most twice that, and twice as much again with each failed probe
LONGEST_OPEN_SECONDS = 300.0
PROBE_SECONDS = 60.0  # a probe not reported on by then is lost, and the next may go


@dataclass(frozen=True, slots=True)
class Granted:
    """Go ahead, once, and report how it went. `probe`: the one call that shall see if Junction is back."""

    probe: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Not before so many seconds have passed; then ask again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Redis cannot be asked. No permit, no call."""


Circuit = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Closed: calls go through. Open: none does. Half-open: one may, to see. None does, either, for as many
    seconds as Junction wants quiet."""

    circuit: Circuit
    quiet_seconds: float


def traffic(client: redis.Redis, name: str) -> Traffic:
    """How calls by this name fare. Raises redis.RedisError."""
    circuit, quiet = client.eval(TRAFFIC, 1, _key(name))
    return Traffic(circuit.decode(), float(quiet))


def _key(name: str) -> str:
    return f"permits:{name}"


# One hash: tokens, at (when they were counted), quiet_until, failures (in a row), openings (in a row),
# open_until (present while not closed), probe_until.
NOW = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local function get(field) return tonumber(redis.call('HGET', KEYS[1], field)) end
local function set(field, value) redis.call('HSET', KEYS[1], field, string.format('%.6f', value)) end
"""

TAKE = (
    NOW
    + """
local rate, burst, probe_seconds = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local calls = tonumber(ARGV[4])
local open_until = get('open_until')
local ready_at = math.max(get('quiet_until') or 0, open_until or 0, open_until and get('probe_until') or 0)
local tokens = math.min(burst, (get('tokens') or burst) + math.max(0, now - (get('at') or now)) * rate)
if tokens < 1 then ready_at = math.max(ready_at, now + (1 - tokens) / rate) end
if ready_at > now then return {'wait', string.format('%.6f', ready_at - now)} end
set('tokens', tokens - calls)
set('at', now)
if not open_until then return {'granted', 0} end
set('probe_until', now + probe_seconds)
return {'probe', 0}
"""
)

BACK_OFF = (
    NOW
    + """
set('quiet_until', math.max(get('quiet_until') or 0, now + ARGV[1]))
"""
)

# While the circuit is not closed only the probe's word counts: other calls began before it opened.
REPORT = (
    NOW
    + """
local probe, ok = ARGV[1] == '1', ARGV[2] == '1'
local limit, base, longest, share = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local open_until = get('open_until')
if open_until and not probe then return end
if ok then
    redis.call('HDEL', KEYS[1], 'failures', 'openings', 'open_until', 'probe_until')
    return
end
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
if not open_until and failures < limit then return end
local openings = redis.call('HINCRBY', KEYS[1], 'openings', 1)
local most = math.min(longest, base * 2 ^ math.min(openings, 30))
set('open_until', now + base + (most - base) * share)
redis.call('HDEL', KEYS[1], 'failures', 'probe_until')
"""
)

TRAFFIC = (
    NOW
    + """
local open_until = get('open_until')
local circuit = not open_until and 'closed' or open_until > now and 'open' or 'half-open'
return {circuit, string.format('%.6f', math.max(0, (get('quiet_until') or 0) - now))}
"""
)


class Permits:
    """`rate_per_second` calls on average, `burst` at once, for all who use this `name`.

    `jitter` gives numbers from 0 to 1: where between its shortest and longest time the circuit closes again.
    """

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        rate_per_second: float,
        burst: int,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.key = _key(name)
        self.rate = rate_per_second
        self.burst = burst
        self.jitter = jitter
        self._take = client.register_script(TAKE)
        self._back_off = client.register_script(BACK_OFF)
        self._report = client.register_script(REPORT)

    def take(self, calls: int = 1) -> Granted | Wait | Unavailable:
        """Asks for so many calls, all or none. One token is enough to be granted them; the bucket then owes
        the rest, so that whoever needs more is not for ever overtaken by those who need less."""
        try:
            word, seconds = self._take([self.key], [self.rate, self.burst, PROBE_SECONDS, calls])
        except redis.RedisError:
            return Unavailable()
        if word == b"wait":
            return Wait(float(seconds))
        return Granted(probe=word == b"probe")

    def back_off(self, seconds: float) -> None:
        """Junction asked for quiet (Retry-After): nobody gets a permit before that. Never shortens it."""
        self._tell(self._back_off, seconds)

    def report(self, permit: Granted, *, ok: bool) -> None:
        """How the call went. `ok`: Junction answered at all, whatever it answered."""
        self._tell(
            self._report,
            int(permit.probe),
            int(ok),
            FAILURES_TO_OPEN,
            OPEN_SECONDS,
            LONGEST_OPEN_SECONDS,
            self.jitter(),
        )

    def _tell(self, script: Script, *arguments: float) -> None:
        try:
            script([self.key], arguments)
        except redis.RedisError:
            # The next to ask gets no permit either; once Redis is back, Junction will say the same again.
            log.warning("Redis was not told about a call", exc_info=True)


class Prepaid:
    """Permits for a few calls that belong together: all of them, or none is begun.

    A look costs calls, too. If the call it was made for had to queue up again behind other looks, the look
    would be stale by then and be repeated, and under load nobody would ever get to call.
    """

    def __init__(self, permits: Permits, calls: int) -> None:
        self._permits = permits
        self._left = calls

    def take(self) -> Granted | Wait | Unavailable:
        if self._left > 0:
            self._left -= 1
            return Granted(probe=False)
        return self._permits.take()

    def back_off(self, seconds: float) -> None:
        self._left = 0  # what Junction asks for now counts more than what was promised before
        self._permits.back_off(seconds)

    def report(self, permit: Granted, *, ok: bool) -> None:
        if not ok:
            self._left = 0
        self._permits.report(permit, ok=ok)
