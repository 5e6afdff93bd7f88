"""The dashboard as an ASGI application, put together from the desk and the pages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from receiver.dashboard.auth import LOGIN, Door
from receiver.dashboard.desk import Desk
from receiver.dashboard.live import Hub
from receiver.dashboard.page import Address, Page
from receiver.dashboard.pages import PAGES
from receiver.dashboard.rendering import make_environment, render_block, send_asset
from receiver.dashboard.security import SAFE, Guard
from receiver.dashboard.shell import shell_page
from receiver.dashboard.visit import NOTICE_COOKIE, Visit
from workers.queues import QueueUnreachable
from workers.store.database import TROUBLE

log = logging.getLogger(__name__)

Fields = ImmutableMultiDict[str, str]

ATTENTION = "attention"  # the region of base.html that tells of problems
THEMES = ("auto", "light", "dark")
RETRY_STREAM_SECONDS = "30"


def create_app(desk: Desk, pages: Sequence[Page] = PAGES) -> Starlette:
    """`app.state.hub` must be stopped before the server waits for its answers to end (main.py does)."""
    return Dashboard(desk, pages).as_starlette()


class Dashboard:
    """One request after another: is there a session, who answers, and what if something goes wrong."""

    def __init__(self, desk: Desk, pages: Sequence[Page]) -> None:
        self.desk = desk
        self.pages = pages
        self.environment = make_environment()
        self.environment.globals |= {
            "pages": pages,
            "environment_name": desk.settings.environment,
        }
        self.door = Door(desk, self.show)
        marks = {name: mark for page in [*pages, shell_page(pages)] for name, mark in page.topics.items()}
        self.hub = Hub(desk, marks)

    def as_starlette(self) -> Starlette:
        addresses = [address for page in [*self.pages, shell_page(self.pages)] for address in page.addresses]
        app = Starlette(
            routes=[
                Route("/livez", livez),
                Route("/static/{name}", send_asset),
                Route(LOGIN, self.login, methods=["GET", "POST"]),
                Route("/logout", self.logout, methods=["POST"]),
                Route("/stream", self.stream),
                *(self.route(address) for address in addresses),
                Route("/{anything:path}", self.endpoint(Address("", get=_nothing_here))),
            ],
            middleware=[
                Middleware(Guard, origin=self.desk.settings.dashboard_origin),
                Middleware(GZipMiddleware, minimum_size=1000),
            ],
            exception_handlers={HTTPException: self.on_http_error},
            lifespan=self.lifespan,
        )
        app.router.redirect_slashes = False
        app.state.hub = self.hub
        return app

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        collecting = asyncio.create_task(self.hub.collect())
        yield
        self.hub.stop()
        collecting.cancel()

    # --- answering ---------------------------------------------------------------------------------------

    def route(self, address: Address) -> Route:
        methods = [name for name, handler in (("GET", address.get), ("POST", address.post)) if handler]
        return Route(address.path, self.endpoint(address), methods=methods)

    def endpoint(self, address: Address) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            form = await fields_of(request)
            return await self.safely(request, partial(self.answer, address, request, form))

        return answer

    def answer(self, address: Address, request: Request, form: Fields) -> Response:
        now = self.desk.now()
        session = self.door.session(request, now, somebody_acts="hx-request" not in request.headers)
        if session is None:
            return self.door.turn_away(request)
        user = session.user
        visit = Visit(
            self.desk,
            request,
            session,
            now,
            form,
            self.render,
            knows=lambda password: self.door.check(request, user, password, now) is not None,
        )
        if request.method in SAFE:
            if visit.region == ATTENTION:  # it is the same around every page
                return self.render(visit, "base.html", 200, {})
            assert address.get is not None
            return address.get(visit)
        visit.needs(address.role)
        assert address.post is not None
        response = address.post(visit)
        self.desk.forget()
        return response

    async def safely(self, request: Request, work: Callable[[], Response]) -> Response:
        """Runs what may block in a thread. A mistake of ours is logged; the visitor gets its number."""
        try:
            return await run_in_threadpool(work)
        except HTTPException as error:
            return self.on_http_error(request, error)
        except TROUBLE:
            log.warning("the store does not answer", exc_info=True)
            return self.error(request, 503, "The database does not answer. Nothing is lost; try again soon.")
        except QueueUnreachable:
            return self.error(request, 503, "Redis does not answer, so this cannot be shown or done now.")
        except Exception:
            log.exception("request %s failed", request.scope["request_id"])
            return self.error(
                request, 500, "This went wrong on our side, and the log has it under the number below."
            )

    def on_http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self.error(request, error.status_code, error.detail)

    def error(self, request: Request, status: int, text: str) -> Response:
        return self.show(request, "error.html", status, {"status": status, "text": text})

    # --- coming and going ----------------------------------------------------------------------------------

    async def login(self, request: Request) -> Response:
        if request.method in SAFE:
            return await self.safely(request, partial(self.door.login_form, request))
        form = await fields_of(request)
        return await self.safely(request, partial(self.door.sign_in, request, form, self.desk.now()))

    async def logout(self, request: Request) -> Response:
        answer = await self.safely(request, partial(self.door.sign_out, request))
        self.hub.close(self.door.session_id(request))  # only now: a tab that is told asks at once
        return answer

    async def stream(self, request: Request) -> Response:
        def is_signed_in(*, otherwise: bool) -> bool:
            """`otherwise`: what is assumed while the store cannot tell."""
            try:
                return self.door.session(request, self.desk.now(), somebody_acts=False) is not None
            except TROUBLE:
                return otherwise

        if not await run_in_threadpool(is_signed_in, otherwise=False):
            return PlainTextResponse("Sign in first.\n", 401)
        topics = request.query_params.get("topics", "").split(",")
        stream = self.hub.open(self.door.session_id(request), topics)
        if stream is None:
            return PlainTextResponse("Too many tabs.\n", 503, headers={"retry-after": RETRY_STREAM_SECONDS})
        return StreamingResponse(
            self.hub.messages(stream, partial(is_signed_in, otherwise=True)),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    # --- showing -------------------------------------------------------------------------------------------

    def render(self, visit: Visit, template: str, status: int, shown: Mapping[str, Any]) -> Response:
        request = visit.request
        everything = {
            **shown,
            "visit": visit,
            "now": visit.now,
            "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "topics": set(),
            "theme": theme_of(request),
            "notice": unquote(request.cookies.get(NOTICE_COOKIE, "")),
            "shell": self.desk.shell(visit.now),
        }
        if visit.region:
            html = render_block(self.environment, template, visit.region, everything)
            if html is not None:
                return HTMLResponse(html, status)
        response = HTMLResponse(self.environment.get_template(template).render(everything), status)
        if NOTICE_COOKIE in request.cookies:
            response.delete_cookie(NOTICE_COOKIE)
        return response

    def show(self, request: Request, template: str, status: int, shown: Mapping[str, Any]) -> Response:
        """A page that needs neither session nor store."""
        everything = {**shown, "theme": theme_of(request), "request_id": request.scope["request_id"]}
        return HTMLResponse(self.environment.get_template(template).render(everything), status)


async def livez(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def fields_of(request: Request) -> Fields:
    """The fields of a form; files are none."""
    try:
        form = () if request.method in SAFE else (await request.form()).multi_items()
    except ClientDisconnect:
        raise HTTPException(413, "That is too much at once.") from None
    fields = [(name, value) for name, value in form if isinstance(value, str)]
    sent = [request.url.path, *request.query_params.values(), *(value for _, value in fields)]
    if any("\0" in unquote(text) for text in sent):
        raise HTTPException(400, "A null character means nothing here.")  # and PostgreSQL does not take it
    return ImmutableMultiDict(fields)


def theme_of(request: Request) -> str:
    theme = request.cookies.get("theme", "auto")
    return theme if theme in THEMES else "auto"


def _nothing_here(_visit: Visit) -> Response:
    raise HTTPException(404, "There is nothing at this address.")
