"""Asking Junction to send its latest events again, as an operator wished. What comes is news or known
already, like any other delivery, so asking twice is harmless."""

from __future__ import annotations

from workers.junction import Denied, Found, Missing, Unavailable, Window
from workers.services import Services
from workers.store import audit, resends
from workers.store.database import reading, store_time, writing
from workers.store.resends import Resend


class NotNow(Exception):
    """Junction did not agree, and may later. The queue tries again."""


def resend(services: Services, resend_id: str) -> None:
    """Handles a ResendEvents message. Raises NotNow."""
    with reading(services.store) as connection:
        wish = resends.find(connection, resend_id)
    if wish is None or wish.is_settled:
        return
    answer = services.junction.resend_events(Window(wish.since, wish.until))
    match answer:
        case Found(value=orders):
            _note(services, wish, "done", answer.outcome, orders)
        case Denied() | Missing() | Unavailable():
            _note(services, wish, "failed", answer.outcome)
        case _:
            _note(services, wish, "waiting", answer.outcome)
            raise NotNow(answer.outcome)


def _note(
    services: Services, wish: Resend, state: resends.State, outcome: str, orders: tuple[str, ...] = ()
) -> None:
    with writing(services.store) as connection:
        resends.note(connection, wish.id, state, outcome, orders)
        if state != "waiting":
            after = {"outcome": outcome, "orders": len(orders), "asked_by": wish.actor}
            target = f"events:{wish.since:%Y-%m-%dT%H:%M}/{wish.until:%Y-%m-%dT%H:%M}"
            audit.note(connection, store_time(connection), "engine", "resend_answered", target, after=after)
