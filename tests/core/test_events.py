"""What of Junction's JSON may stay, and how it is read. Nothing raises, nothing personal stays."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.core.case import Case
from workers.core.events import Keep, Unreadable, read, trim
from workers.core.order import Order
from workers.core.plan import plan
from workers.core.policy import Policy

NOTHING, EVERYTHING = Keep(b"key"), Keep(b"key", birth_date=True, state=True, passthrough=True)
SEEN = datetime(2026, 11, 18, 17, tzinfo=UTC)

ORDER: dict[str, Any] = {
    "event_type": "labtest.order.updated",
    "team_id": "team-1",
    "user_id": "user-1",
    "client_user_id": "ada.canary@example.com",
    "data": {
        "id": "order-1",
        "team_id": "team-1",
        "user_id": "user-1",
        "patient_details": {
            "first_name": "Ada Canary",
            "dob": "1980-02-29",
            "phone_number": "+1 555 CANARY",
            "email": "ada.canary@example.com",
            "medical_proxy": {"first_name": "Bob Canary"},
        },
        "patient_address": {
            "receiver_name": "Ada Canary",
            "first_line": "1 Canary Road",
            "city": "Canaryville",
            "state": "ca",
            "zip": "CANARY",
        },
        "lab_test": {
            "id": "test-1",
            "slug": "lipid-panel",
            "name": "The Canary Panel",
            "method": "testkit",
            "price": 12.5,
            "markers": [{"name": "canary"}],
        },
        "details": {
            "type": "testkit",
            "data": {
                "id": "kit-canary",
                "shipment": {"outbound_tracking_number": "1Z CANARY", "notes": "leave it with Mrs Canary"},
            },
        },
        "sample_id": "canary-sample",
        "notes": "Ada Canary is afraid of needles",
        "created_at": "2026-11-16T15:00:00+00:00",
        "updated_at": "2026-11-17T15:00:00Z",
        "activate_by": "2026-11-20",
        "origin": "initial",
        "passthrough": "batch 7",
        "order_transaction": {"id": "transaction-1", "status": "active", "orders": [{"id": "canary"}]},
        "requisition_form_url": "https://example.com/canary.pdf",
        "icd_codes": ["canary"],
        "events": [
            {
                "id": 1,
                "created_at": "2026-11-16T15:00:00",
                "status": "received.testkit.ordered",
                "note": "called Ada Canary",
            },
            {"id": 2, "created_at": "2026-11-17T10:00:00-05:00", "status": "received.testkit.new_one"},
        ],
    },
}
APPOINTMENT: dict[str, Any] = {
    "event_type": "labtest.appointment.updated",
    "team_id": "team-1",
    "user_id": "user-1",
    "client_user_id": "ada.canary@example.com",
    "data": {
        "id": "slot-1",
        "order_id": "order-1",
        "user_id": "user-1",
        "address": {"first_line": "1 Canary Road"},
        "location": {"lat": 1.0, "name": "canary"},
        "start_at": "2026-12-10T18:00:00",
        "end_at": "2026-12-10T20:00:00",
        "iana_timezone": "America/Phoenix",
        "type": "phlebotomy",
        "provider": "getlabs",
        "status": "confirmed",
        "provider_id": "canary",
        "external_id": "canary",
        "event_status": "scheduled",
        "event_data": {"note": "canary"},
        "appointment_notes": "a dog called Canary",
        "events": [
            {"created_at": "2026-11-17T15:00:00", "status": "pending", "data": {"name": "canary"}},
            {"created_at": "2026-11-17T16:00:00", "status": "scheduled"},
        ],
    },
}


def order_with(**changes: Any) -> dict[str, Any]:
    payload = deepcopy(ORDER)
    payload["data"] |= changes
    return payload


def order_of(payload: object, keep: Keep = NOTHING) -> Order:
    found = read(trim(payload, keep).body, SEEN)
    assert found is not None
    return found


# --- what stays ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [ORDER, APPOINTMENT, ORDER["data"]], ids=["order", "appointment", "bare"])
@pytest.mark.parametrize("keep", [NOTHING, EVERYTHING], ids=["nothing", "everything"])
def test_nothing_personal_survives_the_door(payload: dict[str, Any], keep: Keep) -> None:
    trimmed = trim(payload, keep)
    said = f"{json.dumps(trimmed.body)} {trimmed!r} {read(trimmed.body, SEEN)!r}".lower()
    assert "canary" not in said
    assert "555" not in said


@given(st.data())
def test_a_name_put_anywhere_does_not_survive_either(data: st.DataObject) -> None:
    payload = deepcopy(data.draw(st.sampled_from([ORDER, APPOINTMENT])))
    path = data.draw(st.sampled_from([path for path in paths(payload) if path != ("data", "passthrough")]))
    put(payload, path, "Ada Lovelace")
    assert "Ada Lovelace" not in json.dumps(trim(payload, EVERYTHING).body)


def test_facts_beyond_the_list_are_kept_only_where_the_settings_allow_each() -> None:
    facts = order_of(ORDER).facts
    assert (facts.birth_date, facts.state, facts.has_medical_proxy, facts.passthrough) == (None,) * 4
    facts = order_of(ORDER, EVERYTHING).facts
    assert (facts.birth_date, facts.state) == (date(1980, 2, 29), "CA")
    assert (facts.has_medical_proxy, facts.passthrough) == (True, "batch 7")


def test_the_zones_of_a_state_stay_though_the_state_does_not() -> None:
    assert order_of(ORDER).facts.zones == ("America/Los_Angeles",)


def test_of_a_tracking_number_only_its_being_there_stays() -> None:
    assert order_of(ORDER).has_shipped
    assert not order_of(order_with(details={"type": "testkit"})).has_shipped


def test_a_client_user_id_becomes_a_hash_that_only_the_key_could_repeat() -> None:
    one, again = order_of(ORDER).facts.user_hash, order_of(ORDER).facts.user_hash
    other = order_of(ORDER, Keep(b"another key")).facts.user_hash
    assert one == again != other
    assert one


def test_whose_order_it_is_and_what_it_is_stays() -> None:
    trimmed = trim(ORDER, NOTHING)
    assert (trimmed.event_type, trimmed.team_id, trimmed.order_id) == (
        "labtest.order.updated", "team-1", "order-1",
    )  # fmt: skip
    facts = order_of(ORDER).facts
    assert (facts.lab_test_id, facts.lab_test_slug, facts.price) == ("test-1", "lipid-panel", 12.5)
    assert (facts.transaction_id, facts.origin, facts.methods) == (
        "transaction-1", "initial", frozenset({"testkit"}),
    )  # fmt: skip
    assert facts.activate_by == date(2026, 11, 20)


# --- how it is read --------------------------------------------------------------------------------------


def test_a_time_without_a_zone_is_utc() -> None:
    first, second = order_of(ORDER).history.events
    assert first.at == datetime(2026, 11, 16, 15, tzinfo=UTC)
    assert second.at == datetime(2026, 11, 17, 15, tzinfo=UTC)
    (slot,) = order_of(APPOINTMENT).appointments
    assert slot.start == datetime(2026, 12, 10, 18, tzinfo=UTC)
    assert slot.booked_at == slot.changed_at == datetime(2026, 11, 17, 16, tzinfo=UTC)


def test_a_bare_order_without_envelope_is_an_order() -> None:
    enveloped, bare = order_of(ORDER), order_of(ORDER["data"])
    assert bare.history == enveloped.history
    assert bare.facts.lab_test_id == "test-1"


def test_a_status_nobody_has_seen_is_kept_raw() -> None:
    order = order_of(ORDER)
    assert str(order.status) == "received.testkit.new_one"
    assert order.entry is None


def test_the_last_event_stands_in_for_a_missing_history() -> None:
    last = {"id": 9, "created_at": "2026-11-17T15:00:00Z", "status": "received.testkit.ordered"}
    history = order_of(order_with(events=None, last_event=last)).history
    assert [event.id for event in history.events] == [9]


def test_an_event_of_an_unknown_type_is_no_news_of_an_order() -> None:
    trimmed = trim(ORDER | {"event_type": "labtest.result.critical"}, EVERYTHING)
    assert trimmed.order_id is None
    assert read(trimmed.body, SEEN) is None


def test_an_order_without_an_id_is_no_news() -> None:
    assert read(trim(order_with(id=None), NOTHING).body, SEEN) is None


def test_an_appointment_without_its_order_is_no_news() -> None:
    payload = deepcopy(APPOINTMENT)
    del payload["data"]["order_id"]
    assert read(trim(payload, NOTHING).body, SEEN) is None


def test_a_time_at_the_end_of_the_calendar_is_a_mistake() -> None:
    facts = order_of(order_with(created_at="9999-12-31T23:59:59Z", activate_by="0001-01-01")).facts
    assert (facts.created_at, facts.activate_by) == (None, None)


@pytest.mark.parametrize("payload", [None, 1, "text", [ORDER], True])
def test_what_is_no_object_is_unreadable(payload: object) -> None:
    with pytest.raises(Unreadable):
        trim(payload, NOTHING)


# --- whatever comes --------------------------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["0001-01-01T00:00:00+14:00", "9999-12-31", "2026-11-18T25:00:00Z", "\x00\ud800", "\\"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([*ORDER, *ORDER["data"]]) | st.text(max_size=10), anything, max_size=6)
)
def test_no_object_whatever_raises(payload: dict[str, Any]) -> None:
    read(trim(payload, EVERYTHING).body, SEEN)


@settings(max_examples=300)
@given(data=st.data())
def test_a_hostile_value_anywhere_is_read_and_planned(
    data: st.DataObject, a_case: Callable[..., Case], a_policy: Callable[..., Policy]
) -> None:
    payload = deepcopy(data.draw(st.sampled_from([ORDER, APPOINTMENT])))
    put(payload, data.draw(st.sampled_from(list(paths(payload)))), data.draw(anything))
    body = trim(payload, EVERYTHING).body
    stored = json.loads(json.dumps(body, allow_nan=False))
    if (order := read(stored, SEEN)) is not None:
        plan(a_policy(), a_case(order.merged(order), SEEN))


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands inside a payload, leaves and branches alike; the payload itself apart."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from paths(part, (*path, key))


def put(payload: Any, path: tuple[Any, ...], value: Any) -> None:
    *way, last = path
    for step in way:
        payload = payload[step]
    payload[last] = value
