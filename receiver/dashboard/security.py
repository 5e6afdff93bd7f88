"""What holds for every request, whoever answers it: same origin, bounded body, strict headers, an id."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 1 << 20  # bytes; a policy draft is the largest thing anybody posts
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # for browsers that do not know frame-ancestors
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
HSTS = "max-age=31536000"


def may_change_state(method: str, headers: Mapping[str, str], origin: str) -> bool:
    """Whether a request was made by one of our own pages, told by headers that scripts cannot forge.

    Browsers send Sec-Fetch-Site over https and to loopback; elsewhere Origin has to be our own.
    """
    if method in SAFE:
        return True
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    return headers.get("origin", "").lower() == origin


class Guard:
    """Wraps the application. Adds `request_id` to the scope."""

    def __init__(self, app: ASGIApp, *, origin: str) -> None:
        self.app = app
        self.origin = origin
        self.headers = (
            {**HEADERS, "strict-transport-security": HSTS} if origin.startswith("https:") else HEADERS
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = token_hex(8)
        headers = Headers(scope=scope)

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update({**self.headers, "x-request-id": scope["request_id"]})
                answer.setdefault("cache-control", "no-store")
            await send(message)

        if not may_change_state(scope["method"], headers, self.origin):
            refusal = PlainTextResponse("This request does not come from a page of ours.\n", 403)
            await refusal(scope, receive, guarded_send)
        elif _declared_length(headers) > BODY_LIMIT:
            await PlainTextResponse("The body is too large.\n", 413)(scope, receive, guarded_send)
        else:
            await self.app(scope, _bounded(receive), guarded_send)


def _declared_length(headers: Headers) -> int:
    declared = headers.get("content-length", "0")
    return int(declared) if declared.isdecimal() else BODY_LIMIT + 1


def _bounded(receive: Receive) -> Receive:
    """A body of unknown length that grows too large looks like a client that has gone."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        return message if size <= BODY_LIMIT else {"type": "http.disconnect"}

    return bounded
