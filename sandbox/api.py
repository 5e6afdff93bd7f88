"""Junction's endpoints: what each reads, asks the laboratory for, and answers."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, Field
from starlette.routing import Route

from sandbox import canaries
from sandbox.calls import Answer, Call, Handler, guarded
from sandbox.laboratory import REASONS, Refusal
from sandbox.machine import STEPS, Method, full_status, low_level_of
from sandbox.orders import (
    CATALOGUE,
    Appointment,
    AppointmentType,
    LabTest,
    Order,
    appointment_json,
    order_json,
)
from sandbox.parts import Sandbox

RESEND_WINDOW = timedelta(days=60)
LOW_LEVELS = frozenset(name for steps in STEPS.values() for name in steps)


def utc(moment: datetime) -> datetime:
    """A time without a zone is meant in UTC. ValueError far from today, where arithmetic overflows."""
    if not 1970 <= moment.year <= 2200:
        raise ValueError("the year must be between 1970 and 2200")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _known_low_level(name: str) -> str:
    if name not in LOW_LEVELS:
        raise ValueError("no such low-level status")
    return name


def _end_of_day(value: Any) -> Any:
    """`end_date` without a time means the whole day."""
    return f"{value}T23:59:59" if isinstance(value, str) and len(value) == len("2026-01-31") else value


Moment = Annotated[datetime, AfterValidator(utc)]
LowLevel = Annotated[str, AfterValidator(_known_low_level)]


class PatientDetails(BaseModel):
    """Checked, then dropped: every order shows the same made-up patient, never a real one."""

    first_name: str
    last_name: str
    dob: date
    gender: str
    phone_number: str
    email: str


class ShippingAddress(BaseModel):
    """Of it only the state is kept."""

    first_line: str
    city: str
    state: str
    zip: str = Field(pattern=r"^\d{5}(-\d{4})?$")
    country: str


class CreateOrder(BaseModel):
    user_id: UUID
    lab_test_id: UUID | None = None
    order_set: dict[str, Any] | None = None
    collection_method: Method | None = None
    activate_by: date | None = None
    passthrough: str | None = None
    patient_details: PatientDetails
    patient_address: ShippingAddress


class CreateTestkitOrder(BaseModel):
    user_id: UUID
    lab_test_id: UUID
    passthrough: str | None = None
    shipping_details: ShippingAddress


class RegisterTestkit(BaseModel):
    sample_id: str
    user_id: UUID | None = None
    patient_details: PatientDetails
    patient_address: ShippingAddress


class OrderFilter(BaseModel):
    """The query of `GET /v3/orders`. Searches by a patient's name and the like are ignored."""

    start_date: Moment | None = None
    end_date: Annotated[Moment | None, BeforeValidator(_end_of_day)] = None
    updated_start_date: Moment | None = None
    updated_end_date: Moment | None = None
    status: list[LowLevel] | None = None
    order_type: list[Method] | None = None
    order_ids: list[UUID] | None = None
    user_id: UUID | None = None
    page: int = Field(default=1, ge=1, le=1_000_000)
    size: int = Field(default=50, ge=1, le=100)

    def lets_through(self, order: Order) -> bool:
        return (
            _within(order.created_at, self.start_date, self.end_date)
            and _within(order.updated_at, self.updated_start_date, self.updated_end_date)
            and (self.status is None or order.low_level in self.status)
            and (self.order_type is None or order.method in self.order_type)
            and (self.order_ids is None or order.id in self.order_ids)
            and self.user_id in (None, order.user_id)
        )


class ResendEvents(BaseModel):
    order_ids: list[UUID] | None = None
    start_at: Moment | None = None
    end_at: Moment | None = None


class BookAppointment(BaseModel):
    """With `async_confirmation` the slot stays pending until the control endpoint confirms it."""

    booking_key: str
    async_confirmation: bool = False


class RescheduleAppointment(BaseModel):
    booking_key: str


class CancelAppointment(BaseModel):
    """The reference and Junction's guide spell the reason's name differently; both are taken."""

    reason: str | None = Field(
        default=None, validation_alias=AliasChoices("cancellationReasonId", "cancellation_reason_id")
    )


class Simulation(BaseModel):
    """`final_status`: a full status; `delay`: seconds between two steps."""

    final_status: str | None = None
    delay: int = Field(default=0, ge=0, le=86_400)


def create_order(sandbox: Sandbox, call: Call) -> Answer:
    key = call.headers.get("x-idempotency-key")
    if key in sandbox.orders_by_key:
        return _order_answer(sandbox.laboratory.order(sandbox.orders_by_key[key]), "order already placed")
    wish = call.read(CreateOrder)
    order = Order(
        method=(test := _ordered_test(wish)).method,
        lab_test=test,
        user_id=wish.user_id,
        client_user_id=client_user_of(wish.user_id),
        team_id=sandbox.config.team_id,
        created_at=sandbox.config.now(),
        patient_state=wish.patient_address.state,
        activate_by=wish.activate_by,
        passthrough=wish.passthrough,
    )
    sandbox.laboratory.place(order)
    if key is not None:
        sandbox.orders_by_key[key] = order.id
    return _order_answer(order, "order created", applied=True)


def create_testkit_order(sandbox: Sandbox, call: Call) -> Answer:
    wish = call.read(CreateTestkitOrder)
    order = Order(
        method=Method.TESTKIT,
        lab_test=_test(wish.lab_test_id),
        user_id=wish.user_id,
        client_user_id=client_user_of(wish.user_id),
        team_id=sandbox.config.team_id,
        created_at=sandbox.config.now(),
        registrable=True,
        patient_state=wish.shipping_details.state,
        passthrough=wish.passthrough,
    )
    sandbox.laboratory.place(order)
    sandbox.laboratory.push(order, "awaiting_registration")
    return _order_answer(order, "order created", applied=True)


def register_testkit(sandbox: Sandbox, call: Call) -> Answer:
    wish = call.read(RegisterTestkit)
    orders = sandbox.laboratory.orders.values()
    order = next((order for order in orders if order.sample_id == wish.sample_id), None)
    if order is None:
        raise Refusal(404, "No kit with this sample id")
    sandbox.laboratory.register(order)
    return _order_answer(order, "kit registered", applied=True)


def get_order(sandbox: Sandbox, call: Call) -> Answer:
    return Answer(body=order_json(order_of(sandbox, call)))


def list_orders(sandbox: Sandbox, call: Call) -> Answer:
    wish = OrderFilter.model_validate(_query(call))
    found = [order for order in sandbox.laboratory.orders.values() if wish.lets_through(order)]
    found.sort(key=lambda order: (order.created_at, order.id), reverse=True)
    start = (wish.page - 1) * wish.size
    page = found[start : start + wish.size]
    orders = [order_json(order) for order in page]
    return Answer(body={"orders": orders, "total": len(found), "page": wish.page, "size": wish.size})


def cancel_order(sandbox: Sandbox, call: Call) -> Answer:
    order = order_of(sandbox, call)
    sandbox.laboratory.cancel(order)
    if sandbox.config.cancel_answer == "bare":
        return Answer(body=order_json(order), applied=True)
    return _order_answer(order, "order cancelled", applied=True)


def draw_completed(sandbox: Sandbox, call: Call) -> Answer:
    order = order_of(sandbox, call)
    sandbox.laboratory.draw(order)
    return _order_answer(order, "draw completed", applied=True)


def simulate(sandbox: Sandbox, call: Call) -> Answer:
    wish = Simulation.model_validate(_query(call))
    order = order_of(sandbox, call)
    steps = _steps_ahead(order, wish.final_status or full_status(order.method, "completed"))
    pause = wish.delay / sandbox.config.time_scale
    if pause:
        sandbox.background.spawn(_walk(sandbox, order, steps, pause))
    else:
        for step in steps:
            sandbox.laboratory.advance(order, step)
    return Answer(body={}, applied=bool(steps))


def resend_events(sandbox: Sandbox, call: Call) -> Answer:
    wish = call.read(ResendEvents)
    orders = [order for order in _orders_to_resend(sandbox, wish) if order.team_id == sandbox.config.team_id]
    for order in orders:
        sandbox.laboratory.announce_latest(order)
    return Answer(body={"order_ids": [str(order.id) for order in orders]}, applied=bool(orders))


def list_reasons(sandbox: Sandbox, call: Call) -> Answer:
    return Answer(
        body=[
            {"id": str(reason.id), "name": reason.name, "is_refundable": reason.is_refundable}
            for reason in REASONS
        ]
    )


def book_psc_appointment(sandbox: Sandbox, call: Call) -> Answer:
    wish = call.read(BookAppointment)
    order = order_of(sandbox, call)
    taken = order.appointment is not None and order.appointment.is_active
    if order.method is not Method.WALK_IN or order.is_terminal or taken:
        raise Refusal(400, "This order cannot be booked")
    slot = sandbox.laboratory.slot(order, "pending" if wish.async_confirmation else "confirmed")
    return _appointment_answer(order, sandbox.laboratory.change_appointment(order, slot), applied=True)


def reschedule_psc_appointment(sandbox: Sandbox, call: Call) -> Answer:
    call.read(RescheduleAppointment)
    order = order_of(sandbox, call)
    appointment = sandbox.laboratory.active_appointment(order, "patient_service_center")
    return _appointment_answer(order, sandbox.laboratory.reschedule(order, appointment), applied=True)


def get_appointment(kind: AppointmentType) -> Handler:
    def handler(sandbox: Sandbox, call: Call) -> Answer:
        order = order_of(sandbox, call)
        return _appointment_answer(order, sandbox.laboratory.active_appointment(order, kind))

    return handler


def cancel_appointment(kind: AppointmentType) -> Handler:
    def handler(sandbox: Sandbox, call: Call) -> Answer:
        order = order_of(sandbox, call)
        reason = call.read(CancelAppointment).reason
        cancelled = sandbox.laboratory.cancel_appointment(order, kind, reason)
        return _appointment_answer(order, cancelled, applied=True)

    return handler


def scheduled(handler: Handler) -> Handler:
    """A PSC call, which a team without scheduling cannot make."""

    def guard(sandbox: Sandbox, call: Call) -> Answer:
        if not sandbox.config.psc_scheduling:
            raise Refusal(503, "PSC scheduling is not enabled")
        return handler(sandbox, call)

    return guard


def order_of(sandbox: Sandbox, call: Call) -> Order:
    """The order in the path; Refusal 404 for an unknown one, 403 for another team's."""
    assert call.order_id is not None
    order = sandbox.laboratory.order(call.order_id)
    if order.team_id != sandbox.config.team_id:
        raise Refusal(403, "The order belongs to another team")
    return order


def client_user_of(user_id: UUID) -> str:
    """Platforms often use the e-mail address here, so the stand-in does."""
    return f"{canaries.CLIENT_USER}+{user_id.hex[:8]}@leak.example"


def _ordered_test(wish: CreateOrder) -> LabTest:
    if wish.lab_test_id is not None:
        return _test(wish.lab_test_id)
    if wish.order_set is None or wish.collection_method is None:
        raise Refusal(400, "Either lab_test_id, or order_set and collection_method are required")
    return CATALOGUE[wish.collection_method]


def _test(test_id: UUID) -> LabTest:
    for test in CATALOGUE.values():
        if test.id == test_id:
            return test
    raise Refusal(404, "Lab test not found")


def _order_answer(order: Order, message: str, *, applied: bool = False) -> Answer:
    body = {"order": order_json(order), "status": "success", "message": message}
    return Answer(body=body, applied=applied, order_id=order.id)


def _appointment_answer(order: Order, appointment: Appointment, *, applied: bool = False) -> Answer:
    return Answer(body=appointment_json(order, appointment), applied=applied)


def _query(call: Call) -> dict[str, Any]:
    lists = {"status", "order_type", "order_ids"}
    return {name: call.query.getlist(name) if name in lists else value for name, value in call.query.items()}


def _within(moment: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= moment) and (end is None or moment <= end)


def _steps_ahead(order: Order, final: str) -> tuple[str, ...]:
    """What is left of the usual path to `final`, counted from the furthest step the order has taken."""
    low_level = low_level_of(final)
    if full_status(order.method, low_level) != final:
        raise Refusal(400, "The final status belongs to another method")
    try:
        path = order.course.towards(low_level)
    except ValueError as error:
        raise Refusal(400, str(error)) from error
    if order.is_terminal:
        raise Refusal(400, "The order has ended")
    taken = [number for number, step in enumerate(path) if order.has_been(step)]
    return path[max(taken, default=-1) + 1 :]


async def _walk(sandbox: Sandbox, order: Order, steps: tuple[str, ...], pause: float) -> None:
    """One step every `pause` seconds; an order cancelled on the way stays cancelled."""
    for step in steps:
        await asyncio.sleep(pause)
        if order.is_terminal:
            return
        sandbox.laboratory.advance(order, step)


def _orders_to_resend(sandbox: Sandbox, wish: ResendEvents) -> list[Order]:
    if wish.order_ids is not None:
        return [sandbox.laboratory.order(order_id) for order_id in wish.order_ids]
    if wish.start_at is None or wish.end_at is None:
        raise Refusal(400, "Either order_ids, or start_at and end_at are required")
    if wish.end_at - wish.start_at > RESEND_WINDOW:
        raise Refusal(400, "The window is longer than 60 days")
    return [
        order
        for order in sandbox.laboratory.orders.values()
        if any(_within(event.created_at, wish.start_at, wish.end_at) for event in order.events)
    ]


# Operation name, method, path, handler. The name is what faults match and the call log shows.
OPERATIONS: tuple[tuple[str, str, str, Handler], ...] = (
    ("create_order", "POST", "/v3/order", create_order),
    ("create_testkit_order", "POST", "/v3/order/testkit", create_testkit_order),
    ("register_testkit", "POST", "/v3/order/testkit/register", register_testkit),
    ("resend_events", "POST", "/v3/order/resend_events", resend_events),
    ("list_orders", "GET", "/v3/orders", list_orders),
    (
        "psc_reasons",
        "GET",
        "/v3/order/psc/appointment/cancellation-reasons",
        scheduled(list_reasons),
    ),
    (
        "phlebotomy_reasons",
        "GET",
        "/v3/order/phlebotomy/appointment/cancellation-reasons",
        list_reasons,
    ),
    ("get_order", "GET", "/v3/order/{order_id}", get_order),
    ("cancel_order", "POST", "/v3/order/{order_id}/cancel", cancel_order),
    ("draw_completed", "PATCH", "/v3/order/{order_id}/draw_completed", draw_completed),
    ("simulate", "POST", "/v3/order/{order_id}/test", simulate),
    (
        "book_psc_appointment",
        "POST",
        "/v3/order/{order_id}/psc/appointment/book",
        scheduled(book_psc_appointment),
    ),
    (
        "get_psc_appointment",
        "GET",
        "/v3/order/{order_id}/psc/appointment",
        scheduled(get_appointment("patient_service_center")),
    ),
    (
        "cancel_psc_appointment",
        "PATCH",
        "/v3/order/{order_id}/psc/appointment/cancel",
        scheduled(cancel_appointment("patient_service_center")),
    ),
    (
        "reschedule_psc_appointment",
        "PATCH",
        "/v3/order/{order_id}/psc/appointment/reschedule",
        scheduled(reschedule_psc_appointment),
    ),
    (
        "get_phlebotomy_appointment",
        "GET",
        "/v3/order/{order_id}/phlebotomy/appointment",
        get_appointment("phlebotomy"),
    ),
    (
        "cancel_phlebotomy_appointment",
        "PATCH",
        "/v3/order/{order_id}/phlebotomy/appointment/cancel",
        cancel_appointment("phlebotomy"),
    ),
)

ROUTES = [
    Route(path, guarded(name, handler), methods=[method], name=name)
    for name, method, path, handler in OPERATIONS
]
