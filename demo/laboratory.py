"""The sandbox over HTTP: what the demo asks it to do, and what it knows better than we."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

WEBHOOKS = (
    {"kind": "webhook_duplicate"},
    {"kind": "webhook_reorder", "seconds": 1.5},
    {"kind": "webhook_drop", "probability": 0.1},
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of ours, as the sandbox logged it. `applied`: it changed something."""

    number: int
    operation: str
    order_id: str | None
    applied: bool


class Laboratory:
    """Raises httpx.HTTPError when the sandbox does not answer or does not understand."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def trouble_all_webhooks(self) -> None:
        """From now on each comes twice, in no order, and some only at the second attempt."""
        for fault in WEBHOOKS:
            self.ask("/sandbox/faults", fault)

    def place(self, opening: Mapping[str, Any]) -> str:
        """A new order; returns its id."""
        return str(self.ask("/sandbox/orders", opening)["id"])

    def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._read(self._client.post(path, json=dict(body)))

    def statuses(self) -> dict[str, str]:
        """The status of every order, by id."""
        orders = self._read(self._client.get("/sandbox/orders"))
        return {order_id: order["status"] for order_id, order in orders.items()}

    def calls(self, **match: str) -> list[Call]:
        """All calls so far, oldest first, or those of `order_id` and `operation`."""
        log = self._read(self._client.get("/sandbox/log", params=match))["calls"]
        return [Call(call["seq"], call["operation"], call["order_id"], call["applied"]) for call in log]

    def webhooks_under_way(self) -> int:
        return int(self._read(self._client.get("/sandbox/webhooks"))["pending"])

    def _read(self, answer: httpx.Response) -> Mapping[str, Any]:
        shown: Mapping[str, Any] = answer.raise_for_status().json()
        return shown
