"""The engine's world of tests/workers, with a clock that reads the world's policy file."""

import pytest

from tests.workers.conftest import World, sandbox, sqlite_world, world
from workers.clock import Clock
from workers.settings import Settings

__all__ = ["reader", "sandbox", "sqlite_world", "world"]


class Reader:
    """The clock, as far as it reads the policy: `write` changes the file, `tick` is one look at it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.path = world.tmp_path / "policy.yaml"
        settings = Settings.model_validate(
            {
                "database_url": world.store.url.render_as_string(hide_password=False),
                "redis_url": "redis://localhost/0",
                "hash_key": "a key for tests only",
                "team_id": world.services.team_id,
                "junction_base_url": world.sandbox.url,
                "junction_api_key": world.sandbox.config.api_key,
                "policy": self.path,
            }
        )
        self.clock = Clock(store=world.store, publish=world.queue.append, settings=settings)

    def tick(self, times: int = 2) -> None:
        """Twice by default: a change is believed when the second look still finds it."""
        for _ in range(times):
            self.clock.read_policy()

    def load(self, text: str) -> None:
        self.path.write_text(text)
        self.tick()


@pytest.fixture
def reader(sqlite_world: World) -> Reader:
    return Reader(sqlite_world)
