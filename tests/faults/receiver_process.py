"""A receiver in a process of its own, with a fresh store and queue, for the scripts in this folder."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest
from pathlib import Path

from sqlalchemy import Engine

from workers.embedded import EmbeddedRedis
from workers.store.database import open_store
from workers.store.schema import metadata

KEY = b"twenty-four bytes of key"
TEAM = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
ROOT = Path(__file__).parents[2]


@dataclass
class ReceiverProcess:
    process: "subprocess.Popen[bytes]"
    port: int
    store: Engine
    log_file: Path

    def memory(self, which: str = "VmRSS") -> float:
        """MiB in use now, or at most until now (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith(which))
        return int(line.split()[1]) / 1024

    def complaints(self) -> list[str]:
        """What the process said that no request may make it say."""
        lines = self.log_file.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "Traceback" in line or '"level": "error"' in line]


def signed(body: bytes, delivery_id: str) -> dict[str, str]:
    timestamp = str(int(time.time()))
    content = f"{delivery_id}.{timestamp}.".encode() + body
    return {
        "content-type": "application/json",
        "svix-id": delivery_id,
        "svix-timestamp": timestamp,
        "svix-signature": "v1," + b64encode(digest(KEY, content, sha256)).decode(),
    }


def post(body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a request."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = ["POST /webhooks/junction HTTP/1.1", "host: door", *lines, f"content-length: {len(body)}"]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


@contextmanager
def receiver_process(**settings: str) -> Iterator[ReceiverProcess]:
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedRedis(Path(name) / "redis") as redis,
        (Path(name) / "log").open("wb") as log,
    ):
        url = f"sqlite:///{name}/autocancel.db"
        store = open_store(url)
        metadata.create_all(store)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        variables = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "AUTOCANCEL_TEAM_ID": TEAM,
            "AUTOCANCEL_HASH_KEY": "a key for hashing ids",
            "AUTOCANCEL_WEBHOOK_SECRETS": f"main=whsec_{b64encode(KEY).decode()}",
            "AUTOCANCEL_PORT": str(port),
        }
        command = [sys.executable, "-m", "receiver.main"]
        environment = os.environ | variables | settings
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            wait_for(port)
            yield ReceiverProcess(process, port, store, Path(name) / "log")
        finally:
            process.terminate()
            process.wait()
            store.dispose()


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the receiver did not start")
