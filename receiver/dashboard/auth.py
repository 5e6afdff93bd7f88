"""Coming in: who has a session, signing in and out. Closed until somebody has been added."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from secrets import token_urlsafe
from threading import BoundedSemaphore, Lock
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from receiver.dashboard.addresses import ip_prefix
from receiver.dashboard.desk import Desk
from workers.store import audit, sessions, users
from workers.store.sessions import Session
from workers.store.users import Role

LOGIN = "/login"
FAILURES_FROM_ONE_PLACE, FORGOTTEN_AFTER = 20, timedelta(minutes=10)

# A password takes a core for some 50 ms; more at once would starve those who are signed in.
CHECKS_AT_ONCE = 2

Show = Callable[
    [Request, str, int, Mapping[str, Any]], Response
]  # a bare template for somebody without session


class Throttle:
    """Slows guessing down by where it comes from. Each process counts for itself; names wait in the store."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures: defaultdict[str, deque[datetime]] = defaultdict(deque)

    def is_closed(self, place: str, now: datetime) -> bool:
        with self._lock:
            self._forget(now)
            return len(self._failures.get(place, ())) >= FAILURES_FROM_ONE_PLACE

    def count(self, place: str, now: datetime) -> None:
        with self._lock:
            self._failures[place].append(now)

    def _forget(self, now: datetime) -> None:
        for place, failures in list(self._failures.items()):
            while failures and failures[0] <= now - FORGOTTEN_AFTER:
                failures.popleft()
            if not failures:
                del self._failures[place]


class TooManyTries(Exception):
    """So many wrong passwords came from one place that for a while none from there is looked at."""


class Door:
    """Knows who may come in, and shows the others the way. All of it may block."""

    def __init__(self, desk: Desk, show: Show) -> None:
        self._desk = desk
        self._show = show
        self._throttle = Throttle()
        self._checking = BoundedSemaphore(CHECKS_AT_ONCE)
        self._cookie = "__Host-autocancel" if desk.settings.is_https else "autocancel"

    def session(self, request: Request, now: datetime, *, somebody_acts: bool = True) -> Session | None:
        """The session of a request. `somebody_acts` keeps it from running idle; a page that refreshes itself
        does not."""
        cookie = request.cookies.get(self._cookie)
        if not cookie:
            return None
        with self._desk.reading() as connection:
            session = sessions.find(connection, cookie, now)
        if session and somebody_acts and now - session.seen_at >= sessions.SEEN_EVERY:
            with self._desk.writing() as connection:
                sessions.touch(connection, session, now)
        return session

    def session_id(self, request: Request) -> str:
        """Of the session that the request claims to have."""
        return sessions.id_of(request.cookies.get(self._cookie, ""))

    def turn_away(self, request: Request) -> Response:
        """The answer to somebody without a session: sign in, or be told how to add the first user."""
        if not self._has_users():
            return self._show(request, "nobody.html", 403, {})
        if "hx-request" in request.headers:
            return Response(status_code=401, headers={"hx-redirect": LOGIN})
        if request.method not in {"GET", "HEAD"} or request.url.path == "/stream":
            return PlainTextResponse("Sign in first.\n", 401)
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{LOGIN}?next={quote(wanted)}", status_code=303)

    def login_form(self, request: Request) -> Response:
        if not self._has_users():
            return self.turn_away(request)
        return self._form(request, 200, request.query_params.get("next", ""))

    def sign_in(self, request: Request, form: Mapping[str, str], now: datetime) -> Response:
        name, wanted = form.get("name", "").strip().lower(), form.get("next", "")
        try:
            role = self.check(request, name, form.get("password", ""), now)
        except TooManyTries as tries:
            return self._form(request, 429, wanted, name, str(tries))
        if role is None:
            # The same sentence for a wrong name, a wrong password and a name that has to wait.
            wrong = "That name and password do not open this. After several tries a name has to wait a while."
            return self._form(request, 401, wanted, name, wrong)
        cookie = token_urlsafe(32)
        with self._desk.writing() as connection:
            sessions.end(connection, request.cookies.get(self._cookie, ""))
            sessions.begin(connection, cookie, name, now)
            audit.note(connection, now, name, "sign_in", name, role=role, ip_prefix=_place(request))
        response = RedirectResponse(local_path(wanted), status_code=303)
        response.set_cookie(
            self._cookie, cookie, httponly=True, samesite="lax", path="/", secure=self._desk.settings.is_https
        )
        return response

    def check(self, request: Request, name: str, password: str, now: datetime) -> Role | None:
        """The role of the user whose password this is, or None. Raises TooManyTries. Takes a while, so no
        transaction should be open."""
        place = _place(request)
        if self._throttle.is_closed(place, now):
            raise TooManyTries("Too many tries. Wait ten minutes.")
        with self._checking:
            role = users.check_password(self._desk.store, name, password, now)
        if role is None:
            self._throttle.count(place, now)
        return role

    def sign_out(self, request: Request) -> Response:
        with self._desk.writing() as connection:
            sessions.end(connection, request.cookies.get(self._cookie, ""))
        response = RedirectResponse(LOGIN, status_code=303)
        response.delete_cookie(
            self._cookie, httponly=True, samesite="lax", path="/", secure=self._desk.settings.is_https
        )
        return response

    def _form(
        self, request: Request, status: int, wanted: str, name: str = "", problem: str = ""
    ) -> Response:
        shown = {"next": local_path(wanted), "name": name, "problem": problem}
        return self._show(request, "login.html", status, shown)

    def _has_users(self) -> bool:
        with self._desk.reading() as connection:
            return users.anybody(connection)


def _place(request: Request) -> str:
    return ip_prefix(request.client.host if request.client else None) or "?"


def local_path(wanted: str) -> str:
    """A path of our own to go to; anything that could lead elsewhere leads to the first page."""
    is_local = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_local else "/"
