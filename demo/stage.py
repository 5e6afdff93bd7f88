"""Everything the demo runs on: a folder, free ports, secrets made up at start, Redis, the sandbox, the four
processes. Nothing of it is left running."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import Engine

from workers.embedded import EmbeddedRedis
from workers.store import policies, processes, users
from workers.store.database import open_store, reading, store_time, writing
from workers.store.migrate import upgrade

ROOT = Path(__file__).parent.parent
POLICY = Path(__file__).parent / "policy.yaml"
TEAM_ID = "6b1c9a52-7f1e-4a53-9f0c-2f5c8d1f0a11"  # that of examples/kit-ordered.json
USER = "demo"
USUAL_PORTS = (8000, 8001, 8300)  # receiver, dashboard, sandbox

START_SECONDS = 30.0  # on a slow machine; else two
STOP_SECONDS = 12.0  # the worker takes up to ten
LIVED = 5.0  # seconds; whoever ends sooner would end again
LAST_LINES = 12

Say = Callable[[str], None]


class CannotGoOn(Exception):
    """The demo has to end; the message says why and shows what there is to see."""


# --- folder, ports and environment -----------------------------------------------------------------------


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """The folder, emptied, and ours alone until the end. Raises CannotGoOn if another demo has it."""
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield folder
    except BlockingIOError:
        raise CannotGoOn(f"another demo is running here: it uses {folder}") from None
    finally:
        os.close(handle)


def free_ports(wanted: tuple[int, ...] = USUAL_PORTS) -> tuple[int, ...]:
    """These ports of this machine, and any free one in place of each that is taken."""
    with ExitStack() as stack:  # all are held until all are chosen, or one could be chosen twice
        return tuple(stack.enter_context(_listener(port)).getsockname()[1] for port in wanted)


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything is, and the secrets it shares."""

    folder: Path
    redis_url: str
    web_port: int
    dashboard_port: int
    sandbox_port: int
    team_id: str
    junction_key: str
    webhook_secret: str
    hash_key: str
    password: str

    @classmethod
    def choose(cls, folder: Path, redis_url: str) -> Self:
        web, dashboard, sandbox = free_ports()
        return cls(
            folder=folder,
            redis_url=redis_url,
            web_port=web,
            dashboard_port=dashboard,
            sandbox_port=sandbox,
            team_id=TEAM_ID,
            junction_key=f"sk_us_{secrets.token_urlsafe(24)}",
            webhook_secret=f"whsec_{b64encode(secrets.token_bytes(24)).decode()}",
            hash_key=secrets.token_hex(32),
            password=secrets.token_urlsafe(9),
        )

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'autocancel.db'}"

    @property
    def webhook_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}/webhooks/junction"

    @property
    def dashboard_url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def orders_url(self) -> str:
        return f"{self.dashboard_url}/orders"

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}"

    def environment(self, **more: str) -> dict[str, str]:
        """What every process is told and, of secrets, only what it uses. Nothing of ours is passed on."""
        return {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "AUTOCANCEL_ENVIRONMENT": "sandbox",
            "AUTOCANCEL_TEAM_ID": self.team_id,
            "AUTOCANCEL_HASH_KEY": self.hash_key,
            **more,
        }

    def of_the_engine(self) -> dict[str, str]:
        return self.environment(
            JUNCTION_BASE_URL=self.sandbox_url,
            JUNCTION_API_KEY=self.junction_key,
            AUTOCANCEL_POLICY=str(POLICY.relative_to(ROOT)),  # where each process runs
            AUTOCANCEL_CALLS_PER_SECOND="50",
            AUTOCANCEL_CALLS_AT_ONCE="50",
            AUTOCANCEL_TICK_SECONDS="0.2",
        )


# --- processes -------------------------------------------------------------------------------------------


class Process:
    """A program of ours, `python -m module arguments`, with its log in a file."""

    def __init__(self, name: str, module: str, log: Path, environment: Mapping[str, str], *arguments: str):
        self.name = name
        self._command = [sys.executable, "-m", module, *arguments]
        self._environment = environment
        self._log = log
        self._running: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def start(self) -> None:
        self._started_at = time.monotonic()
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal is for us, who then stop things in our order.
            self._running = subprocess.Popen(  # noqa: S603 - our own modules and arguments
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ask_to_stop(self) -> None:
        if self._running:
            self._running.terminate()

    def stop(self) -> None:
        """Returns once it has ended, at the latest after STOP_SECONDS."""
        if self._running is None:
            return
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._running.wait(STOP_SECONDS)
        with self._running:
            self._running.kill()

    @property
    def ended_with(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._running.poll() if self._running else None

    @property
    def lived(self) -> bool:
        """Whether it ran long enough to be worth another start."""
        return time.monotonic() - self._started_at > LIVED

    def obituary(self) -> str:
        said = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(
            [f"the {self.name} ended with status {self.ended_with}; {self._log} ends so:", *said]
        )


class Stage:
    """All of it inside a `with` block; `say` is told what happens. Raises CannotGoOn."""

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder = folder
        self._say = say
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._set_up(opening)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._say("stopping everything")
        self._open.close()

    def _set_up(self, opening: ExitStack) -> None:
        folder = opening.enter_context(fresh_folder(self._folder))
        redis = opening.enter_context(EmbeddedRedis(folder / "redis"))
        self.place = Place.choose(folder, redis.url)
        self._say(f"Redis: {redis.url}")
        self.store: Engine = open_store(self.place.database_url)
        opening.callback(self.store.dispose)
        upgrade(self.store)
        with writing(self.store) as connection:
            users.add(connection, USER, self.place.password, "admin", store_time(connection))
        self._write_environment()
        self._say(f"database: {self.place.database_url}")
        (folder / "logs").mkdir()
        self.sandbox, *self.processes = self._all_processes()
        opening.callback(self._stop_all)
        for process in (self.sandbox, *self.processes):
            process.start()
        self._wait_until(self._is_up)
        self._say(f"sandbox in Junction's place: {self.place.sandbox_url}")
        self._say(f"up: {', '.join(process.name for process in self.processes)}; logs in {folder / 'logs'}")

    def _write_environment(self) -> None:
        """What a second terminal needs to send events, to look at pages and to ask for explanations."""
        variables = self.place.environment(
            AUTOCANCEL_WEBHOOK_SECRETS=f"demo={self.place.webhook_secret}",
            AUTOCANCEL_RECEIVER_URL=self.place.webhook_url,
            DASHBOARD=self.place.dashboard_url,
            DASHBOARD_LOGIN=f"name={USER}&password={self.place.password}",
        )
        del variables["PATH"]
        path = self._folder / "env"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))

    def look_after(self) -> None:
        """Starts again what has ended. Raises CannotGoOn when that would not help."""
        if self.sandbox.ended_with is not None:  # all orders are gone with it
            raise CannotGoOn(self.sandbox.obituary())
        for process in self.processes:
            if process.ended_with is None:
                continue
            if not process.lived:
                raise CannotGoOn(process.obituary())
            self._say(f"the {process.name} ended with status {process.ended_with}; starting it again")
            process.start()

    def _all_processes(self) -> list[Process]:
        place = self.place
        sandbox = (
            *("--port", str(place.sandbox_port), "--webhook-url", place.webhook_url, "--seed", "7"),
            *("--secret", place.webhook_secret, "--api-key", place.junction_key, "--team-id", place.team_id),
            *("--retry-scale", "0.1"),
        )
        web = place.environment(
            AUTOCANCEL_WEBHOOK_SECRETS=f"demo={place.webhook_secret}", AUTOCANCEL_PORT=str(place.web_port)
        )
        dashboard = place.environment(
            AUTOCANCEL_DASHBOARD_PORT=str(place.dashboard_port),
            AUTOCANCEL_DASHBOARD_ORIGIN=place.dashboard_url,
        )
        described = [
            ("sandbox", "sandbox.main", {"PATH": os.environ["PATH"]}, sandbox),
            ("receiver", "receiver.main", web, ()),
            ("worker", "workers.main", place.of_the_engine(), ()),
            ("clock", "workers.clock", place.of_the_engine(), ()),
            ("dashboard", "receiver.dashboard.main", dashboard, ()),
        ]
        return [
            Process(name, module, place.folder / "logs" / f"{name}.log", environment, *arguments)
            for name, module, environment, arguments in described
        ]

    def _is_up(self) -> bool:
        ports = [self.place.sandbox_port, self.place.web_port, self.place.dashboard_port]
        with reading(self.store) as connection:
            at_work = processes.list_processes(connection) and policies.active(connection)
        return bool(at_work) and all(map(_accepts, ports))

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not holds():
            self.look_after()
            if time.monotonic() > deadline:
                raise CannotGoOn(
                    f"not everything is up after {START_SECONDS:.0f} s; see {self._folder / 'logs'}"
                )
            time.sleep(0.1)

    def _stop_all(self) -> None:
        """At once, but for the sandbox: a call under way may still get its answer."""
        for process in self.processes:
            process.ask_to_stop()
        for process in (*self.processes, self.sandbox):
            process.stop()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
