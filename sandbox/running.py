"""A sandbox in a thread, on a free port, for tests: `with RunningSandbox() as sandbox: ...`."""

import threading
import time
from types import TracebackType
from typing import Any, Self

import httpx
from starlette.applications import Starlette

from sandbox.app import create_app
from sandbox.config import Config
from sandbox.main import utc_now
from sandbox.orders import Json
from sandbox.serving import address_of, listen, server_for

POLL = 0.01  # seconds


class RunningSandbox:
    """One sandbox for the length of a `with` block.

    Takes Config's settings, `now` included if the test has a clock of its own.
    url: where it listens. app: the application, its parts at `app.state.sandbox`.
    api: an HTTP client with the key. The methods are short ways to the control endpoints.
    """

    def __init__(self, **settings: Any) -> None:
        self.config = Config(**{"now": utc_now} | settings)
        self.app: Starlette = create_app(self.config)

    def __enter__(self) -> Self:
        self._listener = listen("127.0.0.1", 0)
        self.url = address_of(self._listener)
        self._server = server_for(self.app)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()
        self.api = httpx.Client(
            base_url=self.url, headers={"x-vital-api-key": self.config.api_key}, trust_env=False
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.api.close()
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def order(self, **scene: Any) -> Json:
        """A new order; the fields of control.NewOrder."""
        return self._control("POST", "/sandbox/orders", scene)

    def event(self, order_id: str, status: str, **scene: Any) -> Json:
        """The order after a pushed status; the fields of control.NewEvent."""
        return self._control("POST", f"/sandbox/orders/{order_id}/events", {"status": status} | scene)

    def appointment(self, order_id: str, **scene: Any) -> Json:
        """The order's new appointment; the fields of control.AppointmentScene."""
        return self._control("POST", f"/sandbox/orders/{order_id}/appointment", scene)

    def fault(self, kind: str, **fault: Any) -> None:
        self._control("POST", "/sandbox/faults", {"kind": kind} | fault)

    def calls(self, **match: str) -> list[Json]:
        """The API calls received; match by `order_id` and `operation`."""
        calls: list[Json] = self._control("GET", "/sandbox/log", params=match)["calls"]
        return calls

    def messages(self, **match: str) -> list[Json]:
        """The webhooks sent; match by `order_id`."""
        messages: list[Json] = self._control("GET", "/sandbox/webhooks", params=match)["messages"]
        return messages

    def settle(self, seconds: float = 10.0) -> None:
        """Wait until no webhook is under way; TimeoutError after `seconds`."""
        deadline = time.monotonic() + seconds
        sender = self.app.state.sandbox.sender
        while sender.pending:
            if time.monotonic() > deadline:
                raise TimeoutError(f"webhooks still under way after {seconds} s")
            time.sleep(POLL)

    def _control(self, method: str, path: str, body: Json | None = None, params: Any = None) -> Json:
        answer = self.api.request(method, path, json=body, params=params)
        if answer.is_error:
            raise ValueError(f"{answer.status_code} from {path}: {answer.text}")
        shown: Json = answer.json()
        return shown
