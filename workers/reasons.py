"""Cancellation reasons: names in the policy, ids at Junction. Asked for once and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from workers.core.order import HOME_VISIT
from workers.junction import Exchange, Found, Junction, Reason

KEPT_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class NoSuchReason:
    """Junction has told all its reasons, and none fits. Somebody must look at the policy."""

    why: str


@dataclass(frozen=True, slots=True)
class NotTold:
    """Junction did not tell; worth asking again."""

    exchange: Exchange


class Reasons:
    """Finds the id of a reason by its name. Safe between threads."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, tuple[datetime, tuple[Reason, ...]]] = {}

    def find(self, junction: Junction, kind: str, name: str) -> str | NoSuchReason | NotTold:
        """The id to give for an appointment of this kind. `junction` is asked when it is not known yet: with
        the permits of the errand, or the question would queue behind the very looks it belongs to.

        A PSC slot takes the reason of that name. For a home visit money hangs on it: a refundable reason, the
        one of that name if it is refundable.
        """
        reasons = self._all(junction, kind)
        if isinstance(reasons, NotTold):
            return reasons
        named = [reason for reason in reasons if reason.name.casefold() == name.casefold()]
        if kind != HOME_VISIT:
            return named[0].id if named else NoSuchReason(f"Junction has no cancellation reason {name!r}")
        fitting = [reason for reason in (*named, *reasons) if reason.refundable]
        return fitting[0].id if fitting else NoSuchReason("Junction has no refundable cancellation reason")

    def _all(self, junction: Junction, kind: str) -> tuple[Reason, ...] | NotTold:
        with self._lock:
            known = self._known.get(kind)
            if known is not None and self._now() - known[0] < KEPT_FOR:
                return known[1]
            match junction.cancellation_reasons(kind):
                case Found(value=reasons):
                    self._known[kind] = (self._now(), reasons)
                    return reasons
                case other:
                    return known[1] if known is not None else NotTold(other)
