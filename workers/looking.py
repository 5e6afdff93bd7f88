"""The fresh look: the order, and its appointment where the method has one, straight from Junction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from workers.core.case import CLOCK_TOLERANCE
from workers.core.order import Order, merge
from workers.core.status import APPOINTMENT_KIND
from workers.junction import Denied, Exchange, Found, Junction, Missing, Postponed, Unavailable
from workers.services import Services

CALLS_A_LOOK = 2  # the order, its appointment
WAIT = 10.0  # seconds, where Junction does not say how long; when it stays away, the circuit opens
LONG_WAIT = 3600.0  # seconds; the key is wrong, or there is no such order: somebody has to do something first


@dataclass(frozen=True, slots=True)
class Looked:
    """What Junction says now. `date` is its clock, None when the answer had no `Date`; `others` are orders
    that this one would give way to."""

    order: Order
    date: datetime | None
    exchanges: tuple[Exchange, ...]
    others: tuple[Order, ...] = ()

    @property
    def orders(self) -> tuple[Order, ...]:
        return (self.order, *self.others)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(order.id for order in self.orders)

    def untimely(self, now: datetime, here: datetime) -> str | None:
        """Why no time can be trusted: of store (`now`), worker (`here`) and Junction two are apart, or nobody
        can tell. None: all is well."""
        if self.date is None:
            return "Junction's answer was not dated, so our clock cannot be checked"
        clocks = (now, here, self.date)
        apart = max(clocks) - min(clocks)
        return f"clocks disagree by {apart.total_seconds():.0f} s" if apart > CLOCK_TOLERANCE else None


@dataclass(frozen=True, slots=True)
class NotSeen:
    """No picture to act on; worth trying again in `retry_after` seconds."""

    why: str
    retry_after: float
    exchanges: tuple[Exchange, ...]


def prepaid(services: Services, looks: int, and_calls: int = 0) -> Services | NotSeen:
    """The services with permits in hand for so many looks and further calls, so that none of them has to
    queue for itself while the first grows stale."""
    found = services.junction.prepaid(CALLS_A_LOOK * looks + and_calls)
    if isinstance(found, Postponed):
        return NotSeen(found.outcome, found.retry_after, ())
    return replace(services, junction=found)


def look(junction: Junction, order_id: str, others: Iterable[str] = ()) -> Looked | NotSeen:
    """Asks for the order, its appointment and the other orders that a choice hangs on. Nothing is ever done
    on older data than this."""
    seen = _look_at(junction, order_id)
    for other in others:
        if isinstance(seen, Looked):
            seen = _with_other(junction, seen, other)
    return seen


def _look_at(junction: Junction, order_id: str) -> Looked | NotSeen:
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


def _with_other(junction: Junction, seen: Looked, order_id: str) -> Looked | NotSeen:
    """One that is missing cannot be relied on; that is all there is to say about it."""
    answer = junction.get_order(order_id)
    match answer:
        case Found(value=order):
            return replace(seen, others=(*seen.others, order), exchanges=(*seen.exchanges, answer))
        case Missing():
            return replace(seen, exchanges=(*seen.exchanges, answer))
        case _:
            return _not_seen(answer, *seen.exchanges)


def _not_seen(answer: Exchange, *before: Exchange) -> NotSeen:
    """A call that was postponed is none: it leaves no exchange."""
    exchanges = before if isinstance(answer, Postponed) else (*before, answer)
    wait = LONG_WAIT if isinstance(answer, Missing | Denied) else getattr(answer, "retry_after", WAIT)
    return NotSeen(answer.outcome, wait, exchanges)
