"""Doing one thing to many rows: the set is frozen, shown, then done once. What is done is the page's own."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex

from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from receiver.dashboard.visit import Visit, not_found
from workers.store import previews
from workers.store.previews import Preview

TYPE_NUMBER_ABOVE = 25  # so many are no slip of the finger
DONE_BEFORE = "This was done before, or has waited too long. Nothing was done now."


def freeze(connection: Connection, visit: Visit, action: str, ids: Sequence[int | str]) -> str:
    """Keeps the chosen rows for an action (`orders:hold`); returns the preview's id. 400 when none is."""
    if not ids:
        raise HTTPException(400, "Nothing was chosen. Tick some rows first.")
    preview_id = token_hex(16)
    previews.freeze(connection, preview_id, visit.session.user, action, ids, visit.now)
    return preview_id


def find(connection: Connection, visit: Visit, kind: str) -> Preview:
    """The visitor's own preview that the address names, of a kind of action (`orders:`)."""
    preview = previews.load(connection, str(visit.path["id"]), visit.session.user)
    if preview is None or not preview.action.startswith(kind):
        raise not_found("preview of yours")
    return preview


def number_to_type(preview: Preview, *, danger: bool) -> int | None:
    count = len(preview.ids)
    return count if danger and count > TYPE_NUMBER_ABOVE else None


def check_number(visit: Visit, number: int | None) -> None:
    """Answers 400 unless the number was typed, where one is asked for."""
    if number is not None and visit.form.get("number", "").strip() != str(number):
        raise HTTPException(400, f"Type {number} to confirm that so many are meant.")


def claim(visit: Visit, preview: Preview) -> bool:
    """Whether the set is the visitor's to act on now: once, and not too late."""
    with visit.desk.writing() as connection:
        return previews.claim(connection, preview.id, visit.session.user, visit.now) is not None
