"""Made-up orders as webhooks tell of them: in the sandbox's words, so as large as Junction's, patients
and all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from random import Random
from typing import Any
from uuid import UUID

import orjson

from sandbox import orders as wire
from sandbox.config import TEAM_ID
from sandbox.machine import Method
from workers.core.events import Keep, trim
from workers.core.order import Appointment, Order
from workers.store.inbox import Arrival

KEEP = Keep(hash_key=b"a key for the bench alone")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook: its id, when it was sent (UTC), the bytes of its body."""

    id: str
    at: datetime
    body: bytes


def deliveries(random: Random, order: Order) -> Iterator[Delivery]:
    """One for each event of the order's history, oldest first, and two for each appointment."""
    told = _order(order)
    for event in order.history.events:
        told.record(wire.Event(event.id, event.at, event.status.raw))
        kind = "created" if event == order.history.first else "updated"
        yield _delivery(random, f"labtest.order.{kind}", told, event.at, wire.order_json(told))
    for slot in order.appointments:
        for kind, shown in _told_of(slot).items():
            data = wire.appointment_json(told, shown)
            at = shown.events[-1].created_at
            yield _delivery(random, f"labtest.appointment.{kind}", told, at, data)


def arrival(delivery: Delivery) -> Arrival:
    """What the receiver makes of a delivery once its signature is found right."""
    trimmed = trim(orjson.loads(delivery.body), KEEP)
    return Arrival(
        delivery_id=delivery.id,
        signed_at=delivery.at,
        secret_label="main",
        size=len(delivery.body),
        sha256=sha256(delivery.body).hexdigest(),
        state="new",
        event_type=trimmed.event_type,
        team_id=trimmed.team_id,
        order_id=trimmed.order_id,
        body=trimmed.body,
    )


def _delivery(random: Random, event_type: str, order: wire.Order, at: datetime, data: wire.Json) -> Delivery:
    envelope = {
        "event_type": event_type,
        "team_id": str(order.team_id),
        "user_id": str(order.user_id),
        "client_user_id": order.client_user_id,
        "data": data,
    }
    return Delivery(f"msg_{random.getrandbits(128):032x}", at, orjson.dumps(envelope))


def _order(order: Order) -> wire.Order:
    """The order as Junction keeps it, without any event."""
    facts, method = order.facts, order.method
    assert method is not None
    assert facts.user_id is not None
    assert order.created_at is not None
    return wire.Order(
        id=UUID(order.id),
        method=Method(method.value),
        lab_test=wire.CATALOGUE[Method(method.value)],
        user_id=UUID(facts.user_id),
        client_user_id=f"client-{facts.user_id}",
        team_id=TEAM_ID,
        created_at=order.created_at,
        patient_state=facts.state or "AZ",
    )


def _told_of(slot: Appointment) -> dict[str, wire.Appointment]:
    """The appointment when it was booked, and as it is now."""
    assert slot.booked_at is not None
    booked = wire.AppointmentEvent(slot.booked_at, "scheduled")
    now = wire.AppointmentEvent(slot.changed_at, slot.status)
    return {
        "created": _slot(slot, "confirmed", (booked,)),
        "updated": _slot(slot, slot.status, (booked, now)),
    }


def _slot(slot: Appointment, status: Any, events: tuple[wire.AppointmentEvent, ...]) -> wire.Appointment:
    assert slot.start is not None
    assert slot.end is not None
    return wire.Appointment(
        id=UUID(slot.order_id),  # one an order is enough here
        type="phlebotomy" if slot.kind == "phlebotomy" else "patient_service_center",
        provider="getlabs" if slot.kind == "phlebotomy" else "quest",
        status=status,
        start_at=slot.start,
        end_at=slot.end,
        iana_timezone=slot.zone or "America/New_York",
        events=events,
    )
