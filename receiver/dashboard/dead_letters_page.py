"""Dead letters: what failed for good, by cause; replaying, discarding, acknowledging what was shown first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, get_args
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard import bulk
from receiver.dashboard.charts import spans
from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import Asked, Choice, Day, Text, read_filters
from receiver.dashboard.page import Address, Page
from receiver.dashboard.replaying import replay
from receiver.dashboard.visit import Visit, as_number, not_found
from workers.messages import QUEUES
from workers.queues import QueueUnreachable
from workers.store import failures, previews
from workers.store.failures import FailureFilter, FailureState, RecordedFailure
from workers.store.previews import MOST_IDS, Preview
from workers.store.watch import failures_mark

ROWS = 50
GROUPS = 20  # of some 2 kB each
ORDERS_LISTED = 12
HOUR, HOURS = timedelta(hours=1), 24  # the span of a trend
STATES: tuple[FailureState, ...] = get_args(FailureState)
KIND = "failures:"  # of previews

TITLES = {"replay": "Replay", "discard": "Discard", "acknowledge": "Acknowledge", "resolve": "Resolve"}
SETTLED_AS: Mapping[str, FailureState] = {
    "discard": "discarded",
    "acknowledge": "acknowledged",
    "resolve": "resolved",
}
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
    "resolve": (
        "Its cause is taken for repaired, and nothing of it is replayed. What was set aside stays aside.",
        "If the same happens again, it is open again, and marked as having come back.",
    ),
}

FIELDS = (
    Choice("queue", "queue", {queue: queue for queue in QUEUES}),
    Text("error", "error"),
    Text("order", "order"),
    Day("from", "failed since"),
    Day("to", "failed before", end=True),
)


def show_groups(visit: Visit) -> Response:
    state = _state(visit)
    given = [(name, value) for name, value in visit.request.query_params.multi_items() if name != "state"]
    asked = read_filters(given, FIELDS)
    wanted = _filter(asked)
    with visit.desk.reading() as connection:
        found = failures.list_groups(connection, state, GROUPS + 1, wanted, visit.number("before"))
        groups = () if asked.wrong else found[:GROUPS]
        counts = {} if asked.wrong else failures.count_states(connection, wanted)
        trends = failures.times_by_group(connection)
        resolved = failures.resolved_groups(connection, [group.fingerprint for group in groups])
        ever = bool(counts) or bool(failures.count_states(connection))
    return visit.render(
        "dead_letters.html",
        status=400 if asked.wrong else 200,
        state=state,
        asked=asked,
        given=[(name, value) for name, value in given if value.strip()],
        fields={field.name: field for field in FIELDS},
        groups=groups,
        counts=counts,
        unsettled=_unsettled(counts),
        states=STATES,
        ever=ever,
        trends={
            group.fingerprint: _by_hour(trends.get(group.fingerprint, ()), visit.now) for group in groups
        },
        resolved=resolved,
        older=asked.link(state=state, before=str(groups[-1].sample.id)) if len(found) > GROUPS else "",
    )


def show_group(visit: Visit) -> Response:
    """One cause: what it is, what became of its replays, its rows in a state."""
    state, fingerprint = _state(visit), visit.query("cause")
    with visit.desk.reading() as connection:
        counts = failures.count_states(connection, FailureFilter(fingerprint))
        if not counts:
            raise not_found("group of failures with this cause")
        rows = failures.list_failures(
            connection, fingerprint, state, before=visit.number("before"), limit=ROWS + 1
        )
        versions = failures.versions_of_group(connection, fingerprint)
        again = failures.failed_again(connection, fingerprint)
        orders = failures.orders_of_group(connection, fingerprint, state, ORDERS_LISTED + 1)
        resolved_at = failures.resolved_groups(connection, [fingerprint]).get(fingerprint)
        trend = failures.times_by_group(connection).get(fingerprint, [])
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
        orders=orders[:ORDERS_LISTED],
        more_orders=len(orders) > ORDERS_LISTED,
        unsettled=_unsettled(counts),
        resolved_at=resolved_at,
        trend=_by_hour(trend, visit.now),
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
    """Keeps the chosen rows, or all unsettled ones that fit, and leads to what would happen to them."""
    action = visit.form.get("action", "")
    if action not in TITLES:
        raise HTTPException(400, "There is no such action.")
    with visit.desk.writing() as connection:
        if wanted := _asked_for_all(visit):
            ids = failures.unsettled_ids(connection, wanted, MOST_IDS)
        else:
            ids = [id_ for text in visit.form.getlist("id") if (id_ := as_number(text))]
        preview_id = bulk.freeze(connection, visit, KIND + action, ids)
    return visit.go(f"/dead-letters/previews/{preview_id}")


def show_preview(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        preview = bulk.find(connection, visit, KIND)
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
            ("Failed", _span(waiting)),
            ("Orders", f"{len({one.failure.order_id for one in waiting if one.failure.order_id}):,}"),
            ("Skipped", f"{settled:,} that somebody has settled already" if settled else "none"),
        ],
        what=CONSEQUENCES[action],
        button=f"{TITLES[action]} {len(waiting):,}",
        danger=action == "discard",
        ask_reason=True,
        type_number=_number_to_type(preview),
    )


def carry_out(visit: Visit) -> Response:
    """Does what the preview said, once; a second confirmation only shows the result."""
    reason, address = visit.reason(), visit.request.url.path
    with visit.desk.reading() as connection:
        preview = bulk.find(connection, visit, KIND)
    bulk.check_number(visit, _number_to_type(preview))
    if not bulk.claim(visit, preview):
        return visit.go(address, bulk.DONE_BEFORE)
    result = _do(visit, _action(preview), [int(id_) for id_ in preview.ids], reason)
    with visit.desk.writing() as connection:
        previews.note_result(connection, preview.id, result)
    return visit.go(address)


def _do(visit: Visit, action: str, ids: list[int], reason: str) -> Mapping[str, Any]:
    if action == "replay":
        return dict(replay(visit, ids, reason))
    state = SETTLED_AS[action]
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


def _asked_for_all(visit: Visit) -> FailureFilter | None:
    """Which failures a form means by `all`: of a cause, or `*`, as far as they fit its filters."""
    cause = visit.form.get("all")
    if not cause:
        return None
    asked = read_filters([(field.name, visit.form.get(field.name, "")) for field in FIELDS], FIELDS)
    if asked.wrong:
        raise HTTPException(
            400, "; ".join(f"{chip.label}: {chip.wrong}" for chip in asked.chips if chip.wrong)
        )
    return _filter(asked, None if cause == "*" else cause)


def _filter(asked: Asked, fingerprint: str | None = None) -> FailureFilter:
    return FailureFilter(
        fingerprint=fingerprint,
        queue=asked.one("queue"),
        error=asked.one("error"),
        order_id=asked.one("order"),
        since=asked.one("from"),
        to=asked.one("to"),
    )


def _unsettled(counts: Mapping[FailureState, int]) -> int:
    return sum(counts.get(state, 0) for state in failures.UNSETTLED)


def _by_hour(times: Sequence[datetime], now: datetime) -> list[int]:
    """How many in each of the last HOURS, the present one last."""
    counts = Counter(at.replace(minute=0, second=0, microsecond=0) for at in times)
    return [counts[hour] for hour in spans(now, HOUR, HOURS)]


def _span(chosen: Sequence[RecordedFailure]) -> str:
    if not chosen:
        return "–"
    first, last = (pick(one.failure.at for one in chosen) for pick in (min, max))
    return f"{first:%d %b %H:%M} to {last:%d %b %H:%M} UTC"


def _waiting(chosen: Sequence[RecordedFailure]) -> list[RecordedFailure]:
    """Those that nobody has settled."""
    return [one for one in chosen if one.state in failures.UNSETTLED]


def _number_to_type(preview: Preview) -> int | None:
    return bulk.number_to_type(preview, danger=_action(preview) in {"replay", "discard"})


def _action(preview: Preview) -> str:
    return preview.action.removeprefix(KIND)


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
