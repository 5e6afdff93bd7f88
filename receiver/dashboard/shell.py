"""What every page has around it: first page, jump box, theme, acknowledging a problem."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from receiver.dashboard.attention import ACK, Problem
from receiver.dashboard.auth import local_path
from receiver.dashboard.desk import Desk
from receiver.dashboard.page import Address, Page
from receiver.dashboard.visit import Visit
from workers.store import controls

THEME_SECONDS = 365 * 24 * 3600
LONGEST_JUMP = 256


def shell_page(pages: Sequence[Page]) -> Page:
    """Belongs to no menu."""
    taken = {address.path for page in pages for address in page.addresses}
    first = [] if "/" in taken else [Address("/", get=partial(first_page, pages))]
    return Page(
        label="",
        path="",
        icon="",
        key="",
        addresses=(
            *first,
            Address("/jump", get=partial(jump, pages)),
            Address("/theme", post=set_theme, role="viewer"),
            Address("/problems/{key}", get=ask_note, post=acknowledge),
        ),
        topics={"attention": attention_mark},
    )


def attention_mark(desk: Desk, _key: str) -> object:
    return desk.shell(desk.now())


def first_page(pages: Sequence[Page], _visit: Visit) -> Response:
    return RedirectResponse(pages[0].path, status_code=303)


def jump(pages: Sequence[Page], visit: Visit) -> Response:
    """Straight to what is named, or to a choice when several things are."""
    wanted = visit.query("q").strip()[:LONGEST_JUMP]
    with visit.desk.reading() as connection:
        found = [
            (kind, address)
            for page in pages
            for kind, finder in page.finders.items()
            if wanted and (address := finder(connection, wanted))
        ]
    if len(found) == 1:
        return RedirectResponse(found[0][1], status_code=303)
    return visit.render("jump.html", wanted=wanted, found=found)


def set_theme(visit: Visit) -> Response:
    theme = visit.form.get("theme", "auto")
    response = RedirectResponse(local_path(visit.form.get("back", "")), status_code=303)
    response.set_cookie(
        "theme", theme if theme in {"light", "dark"} else "auto", max_age=THEME_SECONDS, httponly=True,
        samesite="lax", secure=visit.desk.settings.is_https,
    )  # fmt: skip
    return response


def ask_note(visit: Visit) -> Response:
    return visit.render("acknowledge.html", problem=_problem(visit), back=local_path(visit.query("back")))


def acknowledge(visit: Visit) -> Response:
    """Takes a problem out of sight until it gets worse or half a day has passed."""
    problem, note = _problem(visit), visit.reason()
    with visit.desk.writing() as connection:
        controls.switch(
            connection, ACK + problem.key, on=True, actor=visit.session.user, reason=note, now=visit.now
        )
    return visit.go(local_path(visit.query("back")), f"Acknowledged: {problem.text}")


def _problem(visit: Visit) -> Problem:
    for problem in visit.desk.shell(visit.now).problems:
        if problem.key == visit.path["key"]:
            return problem
    raise HTTPException(404, "This problem is gone, or somebody has acknowledged it.")
