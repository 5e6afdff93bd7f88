"""The way of one API call: log it, check the key, let faults strike, apply, answer. Never a traceback."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from functools import partial
from http import HTTPStatus
from typing import TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.calllog import LoggedCall
from sandbox.faults import (
    HANG,
    ApplyLate,
    BadJson,
    CallFault,
    Drop,
    Latency,
    Status,
    TimeoutAfter,
    TimeoutBefore,
)
from sandbox.laboratory import Refusal
from sandbox.orders import Json
from sandbox.parts import Sandbox, sandbox_of

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    order_id: UUID | None
    query: QueryParams
    headers: Headers
    body: bytes

    def read(self, model: type[Model]) -> Model:
        """The body as `model`, an empty one as `{}`; pydantic's ValidationError becomes a 422."""
        return model.model_validate_json(self.body or b"{}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`applied`: the call changed something. `order_id`: the order it concerned, if the path does not say."""

    body: Json | list[Json]
    status: int = 200
    applied: bool = False
    order_id: UUID | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Sandbox, Call], Answer]
Endpoint = Callable[[Request], Awaitable[Response]]


def refused(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    body = {"error": HTTPStatus(status).phrase, "message": message, "status_code": status}
    return Answer(status=status, body=body, headers=headers or {})


def invalid(error: ValidationError) -> Answer:
    detail = error.errors(include_url=False, include_context=False, include_input=False)
    return Answer(status=422, body={"detail": detail})


def attempt(handler: Handler, sandbox: Sandbox, call: Call) -> Answer:
    """What the handler answers, its refusals included."""
    try:
        return handler(sandbox, call)
    except Refusal as refusal:
        return refused(refusal.status, refusal.message)
    except ValidationError as error:
        return invalid(error)


async def read_call(request: Request) -> Call:
    """Refusal (422) if the order id in the path is no UUID."""
    return Call(_order_id(request), request.query_params, request.headers, await request.body())


def guarded(operation: str, handler: Handler) -> Endpoint:
    """An endpoint of Junction's API: needs the key, is logged, and may be struck by faults."""

    async def endpoint(request: Request) -> Response:
        sandbox = sandbox_of(request)
        entry = sandbox.log.enter(sandbox.config.now(), operation, request.method, request.url.path, None)
        if request.headers.get("x-vital-api-key") != sandbox.config.api_key:
            return _respond(entry, refused(401, "Invalid API key"))
        try:
            call = await read_call(request)
        except Refusal as refusal:
            return _respond(entry, refused(refusal.status, refusal.message))
        entry.order_id = call.order_id
        apply = partial(_apply, entry, handler, sandbox, call)
        struck = sandbox.faults.strike_call(operation, request.url.path, call.order_id)
        return await _play(struck, apply, entry, request)

    return endpoint


def _order_id(request: Request) -> UUID | None:
    text = request.path_params.get("order_id")
    try:
        return UUID(text) if text else None
    except ValueError:
        raise Refusal(422, "order_id is not a UUID") from None


def _apply(entry: LoggedCall, handler: Handler, sandbox: Sandbox, call: Call) -> Answer:
    answer = attempt(handler, sandbox, call)
    entry.applied = answer.applied
    entry.order_id = entry.order_id or answer.order_id
    return answer


async def _play(
    faults: list[CallFault], apply: Callable[[], Answer], entry: LoggedCall, request: Request
) -> Response:
    for fault in faults:
        match fault:
            case Latency(seconds=seconds):
                await asyncio.sleep(seconds)
            case Status(status=status, retry_after=wait):
                headers = {} if wait is None else {"retry-after": str(wait)}
                return _respond(entry, refused(status, "A fault on demand", headers))
            case TimeoutBefore(seconds=seconds):
                return await _silence(request, seconds)
            case TimeoutAfter(seconds=seconds):
                apply()
                return await _silence(request, seconds)
            case Drop(applied=applied, at_byte=at_byte):
                whole = _raw(apply(), sandbox_of(request)) if applied else b""
                return Cut(whole[:at_byte])
            case ApplyLate(seconds=seconds, status=status):
                sandbox_of(request).background.spawn(_later(seconds, apply))
                if status is None:
                    return await _silence(request, HANG)
                return _respond(entry, refused(status, "A fault on demand"))
            case BadJson():
                text = bytes(_respond(entry, apply()).body)
                return _json(200, text[: len(text) // 2])
    return _respond(entry, apply())


def _respond(entry: LoggedCall, answer: Answer) -> Response:
    entry.status = answer.status
    return respond(answer)


def respond(answer: Answer) -> Response:
    return _json(answer.status, orjson.dumps(answer.body), answer.headers)


def _json(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


async def _later(seconds: float, apply: Callable[[], Answer]) -> None:
    await asyncio.sleep(seconds)
    apply()


async def _silence(request: Request, seconds: float) -> Response:
    """Nothing, until the caller gives up or the time is over; then the connection ends."""
    try:
        async with asyncio.timeout(seconds):
            await _gone(request.receive)
    except TimeoutError:
        pass
    return Cut(b"")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _raw(answer: Answer, sandbox: Sandbox) -> bytes:
    """The answer as it goes over the wire."""
    response = respond(answer)
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"date: {format_datetime(sandbox.config.now(), usegmt=True)}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + bytes(response.body)


class Cut(Response):
    """The first bytes of an answer, then the end of the connection (the one that serving.py shows)."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__()
        self.beginning = beginning

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        transport.write(self.beginning)
        transport.close()
        await _gone(receive)
