"""Who may come in: whatever was signed with a secret of ours, lately, and nothing else."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as some

from receiver.signature import NotVerified, Secret, Verified, verify

if TYPE_CHECKING:
    from tests.receiver.conftest import Sender, Sign

NOW = datetime(2026, 3, 4, 12, 30, 15, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)
SECRET = Secret("main", b"twenty-four bytes of key", "team")
BODY = b'{"event_type": "labtest.order.created"}'

Pairs = list[tuple[bytes, bytes]]


def pairs(headers: dict[str, str]) -> Pairs:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def reason(headers: Pairs, body: bytes = BODY, *secrets: Secret, now: datetime = NOW) -> str:
    result = verify(headers, body, secrets or (SECRET,), now, FIVE_MINUTES)
    return "verified" if isinstance(result, Verified) else result.reason


def test_the_published_example_of_the_scheme_is_verified() -> None:
    secret = Secret("example", b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "team")
    headers = [
        (b"webhook-id", b"msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (b"webhook-timestamp", b"1614265330"),
        (b"webhook-signature", b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]
    sent_at = datetime.fromtimestamp(1614265330, UTC)
    assert verify(headers, b'{"test": 2432232314}', [secret], sent_at, FIVE_MINUTES) == Verified(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", sent_at, secret
    )


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_a_delivery_of_either_header_family_says_its_id_time_and_secret(sender: Sender, family: str) -> None:
    headers = pairs(sender.headers(BODY, "msg_9", family=family))
    assert verify(headers, BODY, [SECRET], NOW, FIVE_MINUTES) == Verified("msg_9", NOW, SECRET)


def test_a_changed_body_id_or_time_is_not_verified(sender: Sender) -> None:
    signed = sender.headers(BODY, "msg_1")
    assert reason(pairs(signed), BODY + b" ") == "signature_wrong"
    assert reason(pairs(signed | {"svix-id": "msg_2"})) == "signature_wrong"
    second_later = str(int(NOW.timestamp()) + 1)
    assert reason(pairs(signed | {"svix-timestamp": second_later})) == "signature_wrong"


def test_headers_of_two_families_do_not_make_one_signature(sender: Sender) -> None:
    svix, webhook = sender.headers(BODY), sender.headers(BODY, family="webhook")
    mixed = {"svix-id": svix["svix-id"], "webhook-timestamp": webhook["webhook-timestamp"]}
    assert reason(pairs(mixed | {"svix-signature": svix["svix-signature"]})) == "signature_missing"


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (300, "verified"),
        (-300, "verified"),
        (301, "timestamp_too_old"),
        (-301, "timestamp_too_new"),
    ],
)
def test_signatures_are_good_for_five_minutes_either_way(sender: Sender, age: int, expected: str) -> None:
    assert reason(pairs(sender.headers(BODY, at=NOW - timedelta(seconds=age)))) == expected


def test_during_a_rotation_at_the_sender_one_right_signature_of_two_is_enough(sender: Sender) -> None:
    signed = sender.headers(BODY)
    other = sender.headers(b"something else")["svix-signature"]
    for both in (f"{other} {signed['svix-signature']}", f"{signed['svix-signature']} {other}"):
        assert reason(pairs(signed | {"svix-signature": both})) == "verified"


def test_signatures_of_other_versions_are_passed_over(sender: Sender) -> None:
    signed = sender.headers(BODY)
    right = signed["svix-signature"]
    assert reason(pairs(signed | {"svix-signature": f"v1a,abc {right} v2,def"})) == "verified"
    as_another_version = right.replace("v1,", "v2,")
    assert reason(pairs(signed | {"svix-signature": as_another_version})) == "signature_unsupported"


def test_the_secret_that_matched_is_told(sender: Sender) -> None:
    old, new = Secret("old", b"an older key of ours", "team"), SECRET
    result = verify(pairs(sender.headers(BODY)), BODY, [old, new], NOW, FIVE_MINUTES)
    assert isinstance(result, Verified)
    assert result.secret is new


def test_a_secret_is_no_longer_good_when_it_has_expired(sender: Sender) -> None:
    expiring = Secret("main", SECRET.key, "team", expires_at=NOW)
    headers = pairs(sender.headers(BODY))
    assert reason(headers, BODY, expiring, now=NOW - timedelta(seconds=1)) == "verified"
    assert reason(headers, BODY, expiring) == "secret_expired"
    assert reason(headers, BODY, expiring, SECRET) == "verified"


@pytest.mark.parametrize("name", ["svix-id", "svix-timestamp", "svix-signature"])
def test_all_three_headers_are_needed(sender: Sender, name: str) -> None:
    signed = sender.headers(BODY)
    del signed[name]
    assert reason(pairs(signed)) == "signature_missing"


@pytest.mark.parametrize("delivery_id", [b"", b"two words", b"m" * 257, b"nul\0", b"caf\xc3\xa9", b"\xff"])
def test_an_id_no_sender_would_use_is_refused(sender: Sender, delivery_id: bytes) -> None:
    headers = dict(pairs(sender.headers(BODY))) | {b"svix-id": delivery_id}
    assert reason(list(headers.items())) == "id_malformed"


@pytest.mark.parametrize(
    "timestamp", [b"", b" 1772627415", b"1772627415.0", b"1e9", b"-1", b"+1", b"9" * 13, b"\xd9\xa1", b"nan"]
)
def test_a_time_that_is_not_plain_digits_is_refused(sender: Sender, timestamp: bytes) -> None:
    headers = dict(pairs(sender.headers(BODY))) | {b"svix-timestamp": timestamp}
    assert reason(list(headers.items())) == "timestamp_malformed"


def test_a_time_beyond_the_calendar_is_only_too_new(sender: Sender) -> None:
    headers = dict(pairs(sender.headers(BODY))) | {b"svix-timestamp": b"9" * 12}
    assert reason(list(headers.items())) == "timestamp_too_new"


def test_a_key_is_not_shown_by_its_secret() -> None:
    assert "twenty" not in repr(SECRET)


printable = some.text(some.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=256)
names = some.sampled_from(
    [
        f"{family}-{part}".encode()
        for family in ("svix", "webhook")
        for part in ("id", "timestamp", "signature")
    ]
)
values = some.binary() | some.sampled_from([b"msg_1", b"1772627415", b"v1,", b"v1,AAAA v1,====", b"\xff,"])


@given(headers=some.lists(some.tuples(names | some.binary(), values)), body=some.binary())
def test_no_headers_and_no_body_get_anything_but_a_plain_no(headers: Pairs, body: bytes) -> None:
    assert isinstance(verify(headers, body, [SECRET], NOW, FIVE_MINUTES), NotVerified)


@given(body=some.binary(), delivery_id=printable, age=some.integers(-300, 300))
def test_whatever_is_signed_with_our_secret_in_time_is_verified(
    sign: Sign, body: bytes, delivery_id: str, age: int
) -> None:
    timestamp = str(int(NOW.timestamp()) - age)
    headers = {"svix-id": delivery_id, "svix-timestamp": timestamp}
    signed = headers | {"svix-signature": sign(SECRET.key, delivery_id, timestamp, body)}
    assert reason(pairs(signed), body) == "verified"
