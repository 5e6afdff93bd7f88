"""Whatever a verified body holds, there is something that can be stored of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as some

from receiver.signature import Secret, Verified
from receiver.webhooks import examine
from workers.core.events import Keep

TEAM = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
VERIFIED = Verified("msg_1", datetime(2026, 3, 4, tzinfo=UTC), Secret("main", b"key", TEAM))
KEEP = Keep(hash_key=b"key", birth_date=True, state=True, passthrough=True)

NAMES = """
    id team_id user_id client_user_id created_at updated_at activate_by events status details type lab_test
    price patient_address state patient_details dob data shipment outbound_tracking_number
    order_id start_at origin iana_timezone passthrough last_event order_transaction event_type
"""
words = some.sampled_from(NAMES.split())
kinds = some.sampled_from(["labtest.order.created", "labtest.appointment.updated", "labtest.result.critical"])
instants = some.datetimes().map(datetime.isoformat)
text = some.text(some.characters(), max_size=20) | words | kinds | instants
leaves = some.none() | some.booleans() | some.integers() | some.floats() | text
values = some.recursive(
    leaves, lambda inner: some.lists(inner) | some.dictionaries(words | text, inner), max_leaves=30
)
envelopes = some.fixed_dictionaries(
    {"event_type": kinds, "team_id": some.just(TEAM), "data": some.dictionaries(words, values)}
)


def is_storable(value: object) -> bool:
    """Whether both databases take it: no NUL, no half surrogate, no number that JSON has not."""
    written = json.dumps(value, allow_nan=False, ensure_ascii=False)
    written.encode()
    return "\\u0000" not in written


@given(envelopes | values)
def test_any_json_is_cut_to_something_storable(payload: object) -> None:
    arrival = examine(VERIFIED, json.dumps(payload).encode(), KEEP)
    assert is_storable([arrival.event_type, arrival.team_id, arrival.order_id, arrival.body])


@given(some.binary())
def test_any_bytes_are_at_least_measured(body: bytes) -> None:
    assert examine(VERIFIED, body, KEEP).size == len(body)


def test_nesting_is_followed_only_so_deep() -> None:
    def nested(levels: int) -> str:
        return examine(VERIFIED, b'{"a":' * levels + b"1" + b"}" * levels, KEEP).state

    assert nested(63) == "foreign"
    assert nested(64) == "unreadable"
