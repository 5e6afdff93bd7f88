"""Cancellation reasons: names in the policy, ids at Junction. Asked for once and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from workers.core.order import HOME_VISIT
from workers.junction import Found, Junction, Reason

KEPT_FOR = timedelta(hours=1)


class Reasons:
    """Finds the id of a reason by its name. Safe between threads."""

    def __init__(self, junction: Junction, now: Callable[[], datetime]) -> None:
        self._junction = junction
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, tuple[datetime, tuple[Reason, ...]]] = {}

    def find(self, kind: str, name: str) -> str | None:
        """The id to give for an appointment of this kind; None when Junction has none that fits.

        A PSC slot takes the reason of that name. For a home visit money hangs on it: a refundable reason, the
        one of that name if it is refundable.
        """
        reasons = self._all(kind)
        if kind == HOME_VISIT:
            refundable = [reason for reason in reasons if reason.refundable]
            reasons = tuple(sorted(refundable, key=lambda reason: reason.name != name))
            return reasons[0].id if reasons else None
        return next((reason.id for reason in reasons if reason.name.casefold() == name.casefold()), None)

    def _all(self, kind: str) -> tuple[Reason, ...]:
        with self._lock:
            known = self._known.get(kind)
            if known is not None and self._now() - known[0] < KEPT_FOR:
                return known[1]
            match self._junction.cancellation_reasons(kind):
                case Found(value=reasons):
                    self._known[kind] = (self._now(), reasons)
                    return reasons
                case _:
                    return known[1] if known is not None else ()
