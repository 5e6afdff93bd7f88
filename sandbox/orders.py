"""Orders and appointments as Junction keeps them, and their JSON. What happens to them: laboratory.py."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from sandbox import canaries
from sandbox.machine import STEPS, TERMINAL, Course, Method, Step, course_of, low_level_of, step_of

Json = dict[str, Any]
AppointmentType = Literal["phlebotomy", "patient_service_center"]
Provider = Literal["getlabs", "phlebfinders", "quest", "sonora_quest"]
AppointmentStatus = Literal["pending", "reserved", "confirmed", "in_progress", "completed", "cancelled"]
Origin = Literal["initial", "redraw", "recreation"]


@dataclass(frozen=True, slots=True)
class LabTest:
    id: UUID
    slug: str
    method: Method
    sample_type: str
    price: float = 89.0


CATALOGUE = {
    test.method: test
    for test in (
        LabTest(UUID(int=0x7E571), "heart-kit", Method.TESTKIT, "dried_blood_spot"),
        LabTest(UUID(int=0x7E572), "heart-walk-in", Method.WALK_IN, "serum"),
        LabTest(UUID(int=0x7E573), "heart-at-home", Method.AT_HOME, "serum", price=149.0),
        LabTest(UUID(int=0x7E574), "heart-on-site", Method.ON_SITE, "serum"),
    )
}


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    created_at: datetime
    status: str


@dataclass(frozen=True, slots=True)
class AppointmentEvent:
    created_at: datetime
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment:
    type: AppointmentType
    provider: Provider
    status: AppointmentStatus
    start_at: datetime
    end_at: datetime
    iana_timezone: str
    id: UUID = field(default_factory=uuid4)
    events: tuple[AppointmentEvent, ...] = ()

    @property
    def is_active(self) -> bool:
        return self.status not in ("cancelled", "completed")

    @property
    def event_status(self) -> str:
        return "scheduled" if self.status == "confirmed" else self.status


@dataclass(slots=True, kw_only=True)
class Order:
    """One order. `events` is in order of (created_at, id), never empty once the order is placed."""

    method: Method
    lab_test: LabTest
    user_id: UUID
    client_user_id: str
    team_id: UUID
    created_at: datetime
    registrable: bool = False
    patient_state: str = "AZ"
    origin: Origin = "initial"
    activate_by: date | None = None
    passthrough: str | None = None
    tracking_number: str | None = None
    id: UUID = field(default_factory=uuid4)
    transaction_id: UUID = field(default_factory=uuid4)
    updated_at: datetime = field(init=False)
    events: list[Event] = field(default_factory=list)
    appointment: Appointment | None = None

    def __post_init__(self) -> None:
        self.updated_at = self.created_at

    @property
    def course(self) -> Course:
        return course_of(self.method, registrable=self.registrable)

    @property
    def status(self) -> str:
        return self.events[-1].status

    @property
    def low_level(self) -> str:
        return low_level_of(self.status)

    @property
    def step(self) -> Step | None:
        return step_of(self.method, self.status)

    @property
    def may_be_cancelled(self) -> bool:
        return self.step is not None and self.step.cancellable

    @property
    def is_terminal(self) -> bool:
        return self.step is not None and self.step.high_level in TERMINAL

    @property
    def sample_id(self) -> str:
        return f"SMP-{self.id.hex[:12]}"

    @property
    def is_registered(self) -> bool:
        return self.has_been("registered") or self.has_been("testkit_registered")

    def has_been(self, low_level: str) -> bool:
        return any(low_level_of(event.status) == low_level for event in self.events)

    def record(self, event: Event) -> None:
        self.events.append(event)
        self.events.sort(key=lambda one: (one.created_at, one.id))
        self.updated_at = max(self.updated_at, event.created_at)


def with_offset(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def with_z(moment: datetime) -> str:
    return with_offset(moment).replace("+00:00", "Z")


def without_zone(moment: datetime) -> str:
    """Appointments come in UTC with no zone at all."""
    return with_offset(moment).removesuffix("+00:00")


def order_json(order: Order) -> Json:
    """The order as `GET /v3/order/{id}` and the webhooks carry it, patient data and all."""
    kit_is_anonymous = order.registrable and not order.is_registered
    return {
        "id": str(order.id),
        "user_id": str(order.user_id),
        "team_id": str(order.team_id),
        "patient_details": None if kit_is_anonymous else _patient(),
        "patient_address": None if kit_is_anonymous else _address(order),
        "lab_test": _lab_test(order.lab_test),
        "details": {"type": order.method, "data": _details(order)},
        "sample_id": order.sample_id if order.method is Method.TESTKIT else None,
        "notes": canaries.NOTES,
        "clinical_notes": canaries.CLINICAL_NOTES,
        "created_at": with_offset(order.created_at),
        "updated_at": with_offset(order.updated_at),
        "events": [_event(event) for event in order.events],
        "status": order.step.high_level if order.step else order.status.partition(".")[0],
        "last_event": _event(order.events[-1]),
        "physician": {"first_name": "Alex", "last_name": canaries.PHYSICIAN, "npi": "1234567890"},
        "health_insurance_id": None,
        "requisition_form_url": None,
        "priority": False,
        "shipping_details": _shipping(order) if order.method is Method.TESTKIT else None,
        "activate_by": order.activate_by.isoformat() if order.activate_by else None,
        "passthrough": order.passthrough,
        "billing_type": "client_bill",
        "icd_codes": None,
        "has_abn": False,
        "interpretation": None,
        "has_missing_results": None,
        "expected_result_by_date": None,
        "worst_case_result_by_date": None,
        "origin": order.origin,
        "order_transaction": _transaction(order),
    }


def appointment_json(order: Order, appointment: Appointment) -> Json:
    return {
        "id": str(appointment.id),
        "user_id": str(order.user_id),
        "order_id": str(order.id),
        "order_transaction_id": str(order.transaction_id),
        "address": {
            "first_line": canaries.STREET,
            "second_line": canaries.SECOND_LINE,
            "city": canaries.CITY,
            "state": order.patient_state,
            "zip_code": canaries.ZIP,
            "unit": None,
            "access_notes": canaries.ACCESS_NOTES,
        },
        "location": {"lng": -112.07, "lat": 33.44},
        "start_at": without_zone(appointment.start_at),
        "end_at": without_zone(appointment.end_at),
        "iana_timezone": appointment.iana_timezone,
        "type": appointment.type,
        "provider": appointment.provider,
        "status": appointment.status,
        "provider_id": f"visit-{appointment.id.hex[:8]}",
        "external_id": None,
        "can_reschedule": appointment.is_active,
        "appointment_notes": canaries.NOTES,
        "event_status": appointment.event_status,
        "event_data": None,
        "events": [
            {"created_at": with_z(event.created_at), "status": event.status, "data": None}
            for event in appointment.events
        ],
    }


def _event(event: Event) -> Json:
    return {
        "id": event.id,
        "created_at": with_z(event.created_at),
        "status": event.status,
        "status_detail": None,
    }


def _patient() -> Json:
    return {
        "first_name": canaries.FIRST_NAME,
        "last_name": canaries.LAST_NAME,
        "dob": f"{canaries.DATE_OF_BIRTH}T00:00:00+00:00",
        "gender": "female",
        "phone_number": canaries.PHONE,
        "email": canaries.EMAIL,
        "medical_proxy": {
            "first_name": canaries.GUARANTOR,
            "last_name": canaries.LAST_NAME,
            "address": _street() | {"state": "AZ"},
            "phone_number": canaries.PHONE,
            "email": canaries.EMAIL,
        },
        "race": None,
        "ethnicity": None,
        "sexual_orientation": None,
        "gender_identity": None,
    }


def _street() -> Json:
    return {
        "first_line": canaries.STREET,
        "second_line": canaries.SECOND_LINE,
        "city": canaries.CITY,
        "zip": canaries.ZIP,
        "country": "US",
    }


def _shipping(order: Order) -> Json:
    return _street() | {
        "receiver_name": canaries.RECEIVER,
        "state": order.patient_state,
        "phone_number": canaries.PHONE,
    }


def _address(order: Order) -> Json:
    return _shipping(order) | {"access_notes": canaries.ACCESS_NOTES}


def _details(order: Order) -> Json:
    details: Json = {
        "id": str(order.transaction_id),
        "created_at": with_offset(order.created_at),
        "updated_at": with_offset(order.updated_at),
    }
    match order.method:
        case Method.TESTKIT:
            return details | {"shipment": _shipment(order)}
        case Method.WALK_IN | Method.AT_HOME:
            return details | {"appointment_id": str(order.appointment.id) if order.appointment else None}
        case Method.ON_SITE:
            return details


def _shipment(order: Order) -> Json | None:
    if order.tracking_number is None:
        return None
    return {
        "id": str(order.transaction_id),
        "outbound_tracking_number": order.tracking_number,
        "outbound_tracking_url": f"https://courier.example/{order.tracking_number}",
        "inbound_tracking_number": None,
        "inbound_tracking_url": None,
        "outbound_courier": "usps",
        "inbound_courier": None,
        "notes": canaries.SAMPLE_NOTES,
    }


def _lab_test(test: LabTest) -> Json:
    return {
        "id": str(test.id),
        "slug": test.slug,
        "name": test.slug.replace("-", " ").title(),
        "sample_type": test.sample_type,
        "method": test.method,
        "price": test.price,
        "is_active": True,
        "status": "active",
        "fasting": False,
        "lab": {
            "id": 1,
            "slug": "loopback",
            "name": "Loopback Laboratory",
            "first_line_address": "1 Loopback Road",
            "city": "Phoenix",
            "zipcode": "85002",
            "collection_methods": list(STEPS),
            "sample_types": [test.sample_type],
            "logo_url": None,
        },
        "markers": [{"id": 1, "name": "Cholesterol", "slug": "cholesterol"}],
        "is_delegated": False,
        "auto_generated": False,
        "has_collection_instructions": False,
    }


def _transaction(order: Order) -> Json:
    high_level = order.step.high_level if order.step else ""
    return {
        "id": str(order.transaction_id),
        "status": high_level if high_level in ("completed", "cancelled") else "active",
        "orders": [
            {
                "id": str(order.id),
                "low_level_status": order.low_level,
                "low_level_status_created_at": with_offset(order.events[-1].created_at),
                "origin": order.origin,
                "parent_id": None,
                "created_at": with_offset(order.created_at),
                "updated_at": with_offset(order.updated_at),
            }
        ],
    }
