"""An event sent by hand, signed as Junction signs: for trying out an installation."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import shlex
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4


class SendFailed(Exception):
    """Nothing was sent, or nobody answered; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


def send_event(body: bytes, url: str, secret: str | None, now: datetime) -> Answer:
    """Signs `body` with `secret` (or the first one configured) and posts it. Raises SendFailed."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise SendFailed(f"--url {url}: must begin with http:// or https://")
    headers = _signed(body, secret, now)
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - it was looked at above
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310
            return Answer(answer.status, _json(answer.read()))
    except urllib.error.HTTPError as refused:
        return Answer(refused.code, _json(refused.read()))
    except OSError as error:
        raise SendFailed(f"{url} does not answer ({error}); is the receiver running?") from None


def curl_line(body: bytes, url: str, secret: str | None, now: datetime) -> str:
    """The same as a command for a shell, good while the receiver takes its time stamp. Raises SendFailed."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise SendFailed("it is not text, so it cannot stand in a command; send it without --curl") from None
    said = [part for name, value in _signed(body, secret, now).items() for part in ("-H", f"{name}: {value}")]
    return shlex.join(["curl", "-sSi", "-w", r"\n", *said, "--data-binary", text, url])


def _signed(body: bytes, secret: str | None, now: datetime) -> dict[str, str]:
    """The headers of a delivery of its own."""
    key = _key(secret or _configured_secret())
    delivery, stamp = f"msg_{uuid4().hex}", str(int(now.timestamp()))
    signature = hmac.new(key, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "svix-id": delivery,
        "svix-timestamp": stamp,
        "svix-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def _configured_secret() -> str:
    items = os.environ.get("AUTOCANCEL_WEBHOOK_SECRETS", "").replace(";", "\n").split()
    if not items:
        raise SendFailed("no secret: give --secret whsec_… or set AUTOCANCEL_WEBHOOK_SECRETS")
    return items[0].partition(",")[0].partition("=")[2]


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise SendFailed("the secret is not whsec_ and base64") from None


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text[:200].decode(errors="replace")
