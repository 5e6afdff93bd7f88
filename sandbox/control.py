"""The sandbox's own endpoints under /sandbox, no key asked: set scenes, arm faults, see what happened."""

from dataclasses import replace
from datetime import date, timedelta
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.api import Moment, client_user_of
from sandbox.calllog import call_json
from sandbox.calls import Answer, Call, Endpoint, Handler, attempt, read_call, refused, respond
from sandbox.faults import FAULTS
from sandbox.laboratory import Refusal
from sandbox.machine import Method, low_level_of
from sandbox.orders import (
    CATALOGUE,
    Appointment,
    AppointmentStatus,
    AppointmentType,
    LabTest,
    Order,
    Origin,
    Provider,
    appointment_json,
    order_json,
)
from sandbox.parts import Sandbox, sandbox_of
from sandbox.webhooks import exhausted_json, message_json


class Scene(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewOrder(Scene):
    """An order with any past.

    state: low-level or full status to which it has walked its usual path.
    step_seconds: between two steps of that path, counted from created_at.
    lab_test: slug of a test of its own, with `price`.
    tracking_number: an outbound one without any transit event, as for a kit handed out by a clinic.
    quiet: the webhooks of all this were lost.
    """

    method: Method = Method.TESTKIT
    registrable: bool = False
    created_at: Moment | None = None
    state: str = "ordered"
    step_seconds: float = Field(default=0.0, ge=0.0, le=86_400.0)
    activate_by: date | None = None
    origin: Origin = "initial"
    lab_test: str | None = None
    price: float | None = None
    user_id: UUID | None = None
    client_user_id: str | None = None
    team_id: UUID | None = None
    transaction_id: UUID | None = None
    passthrough: str | None = None
    patient_state: str = "AZ"
    tracking_number: str | None = None
    quiet: bool = False


class NewEvent(Scene):
    """Any status, known or not, at any time. `quiet`: its webhook is lost."""

    status: str = Field(min_length=1)
    at: Moment | None = None
    quiet: bool = False


class AppointmentScene(Scene):
    """The order's appointment from now on; what is left out stays as it was, or as its method has it.

    new: another appointment in place of the present one.
    order_follows: False leaves the order's status alone.
    """

    type: AppointmentType | None = None
    provider: Provider | None = None
    status: AppointmentStatus = "confirmed"
    start_at: Moment | None = None
    end_at: Moment | None = None
    iana_timezone: str | None = None
    at: Moment | None = None
    new: bool = False
    order_follows: bool = True
    quiet: bool = False


def add_order(sandbox: Sandbox, call: Call) -> Answer:
    scene = call.read(NewOrder)
    order = _order_in(scene, sandbox)
    path = _path(order, low_level_of(scene.state))
    sandbox.laboratory.place(order, quiet=scene.quiet)
    for number, step in enumerate(path[1:], start=1):
        at = order.created_at + timedelta(seconds=number * scene.step_seconds)
        sandbox.laboratory.advance(order, step, at, quiet=scene.quiet)
    return Answer(body=order_json(order), status=201)


def add_event(sandbox: Sandbox, call: Call) -> Answer:
    scene = call.read(NewEvent)
    order = _order(sandbox, call)
    sandbox.laboratory.push(order, scene.status, scene.at, quiet=scene.quiet)
    return Answer(body=order_json(order), status=201)


def set_appointment(sandbox: Sandbox, call: Call) -> Answer:
    scene = call.read(AppointmentScene)
    order = _order(sandbox, call)
    present = None if scene.new else order.appointment
    appointment = sandbox.laboratory.change_appointment(
        order,
        _changed(present or sandbox.laboratory.slot(order), scene),
        scene.at,
        order_follows=scene.order_follows,
        quiet=scene.quiet,
    )
    return Answer(body=appointment_json(order, appointment), status=201)


def show_orders(sandbox: Sandbox, call: Call) -> Answer:
    orders = sandbox.laboratory.orders.values()
    return Answer(body={str(order.id): {"status": order.status, "method": order.method} for order in orders})


def arm_faults(sandbox: Sandbox, call: Call) -> Answer:
    """One fault or a list of them; they join those already armed."""
    text = call.body.strip()
    sandbox.faults.arm(FAULTS.validate_json(text if text.startswith(b"[") else b"[" + text + b"]"))
    return Answer(body={}, status=201)


def clear_faults(sandbox: Sandbox, call: Call) -> Answer:
    sandbox.faults.clear()
    return Answer(body={})


def show_log(sandbox: Sandbox, call: Call) -> Answer:
    """All calls, or those of `?order_id=` and `?operation=`."""
    calls = [call_json(one) for one in sandbox.log.calls]
    wanted = {name: call.query[name] for name in ("order_id", "operation") if name in call.query}
    return Answer(body={"calls": [one for one in calls if wanted.items() <= one.items()]})


def show_webhooks(sandbox: Sandbox, call: Call) -> Answer:
    """All messages with their attempts, or those of `?order_id=`; how many are under way in all."""
    order_id = call.query.get("order_id")
    messages = [one for one in sandbox.sender.messages if order_id in (None, str(one.order_id))]
    return Answer(
        body={
            "pending": sandbox.sender.pending,
            "messages": [message_json(one) for one in messages],
            "exhausted": [exhausted_json(one) for one in messages if one.state == "exhausted"],
        }
    )


def pause_webhooks(sandbox: Sandbox, call: Call) -> Answer:
    sandbox.sender.pause()
    return Answer(body={})


def resume_webhooks(sandbox: Sandbox, call: Call) -> Answer:
    sandbox.sender.resume()
    return Answer(body={})


def reset(sandbox: Sandbox, call: Call) -> Answer:
    sandbox.reset()
    return Answer(body={})


def open_to_all(handler: Handler) -> Endpoint:
    """An endpoint without key, log or faults."""

    async def endpoint(request: Request) -> Response:
        try:
            call = await read_call(request)
        except Refusal as refusal:
            return respond(refused(refusal.status, refusal.message))
        return respond(attempt(handler, sandbox_of(request), call))

    return endpoint


def _order(sandbox: Sandbox, call: Call) -> Order:
    assert call.order_id is not None
    return sandbox.laboratory.order(call.order_id)


def _order_in(scene: NewOrder, sandbox: Sandbox) -> Order:
    user_id = scene.user_id or uuid4()
    return Order(
        method=scene.method,
        lab_test=_lab_test(scene),
        user_id=user_id,
        client_user_id=client_user_of(user_id) if scene.client_user_id is None else scene.client_user_id,
        team_id=scene.team_id or sandbox.config.team_id,
        created_at=scene.created_at or sandbox.config.now(),
        registrable=scene.registrable,
        patient_state=scene.patient_state,
        origin=scene.origin,
        activate_by=scene.activate_by,
        passthrough=scene.passthrough,
        tracking_number=scene.tracking_number,
        transaction_id=scene.transaction_id or uuid4(),
    )


def _lab_test(scene: NewOrder) -> LabTest:
    usual = CATALOGUE[scene.method]
    test = (
        usual if scene.lab_test is None else replace(usual, id=_test_id(scene.lab_test), slug=scene.lab_test)
    )
    return test if scene.price is None else replace(test, price=scene.price)


def _test_id(slug: str) -> UUID:
    return uuid5(NAMESPACE_URL, slug)


def _path(order: Order, low_level: str) -> tuple[str, ...]:
    try:
        return order.course.towards(low_level)
    except ValueError as error:
        raise Refusal(422, str(error)) from error


def _changed(appointment: Appointment, scene: AppointmentScene) -> Appointment:
    names = ("type", "provider", "status", "start_at", "end_at", "iana_timezone")
    given = {name: value for name in names if (value := getattr(scene, name)) is not None}
    if "start_at" in given:
        given.setdefault("end_at", given["start_at"] + (appointment.end_at - appointment.start_at))
    return replace(appointment, **given)


ROUTES = [
    Route(f"/sandbox{path}", open_to_all(handler), methods=[method])
    for method, path, handler in (
        ("POST", "/orders", add_order),
        ("GET", "/orders", show_orders),
        ("POST", "/orders/{order_id}/events", add_event),
        ("POST", "/orders/{order_id}/appointment", set_appointment),
        ("POST", "/faults", arm_faults),
        ("POST", "/faults/clear", clear_faults),
        ("GET", "/log", show_log),
        ("GET", "/webhooks", show_webhooks),
        ("POST", "/webhooks/pause", pause_webhooks),
        ("POST", "/webhooks/resume", resume_webhooks),
        ("POST", "/reset", reset),
    )
]
