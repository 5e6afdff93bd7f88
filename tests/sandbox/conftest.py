"""A running sandbox, a receiver for its webhooks, and a check of everything it says against the OpenAPI."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from sandbox.running import RunningSandbox

OPENAPI = Path(__file__).parent.parent / "data" / "openapi-orders.json"


@pytest.fixture(scope="session")
def openapi() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(OPENAPI.read_text())
    return document


@pytest.fixture(scope="session")
def fits(openapi: dict[str, Any]) -> Callable[[dict[str, Any], object], None]:
    """Fails unless the value fits the schema, whose references point into the OpenAPI document."""

    def check(schema: dict[str, Any], value: object) -> None:
        Draft202012Validator(schema | {"components": openapi["components"]}).validate(value)

    return check


@pytest.fixture(scope="session")
def fits_its_operation(
    openapi: dict[str, Any], fits: Callable[[dict[str, Any], object], None]
) -> Callable[[httpx.Response], None]:
    """A response hook: every answered 200 of a documented operation has the documented shape."""
    patterns = [
        (re.compile(re.sub(r"\{\w+\}", "[0-9a-f-]{36}", path)), operations)
        for path, operations in openapi["paths"].items()
    ]

    def check(response: httpx.Response) -> None:
        request = response.request
        for pattern, operations in patterns:
            if response.status_code == 200 and pattern.fullmatch(request.url.path):
                documented = operations[request.method.lower()]["responses"]["200"]
                fits(documented["content"]["application/json"]["schema"], json.loads(response.read()))
                return

    return check


@pytest.fixture
def deliveries() -> list[httpx.Request]:
    """The webhooks that arrived, in order of arrival."""
    return []


@pytest.fixture
def answers() -> list[int]:
    """What the receiver answers to the next deliveries; 204 when empty."""
    return []


@pytest.fixture
def receiver_url(deliveries: list[httpx.Request], answers: list[int]) -> Iterator[str]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            deliveries.append(httpx.Request("POST", self.path, headers=dict(self.headers), content=body))
            self.send_response(answers.pop(0) if answers else 204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
            """Keep quiet."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # the sandbox opens many connections at once; a full queue costs a second

    with Server(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}/webhooks/junction"
        server.shutdown()


@pytest.fixture
def sandbox(
    receiver_url: str, fits_its_operation: Callable[[httpx.Response], None]
) -> Iterator[RunningSandbox]:
    """A sandbox whose retries take milliseconds and whose answers are all checked."""
    with RunningSandbox(webhook_url=receiver_url, retry_scale=1e-6, seed=7) as running:
        running.api.event_hooks["response"].append(fits_its_operation)
        yield running


@pytest.fixture(scope="module")
def one_sandbox() -> Iterator[RunningSandbox]:
    """One sandbox without a receiver for all cases of a long list."""
    with RunningSandbox() as running:
        yield running


@pytest.fixture
def reason_id(sandbox: RunningSandbox) -> str:
    """The id of the cancellation reason `Other`."""
    reasons = sandbox.api.get("/v3/order/psc/appointment/cancellation-reasons").json()
    return next(str(reason["id"]) for reason in reasons if reason["name"] == "Other")
