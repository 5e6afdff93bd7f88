"""Whether an order may still be cancelled under our policy's window, with the reason, in words for people.

The lists' SQL says the same in workers.store.reads; a test holds both together.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.dashboard.lifecycle_maps import label_of
from workers.core.history import Event
from workers.core.order import Order
from workers.core.status import Reach, Window
from workers.store.reads import Opening


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is a sentence; `crossing` the event after which nothing is cancelled."""

    opening: Opening
    text: str
    reason: str
    crossing: Event | None = None


_LEFT = {Reach.SHIPPED: "shipped", Reach.DRAWN: "sample drawn", Reach.COLLECTED: "sample collected"}


def verdict_of(order: Order) -> Verdict:
    """The window as rules see it that opt in to nothing."""
    known, status = order.entry, order.status
    if not order.open and status is not None:
        return Verdict("ended", "Ended", f"It has ended: {label_of(status.name).lower()}.")
    if known is None:
        return Verdict(
            "unknown", "Unknown", "Its status or its method is not known here; nothing acts on it."
        )
    if order.history.reinstated:
        return Verdict("closed", "Reinstated", "It was cancelled and lives again; it is only ever reviewed.")
    crossing = order.history.shipped
    if known.window in {Window.REGISTERED_KITS, Window.DRAWN}:
        return Verdict("opt_in", "Opt-in", f"It {known.window.value}.", crossing)
    if crossing is not None:
        word = left_word(crossing)
        return Verdict("closed", f"Closed: {word}", f"It is too late: {word}.", crossing)
    if order.has_shipped:
        return Verdict("closed", "Closed: shipped", "It is too late: it has a tracking number.")
    if known.window is Window.CLOSED:
        return Verdict("closed", "Closed", f"It {known.window.value}.")
    return Verdict("open", "Open", "It may be cancelled: nothing has left yet.")


def left_word(crossing: Event) -> str:
    """What an event beyond the line means: shipped, drawn, collected."""
    known = crossing.status.entry
    return _LEFT.get(known.reach, "left") if known else "left"
