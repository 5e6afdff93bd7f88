"""The laboratory: all orders, and what may be done to them. Every change is announced. No HTTP."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from sandbox import canaries
from sandbox.config import Clock
from sandbox.machine import SILENT, Method, full_status, low_level_of
from sandbox.orders import (
    Appointment,
    AppointmentEvent,
    AppointmentStatus,
    AppointmentType,
    Event,
    Json,
    Order,
    appointment_json,
    order_json,
)

# Event type, the order concerned, the event's data.
Announce = Callable[[str, Order, Json], None]


class Refusal(Exception):
    """The laboratory will not do that. Every caller passes it on as the answer: status code and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Reason:
    id: UUID
    name: str
    is_refundable: bool


REASONS = (
    Reason(UUID("3f6f4b0e-8a0c-4d8e-9a53-6f5f2a7f1c01"), "Patient no longer needs the test", True),
    Reason(UUID("3f6f4b0e-8a0c-4d8e-9a53-6f5f2a7f1c02"), "Patient did not show up", False),
    Reason(UUID("3f6f4b0e-8a0c-4d8e-9a53-6f5f2a7f1c03"), "Other", True),
)

_ORDER_BECOMES: dict[AppointmentStatus, str] = {
    "pending": "appointment_pending",
    "reserved": "appointment_pending",
    "confirmed": "appointment_scheduled",
    "cancelled": "appointment_cancelled",
}
_APPOINTMENT_BECOMES: dict[str, AppointmentStatus] = {
    "appointment_pending": "pending",
    "appointment_scheduled": "confirmed",
    "appointment_cancelled": "cancelled",
}


class Laboratory:
    """All orders of one sandbox. Lives on one event loop; no method waits, so none is ever half done."""

    def __init__(self, now: Clock, announce: Announce) -> None:
        self.now = now
        self._announce = announce
        self.orders: dict[UUID, Order] = {}
        # Starting from the clock, so that a restarted sandbox does not hand out yesterday's event ids.
        self._event_ids = count(int(now().timestamp()))

    def place(self, order: Order, *, quiet: bool = False) -> None:
        """Take a new order in: `ordered`, dated when the order was created. `quiet`: the webhook is lost."""
        self.orders[order.id] = order
        self.push(order, "ordered", order.created_at, quiet=quiet)

    def order(self, order_id: UUID) -> Order:
        if order_id not in self.orders:
            raise Refusal(404, "Order not found")
        return self.orders[order_id]

    def push(self, order: Order, name: str, at: datetime | None = None, *, quiet: bool = False) -> Event:
        """Give the order any status at any time, allowed or not; unknown names go out as they are.

        `name` is a low-level or a full status. `quiet`: the webhook is lost.
        """
        event = Event(next(self._event_ids), at or self.now(), full_status(order.method, name))
        order.record(event)
        if low_level_of(event.status) == "transit_customer" and order.tracking_number is None:
            order.tracking_number = canaries.TRACKING_NUMBER
        if not quiet and low_level_of(event.status) not in SILENT:
            self.announce_latest(order)
        return event

    def announce_latest(self, order: Order) -> None:
        """Send the order as it is now: `created` while it has one event only, else `updated`."""
        kind = "created" if len(order.events) == 1 else "updated"
        self._announce(f"labtest.order.{kind}", order, order_json(order))

    def advance(
        self, order: Order, low_level: str, at: datetime | None = None, *, quiet: bool = False
    ) -> None:
        """One step of an ordinary life: a status about an appointment comes with the appointment itself."""
        status = _APPOINTMENT_BECOMES.get(low_level)
        if status is None:
            self.push(order, low_level, at, quiet=quiet)
        else:
            appointment = order.appointment or self.slot(order)
            self.change_appointment(order, replace(appointment, status=status), at, quiet=quiet)

    def cancel(self, order: Order) -> None:
        """Cancel the order. A home visit goes with it; a slot at a patient service centre stays booked."""
        if not order.may_be_cancelled:
            raise Refusal(400, "Transition from current_status to cancelled is not allowed")
        visit = order.appointment
        if visit and visit.type == "phlebotomy" and visit.is_active:
            self.change_appointment(order, replace(visit, status="cancelled"), order_follows=False)
        self.push(order, "cancelled")

    def draw(self, order: Order) -> None:
        """The blood of an on-site order has been drawn."""
        if order.method is not Method.ON_SITE:
            raise Refusal(400, "Only on-site collection orders can be marked as drawn")
        if order.is_terminal or order.has_been("draw_completed"):
            raise Refusal(400, "Transition from current_status to draw_completed is not allowed")
        self.push(order, "draw_completed")

    def register(self, order: Order) -> None:
        """Somebody has put a name to a registrable kit."""
        if not order.registrable or order.is_terminal or order.is_registered:
            raise Refusal(400, "This kit cannot be registered")
        self.push(order, "registered")

    def slot(self, order: Order, status: AppointmentStatus = "pending") -> Appointment:
        """A free slot the day after tomorrow, in the way this order's blood is drawn."""
        start = self.now().replace(minute=0, second=0, microsecond=0) + timedelta(days=2)
        at_home = order.method is Method.AT_HOME
        return Appointment(
            type="phlebotomy" if at_home else "patient_service_center",
            provider="getlabs" if at_home else "quest",
            status=status,
            start_at=start,
            end_at=start + timedelta(hours=1),
            iana_timezone="America/Phoenix",
        )

    def active_appointment(self, order: Order, kind: AppointmentType) -> Appointment:
        appointment = order.appointment
        if appointment is None or appointment.type != kind or not appointment.is_active:
            raise Refusal(404, "Appointment not found")
        return appointment

    def cancel_appointment(self, order: Order, kind: AppointmentType, reason: str | None) -> Appointment:
        appointment = self.active_appointment(order, kind)
        if appointment.provider == "sonora_quest":
            raise Refusal(503, "Scheduling is not enabled for this provider")
        if reason not in {str(known.id) for known in REASONS}:
            raise Refusal(400, "A known cancellation reason is required")
        return self.change_appointment(order, replace(appointment, status="cancelled"))

    def reschedule(self, order: Order, appointment: Appointment) -> Appointment:
        """The same appointment a day later."""
        day = timedelta(days=1)
        later = replace(
            appointment,
            start_at=appointment.start_at + day,
            end_at=appointment.end_at + day,
            status="confirmed",
        )
        return self.change_appointment(order, later)

    def change_appointment(
        self,
        order: Order,
        appointment: Appointment,
        at: datetime | None = None,
        *,
        order_follows: bool = True,
        quiet: bool = False,
    ) -> Appointment:
        """Store the order's appointment in its new shape and announce it; then the order's status follows.

        It does not follow for Sonora Quest, whose slots are known from their own webhooks only, nor once
        the order has ended.
        """
        kind = "updated" if order.appointment and order.appointment.id == appointment.id else "created"
        event = AppointmentEvent(at or self.now(), appointment.event_status)
        order.appointment = replace(appointment, events=(*appointment.events, event))
        order.updated_at = max(order.updated_at, event.created_at)
        if not quiet:
            data = appointment_json(order, order.appointment)
            self._announce(f"labtest.appointment.{kind}", order, data)
        followed = order_follows and appointment.provider != "sonora_quest" and not order.is_terminal
        if followed and appointment.status in _ORDER_BECOMES:
            self.push(order, _ORDER_BECOMES[appointment.status], at, quiet=quiet)
        return order.appointment
