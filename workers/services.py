"""What handlers are given: the store, Junction, the queue, the clock, the active policy. Built in `main`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from workers.core.action import Patience
from workers.core.calendar import Calendar
from workers.core.policy import Policy
from workers.junction import Junction
from workers.messages import Message
from workers.policy_file import Mistakes, parse_policy
from workers.reasons import Reasons
from workers.store import controls, policies
from workers.store.cases import Surroundings


@dataclass(frozen=True)
class Active:
    """The policy generation that is active in the store."""

    number: int
    hash: str
    policy: Policy
    calendar: Calendar
    live_since: dict[str, datetime]


class ActivePolicy:
    """Reads the active generation from the store, parsing each generation once. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Active | None = None

    def read(self, connection: Connection, *, lock: bool = False) -> Active | None:
        """The generation as this transaction sees it; None before any was accepted. `lock`: no other becomes
        active until the transaction ends, and None when one just has."""
        generation = policies.active(connection, lock=lock)
        if generation is None:
            return None
        with self._lock:
            known = self._known
        if known is not None and (known.number, known.hash) == (generation.number, generation.hash):
            return known
        active = understand(connection, generation)
        with self._lock:
            self._known = active
        return active


class PolicyNotUnderstood(Exception):
    """The policy was accepted by another version of this program."""


def understand(connection: Connection, generation: policies.Generation) -> Active:
    """Raises PolicyNotUnderstood: only accepted texts are stored, so this program is older than the text."""
    parsed = parse_policy(generation.text, generation.source)
    if isinstance(parsed, Mistakes):
        raise PolicyNotUnderstood(f"generation {generation.number} of {generation.source}")
    modes = policies.modes(connection).items()
    live_since = {name: since for name, (_, since) in modes if since is not None}
    return Active(generation.number, generation.hash, parsed, parsed.time.calendar(), live_since)


@dataclass(frozen=True)
class Services:
    """Everything a handler may use."""

    store: Engine
    junction: Junction
    publish: Callable[[Message], object]
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    environment: str
    team_id: str
    version: str
    reasons: Reasons
    policy: ActivePolicy = field(default_factory=ActivePolicy)
    patience: Patience = field(default_factory=Patience)
    lease: timedelta = timedelta(seconds=60)  # a handler takes seconds; a dead one's rows wait this long

    def surroundings(self, connection: Connection, active: Active) -> Surroundings:
        return Surroundings(
            calendar=active.calendar,
            environment=self.environment,
            team_id=self.team_id,
            live_since=active.live_since,
            awake_since=controls.switched_off_at(connection, [controls.STOP, controls.LIMITS]),
        )
