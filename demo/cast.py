"""The orders of the demo: who they are, what happens to them, how it must end and why. A new one is a row in
CAST."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from workers.core.status import Method


class Ending(StrEnum):
    """How the story of an order ends, as far as we are concerned."""

    CANCELLED = "cancelled"
    SLOT = "slot only"  # the order had ended already; its appointment is cancelled
    KEPT = "kept"
    BLOCKED = "blocked"  # due by all we had been told, and saved by the fresh look
    REFUSED = "refused"
    REVIEW = "review"  # waits for a person
    SHADOW = "shadow"  # would have been cancelled, by a rule on trial
    FAILED = "failed"  # nobody's story is meant to end so


# --- what may happen to an order -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """Something that happens at the laboratory, `at` seconds after the order was placed; with `upon`, so long
    after the laboratory got that call about it."""

    at: float
    upon: str | None = field(default=None, kw_only=True)

    @abstractmethod
    def request(self, order_id: str, placed: datetime, now: datetime) -> tuple[str, Mapping[str, Any]]:
        """What the sandbox is asked for: path and body of a POST. Times in UTC."""


@dataclass(frozen=True, slots=True)
class Event(Step):
    """A new status. `dated`: it is an old one, of so many seconds after the order was placed; `quiet`: its
    webhook gets lost."""

    status: str
    dated: float | None = field(default=None, kw_only=True)
    quiet: bool = field(default=False, kw_only=True)

    def request(self, order_id: str, placed: datetime, now: datetime) -> tuple[str, Mapping[str, Any]]:
        at = now if self.dated is None else placed + timedelta(seconds=self.dated)
        body = {"status": self.status, "at": at.isoformat(), "quiet": self.quiet}
        return f"/sandbox/orders/{order_id}/events", body


@dataclass(frozen=True, slots=True)
class Slot(Step):
    """A new state of the order's appointment, which starts so many hours from now."""

    status: str
    hours: float = field(default=48, kw_only=True)
    provider: str | None = field(default=None, kw_only=True)
    new: bool = field(default=False, kw_only=True)
    quiet: bool = field(default=False, kw_only=True)

    def request(self, order_id: str, placed: datetime, now: datetime) -> tuple[str, Mapping[str, Any]]:
        start = placed + timedelta(hours=self.hours)
        body = {
            "status": self.status,
            "start_at": start.isoformat(),
            "provider": self.provider,
            "new": self.new,
            "quiet": self.quiet,
        }
        return f"/sandbox/orders/{order_id}/appointment", body


@dataclass(frozen=True, slots=True)
class Fault(Step):
    """The next call about the order goes wrong; the fields of sandbox.faults."""

    kind: str
    operation: str = field(default="cancel_order", kw_only=True)
    how: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def request(self, order_id: str, placed: datetime, now: datetime) -> tuple[str, Mapping[str, Any]]:
        whom = {"kind": self.kind, "operation": self.operation, "order_id": order_id, "count": 1}
        return "/sandbox/faults", {**whom, **self.how}


# --- stories ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One order. `scene`: how it begins, the fields of sandbox.control.NewOrder; `rule`: the rule that decides;
    `slot_goes`: we cancel its appointment."""

    who: str
    why: str
    method: Method
    scene: Mapping[str, Any]
    steps: tuple[Step, ...]
    ending: Ending
    rule: str | None
    slot_goes: bool

    @property
    def opening(self) -> Mapping[str, Any]:
        """Body of the POST that places the order."""
        return {"method": self.method, **self.scene}


def _story(
    method: Method,
    who: str,
    why: str,
    ending: Ending,
    rule: str | None,
    steps: tuple[Step, ...],
    slot_goes: bool,
    scene: Mapping[str, Any],
) -> Story:
    return Story(
        who=who,
        why=why,
        method=method,
        scene=scene,
        steps=steps,
        ending=ending,
        rule=rule,
        slot_goes=slot_goes,
    )
