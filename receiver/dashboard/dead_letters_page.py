"""Dead letters: what failed for good, by cause; replaying, discarding, acknowledging what was shown first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any, get_args
from urllib.parse import urlencode

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard.desk import Desk
from receiver.dashboard.page import Address, Page
from receiver.dashboard.replaying import replay
from receiver.dashboard.visit import Visit, as_number, not_found
from workers.queues import QueueUnreachable
from workers.store import failures, previews
from workers.store.failures import FailureState, RecordedFailure
from workers.store.previews import MOST_IDS, Preview
from workers.store.watch import failures_mark

ROWS = 50
STATES: tuple[FailureState, ...] = get_args(FailureState)
TYPE_NUMBER_ABOVE = 25  # so many are no slip of the finger

TITLES = {"replay": "Replay", "discard": "Discard", "acknowledge": "Acknowledge"}
CONSEQUENCES = {
    "replay": (
        "What was set aside becomes due again, and a message goes to its queue.",
        "If the cause is still there, it fails again and comes back here as a new failure.",
    ),
    "discard": (
        "It is closed here and will not be replayed; a dead message that is still in Redis is removed.",
        "The order itself stays as it is. New events about it are handled as always.",
    ),
    "acknowledge": ("It stays open for replaying, and leaves the list of what nobody has looked at.",),
}


def show_groups(visit: Visit) -> Response:
    state = _state(visit)
    with visit.desk.reading() as connection:
        groups = failures.list_groups(connection, state)
        counts = failures.count_states(connection)
    return visit.render("dead_letters.html", state=state, groups=groups, counts=counts, states=STATES)


def show_group(visit: Visit) -> Response:
    """One cause: what it is, what became of its replays, its rows in a state."""
    state, fingerprint = _state(visit), visit.query("cause")
    with visit.desk.reading() as connection:
        counts = failures.count_states(connection, fingerprint)
        if not counts:
            raise not_found("group of failures with this cause")
        rows = failures.list_failures(
            connection, fingerprint, state, before=visit.number("before"), limit=ROWS + 1
        )
        versions = failures.versions_of_group(connection, fingerprint)
        again = failures.failed_again(connection, fingerprint)
    shown = rows[:ROWS]
    older = (
        f"?{urlencode({'cause': fingerprint, 'state': state, 'before': shown[-1].id})}"
        if len(rows) > ROWS
        else ""
    )
    return visit.render(
        "dead_letter_group.html",
        fingerprint=fingerprint,
        state=state,
        states=STATES,
        counts=counts,
        rows=shown,
        versions=versions,
        again=again,
        older=older,
    )


def show_failure(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        found = failures.load_failures(connection, [as_number(visit.path["id"]) or 0])
    if not found:
        raise not_found("failure of that number")
    return visit.render("dead_letter.html", one=found[0], fingerprint=found[0].failure.fingerprint)


# --- bulk actions: frozen, shown, done once ----------------------------------------------------------------


def freeze(visit: Visit) -> Response:
    """Keeps the chosen rows, or all unsettled ones of a cause, and leads to what would happen to them."""
    action = visit.form.get("action", "")
    if action not in TITLES:
        raise HTTPException(400, "There is no such action.")
    with visit.desk.writing() as connection:
        if visit.form.get("all"):
            ids = failures.ids_of_group(connection, visit.form["all"], failures.UNSETTLED, MOST_IDS)
        else:
            ids = [id_ for text in visit.form.getlist("id") if (id_ := as_number(text))]
        if not ids:
            raise HTTPException(400, "Nothing was chosen. Tick some rows first.")
        preview_id = token_hex(16)
        previews.freeze(connection, preview_id, visit.session.user, f"failures:{action}", ids, visit.now)
    return visit.go(f"/dead-letters/previews/{preview_id}")


def show_preview(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        preview = _preview(connection, visit)
        chosen = failures.load_failures(connection, [int(id_) for id_ in preview.ids])
    action = _action(preview)
    waiting = _waiting(chosen)
    if preview.done_at:
        return visit.render("dead_letters_done.html", preview=preview, title=TITLES[action], chosen=chosen)
    settled = len(chosen) - len(waiting)
    return visit.render(
        "confirm.html",
        title=f"{TITLES[action]} {len(waiting):,} {'failure' if len(waiting) == 1 else 'failures'}",
        back=("/dead-letters", "Dead letters"),
        facts=[
            ("Causes", ", ".join(sorted({one.failure.error for one in waiting})) or "–"),
            ("Orders", f"{len({one.failure.order_id for one in waiting if one.failure.order_id}):,}"),
            ("Skipped", f"{settled:,} that somebody has settled already" if settled else "none"),
        ],
        what=CONSEQUENCES[action],
        button=f"{TITLES[action]} {len(waiting):,}",
        danger=action == "discard",
        ask_reason=True,
        type_number=_number_to_type(action, len(preview.ids)),
    )


def carry_out(visit: Visit) -> Response:
    """Does what the preview said, once; a second confirmation only shows the result."""
    reason, address = visit.reason(), visit.request.url.path
    with visit.desk.writing() as connection:
        shown = _preview(connection, visit)
        number = _number_to_type(_action(shown), len(shown.ids))
        if number is not None and visit.form.get("number", "").strip() != str(number):
            raise HTTPException(400, f"Type {number} to confirm that so many are meant.")
        preview = previews.claim(connection, shown.id, visit.session.user, visit.now)
    if preview is None:
        return visit.go(address, "This was done before, or has waited too long. Nothing was done now.")
    result = _do(visit, _action(preview), [int(id_) for id_ in preview.ids], reason)
    with visit.desk.writing() as connection:
        previews.note_result(connection, preview.id, result)
    return visit.go(address)


def _do(visit: Visit, action: str, ids: list[int], reason: str) -> Mapping[str, Any]:
    if action == "replay":
        return dict(replay(visit, ids, reason))
    state: FailureState = "discarded" if action == "discard" else "acknowledged"
    with visit.desk.writing() as connection:
        chosen = _waiting(failures.load_failures(connection, ids))
        count = failures.settle(
            connection, ids, state, actor=visit.session.user, reason=reason, now=visit.now
        )
        visit.audit(connection, action, "failures", reason=reason, after={"ids": ids[:100], "count": count})
    if action == "discard":
        _remove_dead(visit.desk, {one.failure.message_id for one in chosen if one.failure.message_id})
    return {state: count}


def _remove_dead(desk: Desk, message_ids: set[str]) -> None:
    """Their messages leave Redis, if they are still there; after seven days they leave by themselves."""
    try:
        for queue in desk.queues.snapshot():
            for row in desk.queues.messages(queue.name, "dead", 0, MOST_IDS):
                if row.id in message_ids:
                    desk.queues.discard_dead(queue.name, row.redis_id)
    except QueueUnreachable:
        return


# --- small things ------------------------------------------------------------------------------------------


def _state(visit: Visit) -> FailureState:
    state = visit.query("state", "open")
    return state if state in STATES else "open"


def _preview(connection: Connection, visit: Visit) -> Preview:
    preview = previews.load(connection, str(visit.path["id"]), visit.session.user)
    if preview is None or not preview.action.startswith("failures:"):
        raise not_found("preview of yours")
    return preview


def _waiting(chosen: Sequence[RecordedFailure]) -> list[RecordedFailure]:
    """Those that nobody has settled."""
    return [one for one in chosen if one.state in failures.UNSETTLED]


def _number_to_type(action: str, count: int) -> int | None:
    return count if action != "acknowledge" and count > TYPE_NUMBER_ABOVE else None


def _action(preview: Preview) -> str:
    return preview.action.removeprefix("failures:")


def failures_topic(desk: Desk, _key: str) -> object:
    with desk.reading() as connection:
        return failures_mark(connection)


PAGE = Page(
    label="Dead letters",
    path="/dead-letters",
    icon="dead",
    key="x",
    addresses=(
        Address("/dead-letters", get=show_groups),
        Address("/dead-letters/cause", get=show_group),
        Address("/dead-letters/previews", post=freeze),
        Address("/dead-letters/previews/{id}", get=show_preview, post=carry_out),
        Address("/dead-letters/{id}", get=show_failure),
    ),
    topics={"failures": failures_topic},
)
