"""One request in a page's hands: who asks, at what time, and the ways to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.datastructures import ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from receiver.dashboard.addresses import ip_prefix
from receiver.dashboard.auth import TooManyTries
from receiver.dashboard.desk import Desk
from workers.store import audit
from workers.store.sessions import Session
from workers.store.users import Role, may

NOTICE_COOKIE = "notice"
NOTICE_SECONDS = 60
LONGEST_REASON = 500
LONGEST_NUMBER = 18  # digits; one more may not fit 64 bits

# Renders a template for a visit: name, status, what it shows.
Renderer = Callable[["Visit", str, int, Mapping[str, Any]], Response]

# Whether this is the visitor's password. Raises TooManyTries.
Knows = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Visit:
    """`form` holds the fields of a POST; `now` (UTC) is the time of the whole answer."""

    desk: Desk
    request: Request
    session: Session
    now: datetime
    form: ImmutableMultiDict[str, str]
    renderer: Renderer
    knows: Knows

    @property
    def path(self) -> Mapping[str, Any]:
        """What stands in the place of the names in the address's path."""
        return self.request.path_params

    @property
    def region(self) -> str:
        """The live region that asks for itself; empty when a whole page is asked for."""
        return region_of(self.request)

    def query(self, name: str, default: str = "") -> str:
        return self.request.query_params.get(name, default)

    def number(self, name: str) -> int | None:
        """A number in the query, if it is one that could be meant."""
        return as_number(self.query(name))

    def may(self, role: Role) -> bool:
        return may(self.session.role, role)

    def render(self, template: str, *, status: int = 200, **shown: Any) -> Response:
        """The page; or, when a live region asks, only the block of the template with that region's name."""
        return self.renderer(self, template, status, shown)

    def go(self, path: str, notice: str = "") -> Response:
        """Leads on with GET, and says there what was done."""
        response = RedirectResponse(path, status_code=303)
        if notice:
            response.set_cookie(
                NOTICE_COOKIE,
                quote(notice),
                max_age=NOTICE_SECONDS,
                httponly=True,
                samesite="lax",
                secure=self.desk.settings.is_https,
            )
        return response

    def reason(self) -> str:
        """Why the operator does this; answers 400 when nothing was given."""
        reason = " ".join(self.form.get("reason", "").split())[:LONGEST_REASON]
        if not reason:
            raise HTTPException(400, "Say why: the reason goes into the audit.")
        return reason

    def needs(self, role: Role) -> None:
        """Answers 403 to whoever has not got this role."""
        if not self.may(role):
            raise HTTPException(403, f"This takes the role {role}; yours is {self.session.role}.")

    def reauthenticate(self, action: str, target: str) -> None:
        """Takes the visitor's password once more, from the field of templates/password.html: not everything
        is for whoever finds an open browser. Answers 403 when it is wrong, which the audit keeps, and 429
        after too many tries. Before any transaction of the caller's."""
        try:
            right = self.knows(self.form.get("password", ""))
        except TooManyTries as tries:
            raise HTTPException(429, str(tries)) from tries
        if not right:
            with self.desk.writing() as connection:
                self.audit(connection, "wrong_password", target, after={"action": action})
            raise HTTPException(403, "Nothing was done: that is not your password.")

    def audit(self, connection: Connection, action: str, target: str, **more: Any) -> None:
        """One line, in the transaction of what it tells about. `more` as in workers.store.audit.note."""
        audit.note(
            connection,
            self.now,
            self.session.user,
            action,
            target,
            role=self.session.role,
            request_id=self.request.scope["request_id"],
            ip_prefix=ip_prefix(self.request.client.host if self.request.client else None),
            **more,
        )


def region_of(request: Request) -> str:
    """htmx names what it will swap: `section#news`."""
    return request.headers.get("hx-target", "").partition("#")[2] if "hx-request" in request.headers else ""


def as_number(text: str) -> int | None:
    """A row's number or a position; None for anything that databases would refuse."""
    return int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else None


def not_found(what: str) -> HTTPException:
    return HTTPException(404, f"There is no {what} here.")
