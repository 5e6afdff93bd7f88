"""The receiver as a process of its own: how it starts, what it says, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from workers.store.database import open_store
from workers.store.schema import metadata

if TYPE_CHECKING:
    from tests.receiver.conftest import AnEvent, Clock, Eventually, Sender

ROOT = Path(__file__).parents[2]
WHSEC = "whsec_dHdlbnR5LWZvdXIgYnl0ZXMgb2Yga2V5"
HASH_KEY = "a key for hashing ids"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python -m receiver.main` with nothing but these variables set for it."""
    with ExitStack() as at_the_end:

        def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
            inherited = {
                name: value
                for name, value in os.environ.items()
                if not name.startswith("AUTOCANCEL_") and name not in {"DATABASE_URL", "REDIS_URL"}
            }
            process = subprocess.Popen(
                [sys.executable, "-m", "receiver.main", *arguments],
                cwd=ROOT,
                env=inherited | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            at_the_end.enter_context(process)
            at_the_end.callback(process.kill)
            return process

        yield start


@pytest.fixture
def variables(sqlite_url: str, redis_url: str) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {
        "DATABASE_URL": sqlite_url,
        "REDIS_URL": redis_url,
        "AUTOCANCEL_TEAM_ID": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "AUTOCANCEL_HASH_KEY": HASH_KEY,
        "AUTOCANCEL_WEBHOOK_SECRETS": f"main={WHSEC}",
        "AUTOCANCEL_PORT": str(port),
    }


def test_without_settings_it_says_what_it_needs_and_ends_with_status_2(start: Start) -> None:
    said, complaints = start().communicate()
    assert "DATABASE_URL: is not set" in complaints
    assert "AUTOCANCEL_WEBHOOK_SECRETS: set either" in complaints
    assert "Traceback" not in said + complaints


def test_bad_settings_end_it_with_status_2(start: Start) -> None:
    process = start(AUTOCANCEL_HASH_KEY="hunter2")
    _, complaints = process.communicate()
    assert process.returncode == 2
    assert "hunter2" not in complaints


def test_help_names_every_setting(start: Start) -> None:
    process = start("--help")
    said, _ = process.communicate()
    assert process.returncode == 0
    assert "AUTOCANCEL_WEBHOOK_SECRETS_FILE" in said


def test_it_serves_until_told_to_stop_and_logs_no_secret(
    start: Start,
    variables: dict[str, str],
    sender: Sender,
    clock: Clock,
    an_event: AnEvent,
    eventually: Eventually,
) -> None:
    store = open_store(variables["DATABASE_URL"])
    process = start(**variables)
    with httpx.Client(base_url=f"http://127.0.0.1:{variables['AUTOCANCEL_PORT']}") as http:
        eventually(lambda: answers(http))
        clock.now = datetime.now(UTC)
        headers = {**sender.headers(an_event()), "content-type": "application/json"}
        without_tables = http.post("/webhooks/junction", content=an_event(), headers=headers)
        metadata.create_all(store)
        with_tables = http.post("/webhooks/junction", content=an_event(), headers=headers)
    assert (without_tables.status_code, with_tables.status_code) == (503, 202)
    process.send_signal(signal.SIGTERM)
    said, complaints = process.communicate()
    assert process.returncode == -signal.SIGTERM
    lines = [json.loads(line) for line in said.splitlines()]
    assert {"Application shutdown complete.", "inbox_not_written"} <= {line["event"] for line in lines}
    assert complaints == ""
    assert not any(part in said for part in (WHSEC, HASH_KEY, "Ada", "twenty-four"))
    store.dispose()


def answers(http: httpx.Client) -> bool:
    try:
        return http.get("/livez").status_code == 200
    except httpx.TransportError:
        return False
