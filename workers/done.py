"""The runs that ended last, some of each queue, kept in Redis: something to look at, nothing to rely on."""

# mypy: allow-untyped-calls
# (redis-py's pipelines have no types)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
import redis

KEPT = 100  # of each queue

Ending = Literal["ok", "retried", "failed"]


@dataclass(frozen=True, slots=True)
class Run:
    """A message's run that ended `at` (UTC). `attempt` counts from 1; `error` is a type."""

    message_id: str
    actor: str
    queue: str
    args: dict[str, Any]
    attempt: int
    ending: Ending
    error: str | None
    worker: str
    at: datetime
    took_ms: int


def keep(client: redis.Redis, namespace: str, runs: Mapping[str, Sequence[Run]]) -> None:
    """Adds these runs, oldest first, by queue; the ones before KEPT newer ones are forgotten."""
    with client.pipeline() as together:
        for queue, ended in runs.items():
            together.lpush(_key(namespace, queue), *(orjson.dumps(asdict(run)) for run in ended))
            together.ltrim(_key(namespace, queue), 0, KEPT - 1)
        together.execute()


def latest(client: redis.Redis, namespace: str, queue: str, offset: int, limit: int) -> tuple[Run, ...]:
    """Newest first."""
    found: Any = client.lrange(_key(namespace, queue), offset, offset + limit - 1)
    return tuple(_run(orjson.loads(text)) for text in found)


def _run(said: dict[str, Any]) -> Run:
    return Run(**said | {"at": datetime.fromisoformat(said["at"])})


def _key(namespace: str, queue: str) -> str:
    return f"{namespace}:runs:{queue}"
