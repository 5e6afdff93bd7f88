"""System: versions, settings, Redis, the database, processes, and whether their clocks agree."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import SecretStr
from starlette.responses import Response

from receiver.dashboard.desk import Desk
from receiver.dashboard.page import Address, Page
from receiver.dashboard.settings import DashboardSettings
from receiver.dashboard.visit import Visit
from workers.configuration import variable
from workers.queues import QueueUnreachable, RedisInfo
from workers.store import migrate, processes, system_reads
from workers.store.database import store_time
from workers.version import VERSION

NO_EVICTION = "noeviction"  # with any other policy a full Redis throws messages away
SKEW_TOLERATED = 2.0  # seconds; a look at the clock takes time itself


def show(visit: Visit) -> Response:
    desk = visit.desk
    with desk.reading() as connection:
        everybody = processes.list_processes(connection)
        database = system_reads.database(connection)
        oldest = system_reads.oldest(connection)
        history = system_reads.policy_history(connection)
        skew = store_time(connection) - desk.now()
    return visit.render(
        "system.html",
        version=VERSION,
        processes=everybody,
        versions=sorted({VERSION, *(one.version for one in everybody)}),
        redis=_redis(desk),
        junction=desk.junction_traffic(visit.now),
        no_eviction=NO_EVICTION,
        database=database,
        revision=migrate.revision(desk.store),
        head=migrate.head(),
        oldest=oldest,
        history=history,
        skew=skew.total_seconds(),
        skew_tolerated=SKEW_TOLERATED,
        settings=shown_settings(desk.settings),
        size=size,
    )


def shown_settings(settings: DashboardSettings) -> list[tuple[str, str, str]]:
    """Variable, value and meaning of each. Of a secret it is only told that it is set."""
    kind = type(settings)
    return [
        (variable(kind, name), _shown(getattr(settings, name)), field.description or "")
        for name, field in kind.model_fields.items()
    ]


def size(count: int) -> str:
    """Bytes in a unit that people read."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit in {"bytes", "kB"} else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TB"


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "•••••• (set)"
    return "–" if value in (None, "") else str(value)


def _redis(desk: Desk) -> RedisInfo | None:
    try:
        return desk.queues.redis_info()
    except QueueUnreachable:
        return None


def system_topic(desk: Desk, _key: str) -> Mapping[str, tuple[str, bool]]:
    """Who is there, and who is alive."""
    with desk.reading() as connection:
        everybody = processes.list_processes(connection)
    now: datetime = desk.now()
    return {one.id: (one.version, one.is_live(now)) for one in everybody}


PAGE = Page(
    label="System",
    path="/system",
    icon="system",
    key="s",
    addresses=(Address("/system", get=show),),
    topics={"system": system_topic},
)
