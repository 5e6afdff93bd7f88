"""Did Junction send this? One question about headers and bytes, answered with a value.

The Standard Webhooks scheme as Svix sends it (FACTS, section 2). No clock, no settings, no network.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from receiver.hashing import hmac_sha256

FAMILIES = (b"svix-", b"webhook-")
VERSION = b"v1,"
MAX_SIGNATURES = 8  # two during a rotation at Junction; more only costs us time

_ID = re.compile(rb"[\x21-\x7e]{1,256}")
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A signing secret, and the team whose events it may vouch for."""

    label: str
    key: bytes = field(repr=False)
    team_id: str
    expires_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class Verified:
    """Signed with `secret` at `signed_at`, under the id that all attempts of this delivery share."""

    delivery_id: str
    signed_at: datetime
    secret: Secret


@dataclass(frozen=True, slots=True)
class NotVerified:
    """Why not: a code for counting and a sentence for whoever set this up."""

    reason: str
    sentence: str


MISSING = NotVerified(
    "signature_missing",
    "The three headers svix-id, svix-timestamp and svix-signature (or their webhook-* names) are needed.",
)
BAD_ID = NotVerified("id_malformed", "The delivery id must be 1 to 256 printable ASCII characters.")
BAD_TIMESTAMP = NotVerified(
    "timestamp_malformed", "The timestamp must be whole seconds since 1970, in digits."
)
TOO_OLD = NotVerified(
    "timestamp_too_old", "The timestamp is too far in the past: replayed, or a clock is wrong."
)
TOO_NEW = NotVerified("timestamp_too_new", "The timestamp is in the future: one of the two clocks is wrong.")
NO_V1 = NotVerified("signature_unsupported", "The signature header holds no signature of version v1.")
WRONG = NotVerified(
    "signature_wrong", "No configured secret makes this signature: wrong secret, or changed on the way."
)
EXPIRED = NotVerified("secret_expired", "The signature is right, but its secret has expired here.")


def verify(
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    secrets: Sequence[Secret],
    now: datetime,
    tolerance: timedelta,
) -> Verified | NotVerified:
    """Whether one of `secrets` signed `body`, not longer than `tolerance` before or after `now`.

    `headers` as ASGI gives them: names in lower case. Never raises, whatever headers and body hold.
    Signatures are compared in constant time and in base64, so that nothing of the sender's is decoded.
    """
    signed = _signed_headers(dict(headers))
    if signed is None:
        return MISSING
    delivery_id, timestamp, signatures = signed
    if not _ID.fullmatch(delivery_id):
        return BAD_ID
    if not _TIMESTAMP.fullmatch(timestamp):
        return BAD_TIMESTAMP
    age = now.timestamp() - int(timestamp)
    if abs(age) > tolerance.total_seconds():
        return TOO_OLD if age > 0 else TOO_NEW
    candidates = [item[len(VERSION) :] for item in signatures.split(b" ") if item.startswith(VERSION)]
    if not candidates:
        return NO_V1
    message = b".".join((delivery_id, timestamp, body))
    matching = [secret for secret in secrets if _signed_by(secret, message, candidates[:MAX_SIGNATURES])]
    for secret in matching:
        if secret.is_live(now):
            return Verified(delivery_id.decode("ascii"), datetime.fromtimestamp(int(timestamp), UTC), secret)
    return EXPIRED if matching else WRONG


def _signed_headers(given: Mapping[bytes, bytes]) -> tuple[bytes, bytes, bytes] | None:
    for family in FAMILIES:
        names = (family + b"id", family + b"timestamp", family + b"signature")
        if all(name in given for name in names):
            delivery_id, timestamp, signatures = (given[name] for name in names)
            return delivery_id, timestamp, signatures
    return None


def _signed_by(secret: Secret, message: bytes, candidates: Sequence[bytes]) -> bool:
    expected = b64encode(hmac_sha256(secret.key, message))
    return any(hmac.compare_digest(expected, candidate) for candidate in candidates)
