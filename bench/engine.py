"""The engine's handlers in this process, on a store of their own, under the example policy. They only project
here, so nobody is asked anything over the network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine

from bench.deliveries import KEEP
from bench.planning import EXAMPLE
from sandbox.config import API_KEY, TEAM_ID
from workers.junction import Junction
from workers.policy_file import Loaded, load_policy
from workers.policy_loading import accept
from workers.reasons import Reasons
from workers.services import Services
from workers.store.database import store_time, writing


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def engine(store: Engine) -> Iterator[Services]:
    """What handlers are given, with the example as the active policy."""
    loaded = load_policy(EXAMPLE)
    assert isinstance(loaded, Loaded), loaded
    with writing(store) as connection:
        accept(connection, loaded, EXAMPLE.name, store_time(connection))
    with Junction("http://127.0.0.1:9", API_KEY, KEEP, now=now) as junction:
        yield Services(
            store=store,
            junction=junction,
            publish=lambda _message: None,
            now=now,
            monotonic=time.monotonic,
            environment=loaded.policy.environment,
            team_id=str(TEAM_ID),
            version="bench",
            reasons=Reasons(now),
        )
