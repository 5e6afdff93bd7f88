"""The fresh look: the order, and its appointment where the method has one, straight from Junction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from workers.core.case import CLOCK_TOLERANCE
from workers.core.order import Order, merge
from workers.core.status import APPOINTMENT_KIND
from workers.junction import Exchange, Found, Junction, Missing, Postponed, Unavailable

WAIT = 30.0  # seconds, where Junction does not say how long


@dataclass(frozen=True, slots=True)
class Looked:
    """What Junction says now. `date` is its clock, None when the answer had no `Date`."""

    order: Order
    date: datetime | None
    exchanges: tuple[Exchange, ...]

    def untimely(self, now: datetime) -> str | None:
        """Why no time can be trusted: two clocks are apart, or nobody can tell. None: all is well."""
        if self.date is None:
            return "Junction's answer was not dated, so our clock cannot be checked"
        apart = abs(now - self.date)
        return f"clocks disagree by {apart.total_seconds():.0f} s" if apart > CLOCK_TOLERANCE else None


@dataclass(frozen=True, slots=True)
class NotSeen:
    """No picture to act on; worth trying again in `retry_after` seconds."""

    why: str
    retry_after: float
    exchanges: tuple[Exchange, ...]
    postponed: bool = False  # we did not even ask: no permit


def look(junction: Junction, order_id: str) -> Looked | NotSeen:
    """Asks for the order and its appointment. Nothing is ever done on older data than this."""
    match junction.get_order(order_id):
        case Found(value=order) as found:
            kind = APPOINTMENT_KIND.get(order.method) if order.method else None
            return (
                _with_appointment(junction, order, found, kind)
                if kind
                else Looked(order, found.date, (found,))
            )
        case other:
            return _not_seen(other)


def _with_appointment(junction: Junction, order: Order, found: Exchange, kind: str) -> Looked | NotSeen:
    """A 404 or 503 means none, if the history agrees; what it then means is `Order.appointment`'s to say."""
    answer = junction.get_appointment(order.id, kind)
    exchanges = (found, answer)
    match answer:
        case Found(value=slot):
            return Looked(merge([order, slot]), found.date, exchanges)
        case Missing() | Unavailable():
            return Looked(replace(order, appointment_missing=answer.at), found.date, exchanges)
        case _:
            return _not_seen(answer, found)


def _not_seen(answer: Exchange, *before: Exchange) -> NotSeen:
    wait = getattr(answer, "retry_after", WAIT)
    return NotSeen(answer.outcome, wait, (*before, answer), postponed=isinstance(answer, Postponed))
