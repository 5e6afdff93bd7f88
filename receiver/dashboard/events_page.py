"""Events: every delivery and what became of it, requests turned away, and where events come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import get_args

from sqlalchemy import Connection, RowMapping
from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard import event_replays, missing
from receiver.dashboard.desk import Desk
from receiver.dashboard.event_replays import BIGGEST_ID, find_delivery_row, may_replay
from receiver.dashboard.filters import Asked, Choice, Day, Flag, Text, read_filters
from receiver.dashboard.page import Address, Page
from receiver.dashboard.rendering import duration
from receiver.dashboard.visit import Visit, not_found
from workers.store import delivery_reads
from workers.store.delivery_reads import Count, DeliveryFilter, Found, What

ROWS = 36  # of some 1.4 kB each
MINUTES_LISTED = 20
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))

# What became of a delivery: its name, tone, sign, and what that means.
WORDS: Mapping[What, tuple[str, str, str, str]] = {
    "waiting": ("Waiting", "info", "clock", "A worker will take it, or has it now."),
    "projected": ("Projected", "ok", "ok", "It changed what we know of the order."),
    "no_change": ("No change", "plain", "dot", "It told us nothing that we did not know."),
    "out_of_order": (
        "Out of order",
        "warn",
        "clock",
        "It came after what happened later, and was put in its place.",
    ),
    "ignored": ("Ignored", "plain", "dot", "It is about nothing that is handled here."),
    "quarantined": (
        "Set aside",
        "bad",
        "warn",
        "It failed again and again; it waits for somebody to replay it.",
    ),
    "unreadable": ("Unreadable", "bad", "cross", "The signature was right, but the content made no sense."),
    "foreign": ("Foreign", "plain", "dot", "It is about another team's order; its content was not kept."),
}

# Why a request was turned away, for whoever looks into it.
REASONS = {
    "not_post": "Something other than POST; a browser, or a health check at the wrong address.",
    "not_json": "The content was not declared as JSON.",
    "body_too_large": "The body was larger than this receiver takes.",
    "body_too_slow": "The body did not arrive in time.",
    "stopping": "The receiver was stopping; it will be sent again.",
    "signature_missing": "The headers that make a signature were not there.",
    "id_malformed": "The delivery id was no printable text.",
    "timestamp_malformed": "The signing time was no number.",
    "timestamp_too_old": "Signed too long ago: replayed, or a clock is wrong.",
    "timestamp_too_new": "Signed in the future: a clock is wrong.",
    "signature_unsupported": "No signature of a version known here.",
    "signature_wrong": "No secret configured here makes this signature.",
    "secret_expired": "Rightly signed, with a secret that has expired here.",
}

FIELDS = (
    Text("type", "type"),
    Choice("state", "result", {what: words[0] for what, words in WORDS.items()}),
    Text("order", "order"),
    Text("id", "message id"),
    Day("from", "from"),
    Day("to", "until", end=True),
    Flag("repeated", "came more than once"),
)


def show_deliveries(visit: Visit) -> Response:
    asked = read_filters(visit.request.query_params.multi_items(), FIELDS)
    wanted, before, since = _filter(asked), _place(visit, "before"), _place(visit, "since")
    found, count, news = Found(()), Count(0, None), 0
    with visit.desk.reading() as connection:
        if since is not None and not asked.wrong:
            news = delivery_reads.count_newer(connection, wanted, since)
        if visit.region == "news":
            return visit.render("events.html", asked=asked, news=news, cap=delivery_reads.CAP)
        if not asked.wrong:
            found = delivery_reads.list_deliveries(connection, wanted, before=before, limit=ROWS)
            count = delivery_reads.count_deliveries(connection, wanted)
        ever = bool(found.rows) or delivery_reads.any_delivery(connection)
    top = found.rows[0]["id"] if found.rows else 0
    return visit.render(
        "events.html",
        status=400 if asked.wrong else 200,
        asked=asked,
        found=found,
        count=count,
        news=news,
        cap=delivery_reads.CAP,
        scanned=delivery_reads.SCANNED,
        ever=ever,
        words=WORDS,
        what_of=what_of,
        latency=latency,
        fields={field.name: field for field in FIELDS},
        may_replay=may_replay,
        given=[(name, value) for name, value in visit.request.query_params.multi_items() if value.strip()],
        # A page that keeps itself up to date asks for its own rows again, and how many have come since.
        frozen=asked.link(before=str(top + 1), since=str(top)) if before is None and top else "",
        older=asked.link(before=str(found.older)) if found.older else "",
        newest=asked.link() if before is not None and since is None else "",
    )


def show_delivery(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        row = find_delivery_row(connection, visit)
        brought = delivery_reads.brought_by(connection, row)
    return visit.render(
        "event.html",
        row=row,
        body=None if row["body"] is None else _as_text(row["body"]),
        what=what_of(row),
        words=WORDS,
        brought=brought,
        may_replay=may_replay(row),
        latency=latency,
    )


def send_body(visit: Visit) -> Response:
    """The trimmed event, as a file."""
    with visit.desk.reading() as connection:
        row = find_delivery_row(connection, visit)
    if row["body"] is None:
        raise not_found("content of this delivery any more")
    return Response(
        _as_text(row["body"]) + "\n",
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="delivery-{row["id"]}.json"'},
    )


def show_rejected(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        rejected = delivery_reads.rejected_since(connection, visit.now - DAY)
    this_hour = visit.now.replace(minute=0, second=0, microsecond=0)
    hours = [this_hour - HOUR * ago for ago in range(23, -1, -1)]
    return visit.render(
        "rejected.html",
        rejected=rejected,
        by_hour={one.reason: _by_hour(one.minutes, hours) for one in rejected},
        newest=sorted(
            ((minute, one.reason, count) for one in rejected for minute, count in one.minutes.items()),
            reverse=True,
        )[:MINUTES_LISTED],
        reasons=REASONS,
    )


def show_sources(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        sources, oldest = delivery_reads.sources(connection, visit.now)
    return visit.render("sources.html", sources=sources, oldest=oldest, most=delivery_reads.SOURCES_FROM)


def freeze_replay(visit: Visit) -> Response:
    """The ticked deliveries, or with `all` those that are set aside and fit the filters of the form."""
    asked = read_filters([(field.name, visit.form.get(field.name, "")) for field in FIELDS], FIELDS)
    if asked.wrong:
        raise HTTPException(400, "That filter cannot be used.")
    return event_replays.freeze(visit, _filter(asked))


# --- small things ------------------------------------------------------------------------------------------


def what_of(row: RowMapping) -> str:
    """What became of a delivery: a key of WORDS, or whatever another version wrote there."""
    state, result = str(row["state"]), row["result"]
    if state == "new":
        return "waiting"
    return str(result) if state == "done" and result else state


def latency(length: timedelta) -> str:
    """Short times to the millisecond, long ones as everywhere."""
    if length < SECOND:
        return f"{max(0, length // timedelta(milliseconds=1))} ms"
    return f"{length / SECOND:.1f} s" if length < MINUTE else duration(length)


def _as_text(body: object) -> str:
    return json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False)


def _filter(asked: Asked) -> DeliveryFilter:
    state = asked.one("state")
    return DeliveryFilter(
        type=asked.one("type") or "",
        what=state if state in get_args(What) else None,
        order_id=asked.one("order") or "",
        delivery_id=asked.one("id") or "",
        since=asked.one("from"),
        to=asked.one("to"),
        repeated=bool(asked.one("repeated")),
    )


def _place(visit: Visit, name: str) -> int | None:
    """Where in the list one is; whatever else the address says there, it is the beginning."""
    text = visit.query(name)
    return min(int(text), BIGGEST_ID) if text.isdecimal() and len(text) < 20 else None


def _by_hour(minutes: Mapping[datetime, int], hours: list[datetime]) -> list[int]:
    totals = dict.fromkeys(hours, 0)
    for minute, count in minutes.items():
        hour = minute.replace(minute=0)
        if hour in totals:
            totals[hour] += count
    return list(totals.values())


def deliveries_topic(desk: Desk, _key: str) -> object:
    with desk.reading() as connection:
        return delivery_reads.deliveries_mark(connection)


def find_delivery(connection: Connection, text: str) -> str | None:
    found = delivery_reads.id_of(connection, text)
    return None if found is None else f"/events/{found}"


PAGE = Page(
    label="Events",
    path="/events",
    icon="events",
    key="e",
    addresses=(
        Address("/events", get=show_deliveries),
        Address("/events/rejected", get=show_rejected),
        Address("/events/sources", get=show_sources),
        Address("/events/{id:int}", get=show_delivery),
        Address("/events/{id:int}/body", get=send_body),
        Address("/events/{id:int}/replay", get=event_replays.ask_replay, post=event_replays.replay),
        Address("/events/previews", post=freeze_replay),
        Address("/events/previews/{id}", get=event_replays.show_preview, post=event_replays.carry_out),
        Address("/events/missing", get=missing.show, post=missing.freeze),
        Address("/events/missing/{id}", get=missing.show_one, post=missing.carry_out),
    ),
    topics={"deliveries": deliveries_topic, "resend": missing.resend_topic},
    finders={"delivery": find_delivery},
)
