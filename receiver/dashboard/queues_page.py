"""Queues: what waits, runs and died; pausing, retrying, discarding; the workers behind it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast, get_args

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard.attention import DEAD_LETTERS_LIVE
from receiver.dashboard.desk import Desk
from receiver.dashboard.page import Address, Page
from receiver.dashboard.queue_figures import MINUTE, MINUTES, QueueLine, queue_line
from receiver.dashboard.rendering import duration
from receiver.dashboard.visit import Visit, as_number, not_found
from workers.messages import QUEUES
from workers.queues import MOVED_AT_ONCE, Delays, MessageRow, Outcome, QueueUnreachable, Tab
from workers.store import controls, failures, processes
from workers.store.watch import figures_between
from workers.version import VERSION

ROWS = 40  # of some 1.2 kB each
TABS = ("ready", "running", "delayed", "retrying", "dead", "done")

MOST_MINUTES = 7 * 24 * 60  # what dramatiq takes for a delay, and enough for a pause

# What an operator is told afterwards: no more than what is certain.
TOLD = {
    Outcome.REQUEUED: "It waits in its queue again.",
    Outcome.RESCHEDULED: "Its time was changed.",
    Outcome.REPLACED: "A worker holds it and passes it over; another with a new id has taken its place.",
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
        delays={line.name: _delays(visit, line) for line in lines},
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
    queues = visit.desk.queues
    rows: tuple[Any, ...] | None = ()
    if tab in get_args(Tab):
        rows = _or_none(lambda: queues.messages(name, cast(Tab, tab), offset, ROWS + 1))
    if tab == "done":
        rows = _or_none(lambda: queues.finished(name, offset, ROWS + 1))
    return visit.render(
        "queue.html",
        seen=visit.desk.queue_states(visit.now),
        line=line,
        tab=tab,
        rows=None if rows is None else rows[:ROWS],
        delays=_delays(visit, line),
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
        template = "confirm_minutes.html"
    else:
        title, button = f"Resume {name}", "Resume"
        what = [f"Workers take from {name} again within a few seconds; {ready} messages wait."]
        template = "confirm.html"
    return visit.render(
        template,
        title=title,
        back=(f"/queues/{name}", name),
        what=what,
        facts=[],
        button=button,
        danger=False,
        ask_reason=True,
        type_number=None,
        minutes_label="Resume by itself after so many minutes",
        minutes_hint="Leave it empty for a pause that somebody ends.",
        minutes_required=False,
        minutes_most=MOST_MINUTES,
    )


def pause(visit: Visit, *, on: bool) -> Response:
    name, reason = _queue(visit), visit.reason()
    until = _minutes_from_now(visit) if on and visit.form.get("minutes", "").strip() else None
    with visit.desk.writing() as connection:
        controls.switch(
            connection,
            controls.queue_control(name),
            on=on,
            actor=visit.session.user,
            reason=reason,
            now=visit.now,
            until=until,
        )
    told = f"paused for {duration(until - visit.now)}" if until else "paused" if on else "running again"
    return visit.go(f"/queues/{name}", f"{name} is {told}.")


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


def ask_reschedule(visit: Visit, *, now: bool) -> Response:
    row = _delayed(visit)
    held = "If a worker holds it already, it passes that one over, and another with a new id takes its place."
    return _ask(
        visit,
        row,
        title="Run a message now" if now else "Run a message later",
        what=["It goes to the end of its queue." if now else "It gets another time.", held],
        button="Run now" if now else "Change its time",
        minutes=not now,
    )


def reschedule(visit: Visit, *, now: bool) -> Response:
    queue, row, reason = _queue(visit), _delayed(visit), visit.reason()
    due_at = None if now else _minutes_from_now(visit)
    (outcome,) = visit.desk.queues.reschedule(queue, [row.redis_id], due_at)
    with visit.desk.writing() as connection:
        visit.audit(
            connection,
            "run_now" if due_at is None else "run_later",
            f"{queue}:{row.id}",
            reason=reason,
            after={"outcome": outcome.value, "due_at": due_at.isoformat() if due_at else None},
        )
    return visit.go(f"/queues/{queue}?tab={_tab_of(row)}", TOLD[outcome])


def ask_run_all_now(visit: Visit) -> Response:
    name = _queue(visit)
    line = next(line for line in _lines(visit) if line.name == name)
    delayed = "An unknown number of" if line.counts is None else f"{line.counts.delayed:,}"
    return visit.render(
        "confirm.html",
        title=f"Run now what is delayed in {name}",
        back=(f"/queues/{name}?tab=delayed", name),
        what=[
            f"{delayed} messages are delayed. The first {MOVED_AT_ONCE:,} go to its end at once.",
            "Those that failed before are tried again now.",
            "What a worker holds already is passed over by it; others with new ids take their places.",
        ],
        facts=[],
        button="Run them now",
        danger=False,
        ask_reason=True,
        type_number=None,
    )


def run_all_now(visit: Visit) -> Response:
    queue, reason = _queue(visit), visit.reason()
    outcomes = {outcome.value: count for outcome, count in visit.desk.queues.run_all_now(queue).items()}
    with visit.desk.writing() as connection:
        visit.audit(connection, "run_all_now", queue, reason=reason, after=outcomes)
    moved = outcomes.get("rescheduled", 0) + outcomes.get("replaced", 0)
    return visit.go(
        f"/queues/{queue}?tab=delayed",
        f"{moved:,} wait in the queue now; {outcomes.get('replaced', 0):,} of them in the place of others "
        "that a worker holds and passes over.",
    )


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


def _ask(
    visit: Visit, row: MessageRow, *, title: str, what: list[str], button: str, minutes: bool = False
) -> Response:
    queue = _queue(visit)
    return visit.render(
        "confirm_minutes.html" if minutes else "confirm.html",
        title=title,
        back=(f"/queues/{queue}/messages/{row.redis_id}", f"message {row.id[:8]}"),
        what=what,
        facts=[("Queue", queue), ("Actor", row.actor), ("Message", row.id), ("Error", row.error or "–")],
        button=button,
        danger=button == "Discard",
        ask_reason=True,
        type_number=None,
        minutes_label="In so many minutes",
        minutes_hint="From now on.",
        minutes_required=True,
        minutes_most=MOST_MINUTES,
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
        ends = controls.ends(connection)
        figures = figures_between(connection, "queue.", visit.now - (MINUTES + 1) * MINUTE, visit.now)
    return [
        queue_line(
            queue, counts, everybody, switches, figures, visit.now, ends.get(controls.queue_control(queue))
        )
        for queue in QUEUES
    ]


def _workers(visit: Visit) -> tuple[processes.Process, ...]:
    with visit.desk.reading() as connection:
        return processes.list_processes(connection)


def _delays(visit: Visit, line: QueueLine) -> Delays | None:
    """None when Redis does not say."""
    if line.counts is None or not line.counts.delayed:
        return None if line.counts is None else Delays(0, None, None)
    return cast(Delays | None, _or_none(lambda: visit.desk.queues.delays(line.name)))


def _minutes_from_now(visit: Visit) -> datetime:
    minutes = as_number(visit.form.get("minutes", "").strip())
    if not minutes or minutes > MOST_MINUTES:
        raise HTTPException(400, f"Give a number of minutes from 1 to {MOST_MINUTES:,}.")
    return visit.now + timedelta(minutes=minutes)


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


def _delayed(visit: Visit) -> MessageRow:
    row = _message(visit)
    if row.eta is None or row.died_at or row.called_off:
        raise not_found("delayed message of that id that is still to run")
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
        Address("/queues/{queue}/now", get=ask_run_all_now, post=run_all_now),
        Address("/queues/{queue}/messages/{id}", get=show_message),
        Address(
            "/queues/{queue}/messages/{id}/now",
            get=partial(ask_reschedule, now=True),
            post=partial(reschedule, now=True),
        ),
        Address(
            "/queues/{queue}/messages/{id}/later",
            get=partial(ask_reschedule, now=False),
            post=partial(reschedule, now=False),
        ),
        Address("/queues/{queue}/messages/{id}/discard", get=ask_discard, post=discard),
        Address("/queues/{queue}/messages/{id}/retry", get=ask_retry, post=retry),
    ),
    topics={"queues": queues_mark},
    finders={"message": find_message},
)
