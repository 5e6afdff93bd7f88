"""Queues: what waits, runs and died; pausing, retrying, discarding; the workers behind it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast, get_args

from sqlalchemy import Connection
from starlette.responses import Response

from receiver.dashboard.attention import DEAD_LETTERS_LIVE
from receiver.dashboard.desk import Desk
from receiver.dashboard.page import Address, Page
from receiver.dashboard.queue_figures import MINUTE, MINUTES, QueueLine, queue_line
from receiver.dashboard.visit import Visit, not_found
from workers.messages import QUEUES
from workers.queues import MessageRow, Outcome, QueueUnreachable, Tab
from workers.store import controls, failures, processes
from workers.store.watch import figures_between
from workers.version import VERSION

ROWS = 50
MOST_RETRYING = 1_000  # counting them means reading them; beyond, the number says nothing more

TABS = ("ready", "running", "delayed", "retrying", "dead")

# What an operator is told afterwards: no more than what is certain.
TOLD = {
    Outcome.REQUEUED: "It waits in its queue again.",
    Outcome.REMOVED: "It was taken out and will not run.",
    Outcome.CALLED_OFF: "A worker holds it and passes it over; if it runs already, it cannot be stopped.",
    Outcome.NOT_THERE: "It was not there any more: it has run, or somebody was quicker.",
}


def show_queues(visit: Visit) -> Response:
    seen = visit.desk.queue_states(visit.now)
    lines = _lines(visit)
    return visit.render(
        "queues.html",
        seen=seen,
        lines=lines,
        retrying={line.name: _retrying(visit, line) for line in lines},
        workers=_workers(visit),
        version=VERSION,
        dead_letters_live=DEAD_LETTERS_LIVE,
    )


def show_queue(visit: Visit) -> Response:
    """One queue, and one tab of it."""
    name = _queue(visit)
    tab = visit.query("tab", "ready") if visit.query("tab", "ready") in TABS else "ready"
    offset = visit.number("from") or 0
    line = next(line for line in _lines(visit) if line.name == name)
    rows: tuple[MessageRow, ...] | None = ()
    if tab in get_args(Tab):
        rows = _or_none(lambda: visit.desk.queues.messages(name, cast(Tab, tab), offset, ROWS + 1))
    return visit.render(
        "queue.html",
        seen=visit.desk.queue_states(visit.now),
        line=line,
        tab=tab,
        rows=None if rows is None else rows[:ROWS],
        retrying=_retrying(visit, line),
        older=f"?tab={tab}&from={offset + ROWS}" if rows and len(rows) > ROWS else "",
        newer=f"?tab={tab}&from={max(0, offset - ROWS)}" if offset else "",
    )


def show_message(visit: Visit) -> Response:
    name, row = _queue(visit), _message(visit)
    with visit.desk.reading() as connection:
        tried = failures.of_message(connection, row.id)
    return visit.render("message.html", queue=name, row=row, tried=tried)


# --- pausing -----------------------------------------------------------------------------------------------


def ask_pause(visit: Visit, *, on: bool) -> Response:
    name = _queue(visit)
    line = next(line for line in _lines(visit) if line.name == name)
    ready = "an unknown number of" if line.counts is None else f"{line.counts.ready:,}"
    if on:
        title, button = f"Pause {name}", "Pause"
        what = [
            f"Workers take nothing more from {name}; {ready} messages wait there now, and more will come.",
            f"The {len(line.running)} running come to their end." if line.running else "Nothing is running.",
            "Webhooks are still accepted. Nothing gets lost.",
        ]
    else:
        title, button = f"Resume {name}", "Resume"
        what = [f"Workers take from {name} again within a few seconds; {ready} messages wait."]
    return visit.render(
        "confirm.html",
        title=title,
        back=(f"/queues/{name}", name),
        what=what,
        facts=[],
        button=button,
        danger=False,
        ask_reason=True,
        type_number=None,
    )


def pause(visit: Visit, *, on: bool) -> Response:
    name, reason = _queue(visit), visit.reason()
    with visit.desk.writing() as connection:
        controls.switch(
            connection,
            controls.queue_control(name),
            on=on,
            actor=visit.session.user,
            reason=reason,
            now=visit.now,
        )
    return visit.go(f"/queues/{name}", f"{name} is {'paused' if on else 'running again'}.")


# --- messages ----------------------------------------------------------------------------------------------


def ask_discard(visit: Visit) -> Response:
    row = _message(visit)
    return _ask(
        visit,
        row,
        title="Discard a message",
        what=[
            "It will not run. What it was about stays in the store, and the clock may queue it again.",
            "If a worker is running it already, it cannot be stopped.",
        ],
        button="Discard",
    )


def discard(visit: Visit) -> Response:
    queue, row, reason = _queue(visit), _message(visit), visit.reason()
    remove = visit.desk.queues.discard_dead if row.died_at else visit.desk.queues.call_off
    outcome = remove(queue, row.redis_id)
    with visit.desk.writing() as connection:
        visit.audit(
            connection,
            "discard_message",
            f"{queue}:{row.id}",
            reason=reason,
            after={"outcome": outcome.value},
        )
        if outcome is Outcome.REMOVED and row.died_at:
            _settle(connection, visit, row, "discarded", reason)
    return visit.go(f"/queues/{queue}?tab={_tab_of(row)}", TOLD[outcome])


def ask_retry(visit: Visit) -> Response:
    row = _message(visit)
    if row.died_at is None:
        raise not_found("dead message of that id")
    return _ask(
        visit,
        row,
        title="Retry a dead message",
        what=["It goes to the end of its queue under the same id, with all its attempts before it."],
        button="Retry",
    )


def retry(visit: Visit) -> Response:
    queue, row, reason = _queue(visit), _message(visit), visit.reason()
    outcome = visit.desk.queues.requeue_dead(queue, row.redis_id, visit.now)
    with visit.desk.writing() as connection:
        visit.audit(
            connection, "retry_message", f"{queue}:{row.id}", reason=reason, after={"outcome": outcome.value}
        )
        if outcome is Outcome.REQUEUED:
            _settle(connection, visit, row, "replayed", reason)
    return visit.go(f"/queues/{queue}?tab=dead", TOLD[outcome])


def _ask(visit: Visit, row: MessageRow, *, title: str, what: list[str], button: str) -> Response:
    queue = _queue(visit)
    return visit.render(
        "confirm.html",
        title=title,
        back=(f"/queues/{queue}/messages/{row.redis_id}", f"message {row.id[:8]}"),
        what=what,
        facts=[("Queue", queue), ("Actor", row.actor), ("Message", row.id), ("Error", row.error or "–")],
        button=button,
        danger=button == "Discard",
        ask_reason=True,
        type_number=None,
    )


def _settle(
    connection: Connection, visit: Visit, row: MessageRow, state: failures.FailureState, reason: str
) -> None:
    ids = [failure.id for failure in failures.of_message(connection, row.id)]
    failures.settle(connection, ids, state, actor=visit.session.user, reason=reason, now=visit.now)


# --- gathering ---------------------------------------------------------------------------------------------


def _lines(visit: Visit) -> list[QueueLine]:
    counts = visit.desk.queue_states(visit.now).value
    with visit.desk.reading() as connection:
        everybody = processes.list_processes(connection)
        switches = controls.all_raised(connection)
        figures = figures_between(connection, "queue.", visit.now - (MINUTES + 1) * MINUTE, visit.now)
    return [queue_line(queue, counts, everybody, switches, figures, visit.now) for queue in QUEUES]


def _workers(visit: Visit) -> tuple[processes.Process, ...]:
    with visit.desk.reading() as connection:
        return processes.list_processes(connection)


def _retrying(visit: Visit, line: QueueLine) -> int | None:
    """How many of the delayed have failed before; None when Redis does not say."""
    if line.counts is None or not line.counts.delayed:
        return None if line.counts is None else 0
    found = _or_none(lambda: visit.desk.queues.messages(line.name, "retrying", 0, MOST_RETRYING))
    return None if found is None else len(found)


def _queue(visit: Visit) -> str:
    name = str(visit.path["queue"])
    if name not in QUEUES:
        raise not_found("queue of that name")
    return name


def _message(visit: Visit) -> MessageRow:
    row = visit.desk.queues.message(_queue(visit), str(visit.path["id"]))
    if row is None:
        raise not_found("message of that id; it may have run by now")
    return row


def _tab_of(row: MessageRow) -> str:
    if row.died_at:
        return "dead"
    if row.retries:
        return "retrying"
    return "delayed" if row.eta else "ready"


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except QueueUnreachable:
        return None


def queues_mark(desk: Desk, _key: str) -> object:
    with desk.reading() as connection:
        everybody = processes.list_processes(connection)
        paused = processes.paused_queues(connection)
    seen = desk.queue_states(desk.now())
    busy = [(process.id, process.running, process.is_live(desk.now())) for process in everybody]
    return seen.fresh, seen.value, busy, paused


def find_message(connection: Connection, text: str) -> str | None:
    """Messages that are dead or have failed; those in Redis alone are not looked for by name."""
    found = failures.of_message(connection, text)
    return f"/dead-letters/{found[0].id}" if found else None


PAGE = Page(
    label="Queues",
    path="/queues",
    icon="queues",
    key="q",
    addresses=(
        Address("/queues", get=show_queues),
        Address("/queues/{queue}", get=show_queue),
        Address("/queues/{queue}/pause", get=partial(ask_pause, on=True), post=partial(pause, on=True)),
        Address("/queues/{queue}/resume", get=partial(ask_pause, on=False), post=partial(pause, on=False)),
        Address("/queues/{queue}/messages/{id}", get=show_message),
        Address("/queues/{queue}/messages/{id}/discard", get=ask_discard, post=discard),
        Address("/queues/{queue}/messages/{id}/retry", get=ask_retry, post=retry),
    ),
    topics={"queues": queues_mark},
    finders={"message": find_message},
)
