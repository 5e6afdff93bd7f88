"""Junction's JSON: what of it may stay (the allow-list), and how what stayed is read into our own values.

Trimming happens at the door and on every API answer; nothing that is not named here goes any further.
A new event type is a row in `KINDS`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from workers.core.calendar import zones_of_state
from workers.core.history import Event, History
from workers.core.order import NOTHING_KNOWN, Appointment, Facts, Order
from workers.core.status import Status

Json = Mapping[str, Any]

_WORD = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")
_ID = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")
_ZONE = re.compile(r"[A-Za-z0-9_+\-/]{1,64}")
_NOT_IN_A_STATUS = re.compile(r"[^A-Za-z0-9_.\-]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL takes neither
PLAUSIBLE_YEARS = range(1900, 2200)  # at the ends of time no calendar can add or subtract any more
_BIGGEST_ID = 2**63 - 1
_YEARS = range(1900, 2200)  # any other is a mistake, and too near the calendar's end to count from


class Unreadable(ValueError):
    """The payload is not a JSON object."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What the settings allow to be kept beyond the allow-list, and the key that hides `client_user_id`."""

    hash_key: bytes
    birth_date: bool = False
    state: bool = False
    passthrough: bool = False


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What is left of a delivery. `body` is plain JSON and all that is ever stored of it."""

    event_type: str | None
    team_id: str | None
    order_id: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One family of events: how its `data` is trimmed, which order it belongs to, how it is read."""

    name: str
    trim: Callable[[Json, Keep], dict[str, Any]]
    order_id: Callable[[Json], str | None]
    read: Callable[[Json, datetime], Order | None]


# --- trimming -------------------------------------------------------------------------------------------


def trim(payload: object, keep: Keep) -> Trimmed:
    """Cuts a verified delivery to the allow-list. Raises Unreadable when it is not a JSON object.

    The envelope is `{event_type, team_id, user_id, client_user_id, data}`; some published examples show the
    bare order without one (FACTS, section 2).
    """
    if not isinstance(payload, Mapping):
        raise Unreadable(f"a {type(payload).__name__}, not an object")
    data = payload.get("data")
    bare = not isinstance(data, Mapping) and "event_type" not in payload
    inner: Json = payload if bare else data if isinstance(data, Mapping) else {}
    event_type = _word(payload.get("event_type"))
    kind = _kind_of(event_type, inner if bare else {})
    team_id = _id(payload.get("team_id"))
    body: dict[str, Any] = {"event_type": event_type, "team_id": team_id}
    order_id = None
    if kind is not None:
        body[kind.name] = kind.trim({"user_id": payload.get("user_id"), **inner}, keep)
        body[kind.name]["user_hash"] = _hidden(payload.get("client_user_id"), keep)
        order_id = kind.order_id(body[kind.name])
    return Trimmed(event_type, team_id, order_id, body)


def trim_order(order: Json, keep: Keep) -> dict[str, Any]:
    """The allow-list of an order, for webhooks and API answers alike."""
    lab_test, details = _object(order, "lab_test"), _object(order, "details")
    address, patient = _object(order, "patient_address"), _object(order, "patient_details")
    shipment = _object(_object(details, "data"), "shipment")
    state = (_word(address.get("state")) or "").upper() or None
    told = _list(order, "events")
    events = [trimmed for item in told if (trimmed := _trim_event(item))]
    unreadable = len(told) - len(events)
    if not events and (last := _trim_event(order.get("last_event"))):
        events = [last]
    return {
        "id": _id(order.get("id")),
        "team_id": _id(order.get("team_id")),
        "user_id": _id(order.get("user_id")),
        "created_at": _time(order.get("created_at")),
        "updated_at": _time(order.get("updated_at")),
        "activate_by": _date(order.get("activate_by")),
        "origin": _word(order.get("origin")),
        "transaction_id": _id(_object(order, "order_transaction").get("id")),
        "methods": [m for m in (_word(details.get("type")), _word(lab_test.get("method"))) if m],
        "lab_test_id": _id(lab_test.get("id")),
        "lab_test_slug": _word(lab_test.get("slug")),
        "price": _number(lab_test.get("price")),
        "outbound_tracking": bool(shipment.get("outbound_tracking_number")),
        "zones": sorted(zones_of_state(state)) if state else [],
        "state": state if keep.state else None,
        "birth_date": _date(patient.get("dob")) if keep.birth_date else None,
        # Whether there is one, never who; only of use beside the age.
        "has_medical_proxy": bool(patient.get("medical_proxy")) if keep.birth_date and patient else None,
        "passthrough": _text(order.get("passthrough")) if keep.passthrough else None,
        "events": events,
        "unreadable_events": unreadable,
    }


def trim_appointment(appointment: Json, _keep: Keep) -> dict[str, Any]:
    """The allow-list of an appointment: no place, no notes."""
    return {
        "id": _id(appointment.get("id")),
        "order_id": _id(appointment.get("order_id")),
        "user_id": _id(appointment.get("user_id")),
        "kind": _word(appointment.get("type")),
        "provider": _word(appointment.get("provider")),
        "status": _status(appointment.get("status")),
        "event_status": _status(appointment.get("event_status")),
        "start_at": _time(appointment.get("start_at")),
        "end_at": _time(appointment.get("end_at")),
        "zone": _matching(_ZONE, appointment.get("iana_timezone")),
        "events": [
            {"created_at": at, "status": _status(item.get("status"))}
            for item in _list(appointment, "events")
            if isinstance(item, Mapping) and (at := _time(item.get("created_at")))
        ],
    }


def _trim_event(event: object) -> dict[str, Any] | None:
    if not isinstance(event, Mapping):
        return None
    number, at, status = event.get("id"), _time(event.get("created_at")), _status(event.get("status"))
    if type(number) is not int or not 0 <= number <= _BIGGEST_ID or at is None or status is None:
        return None
    return {"id": number, "created_at": at, "status": status, "detail": _word(event.get("status_detail"))}


# --- reading --------------------------------------------------------------------------------------------


def read(body: Json, observed_at: datetime) -> Order | None:
    """A trimmed delivery as news of an order, or None when it is about something else.

    `observed_at`: when the picture was taken (signing time of a delivery, `Date` of an answer).
    """
    for kind in KINDS.values():
        if isinstance(inner := body.get(kind.name), Mapping):
            return kind.read(inner, observed_at)
    return None


def read_order(order: Json, observed_at: datetime) -> Order | None:
    """A trimmed order as news; None when it has no id."""
    if not order.get("id"):
        return None
    history = History.of(
        Event(item["id"], instant(item["created_at"]), Status(item["status"]), item.get("detail"))
        for item in order["events"]
    )
    updated_at = _instant(order.get("updated_at")) or (history.last.at if history.last else observed_at)
    facts = Facts(
        updated_at=updated_at,
        observed_at=observed_at,
        methods=frozenset(order["methods"]),
        team_id=order.get("team_id"),
        user_id=order.get("user_id"),
        user_hash=order.get("user_hash"),
        created_at=_instant(order.get("created_at")),
        activate_by=_day(order.get("activate_by")),
        origin=order.get("origin"),
        lab_test_id=order.get("lab_test_id"),
        lab_test_slug=order.get("lab_test_slug"),
        price=order.get("price"),
        transaction_id=order.get("transaction_id"),
        outbound_tracking=order["outbound_tracking"],
        unreadable_events=order.get("unreadable_events", 0),
        zones=tuple(order["zones"]),
        birth_date=_day(order.get("birth_date")),
        state=order.get("state"),
        has_medical_proxy=order.get("has_medical_proxy"),
        passthrough=order.get("passthrough"),
    )
    return Order(id=order["id"], facts=facts, history=history)


def read_appointment(appointment: Json, observed_at: datetime) -> Order | None:
    """A trimmed appointment as news of its order; None when it names no order."""
    order_id, own_id = appointment.get("order_id"), appointment.get("id")
    if not order_id or not own_id:
        return None
    times = sorted(instant(item["created_at"]) for item in appointment["events"])
    bookings = [
        instant(i["created_at"]) for i in appointment["events"] if i["status"] in {"scheduled", "reserved"}
    ]
    found = Appointment(
        id=own_id,
        order_id=order_id,
        kind=appointment.get("kind") or "unknown",
        provider=appointment.get("provider"),
        status=appointment.get("status") or "unknown",
        start=_instant(appointment.get("start_at")),
        end=_instant(appointment.get("end_at")),
        zone=appointment.get("zone"),
        booked_at=min(bookings, default=times[0] if times else None),
        changed_at=times[-1] if times else observed_at,
        observed_at=observed_at,
    )
    return Order(id=order_id, facts=NOTHING_KNOWN, appointments=(found,))


ORDER = Kind("order", trim_order, lambda order: order.get("id"), read_order)
APPOINTMENT = Kind(
    "appointment", trim_appointment, lambda appointment: appointment.get("order_id"), read_appointment
)

KINDS: dict[str, Kind] = {
    "labtest.order.created": ORDER,
    "labtest.order.updated": ORDER,
    "labtest.appointment.created": APPOINTMENT,
    "labtest.appointment.updated": APPOINTMENT,
}


def _kind_of(event_type: str | None, bare: Json) -> Kind | None:
    if event_type is not None:
        return KINDS.get(event_type)
    return ORDER if "events" in bare and "id" in bare else None


# --- the small readers: a value of the expected shape, or None --------------------------------------------


def instant(text: str) -> datetime:
    """An ISO time as aware UTC. A time without zone is UTC (FACTS, trap 9). Raises ValueError."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _instant(text: str | None) -> datetime | None:
    return instant(text) if text else None


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _time(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        time = instant(value)
    except (ValueError, OverflowError):
        return None
    return time.isoformat() if time.year in _YEARS else None


def _date(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        day = date.fromisoformat(value[:10])
    except ValueError:
        return None
    return day.isoformat() if day.year in _YEARS else None


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _id(value: object) -> str | None:
    return _matching(_ID, value)


def _word(value: object) -> str | None:
    return _matching(_WORD, value)


def _status(value: object) -> str | None:
    """A status is kept even when nobody knows it, in characters that can hold no sentence."""
    return _NOT_IN_A_STATUS.sub("?", value[:128]) or None if isinstance(value, str) else None


def _text(value: object) -> str | None:
    return _UNSTORABLE.sub("", value[:1000]) if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e9 else None


def _object(value: Json, key: str) -> Json:
    inner = value.get(key)
    return inner if isinstance(inner, Mapping) else {}


def _list(value: Json, key: str) -> list[Any]:
    inner = value.get(key)
    return inner if isinstance(inner, list) else []


def _hidden(value: object, keep: Keep) -> str | None:
    """The keyed hash of an id that may be somebody's e-mail address."""
    if not isinstance(value, str) or not value:
        return None
    encoded = value.encode("utf-8", "surrogatepass")
    return hmac.new(keep.hash_key, encoded, hashlib.sha256).hexdigest()[:32]
