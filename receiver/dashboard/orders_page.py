"""Orders: the list of all of them, filtered, page by page, and as a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from receiver.dashboard import order_acts, order_page, what_if
from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import Asked, Choice, Day, Field, Flag, Text, read_filters
from receiver.dashboard.lifecycle_maps import label_of
from receiver.dashboard.openings import Verdict, verdict_of
from receiver.dashboard.outcomes import OUTLOOKS, Outcome, outcome_of
from receiver.dashboard.page import Address, Page
from receiver.dashboard.visit import Visit
from workers.core.order import Order
from workers.core.status import CATALOGUE, Level, Method
from workers.store import orders, reads
from workers.store.reads import OrderFilter

ROWS = 32  # of up to 1.7 kB each
EXPORT_ROWS = 500  # in memory at a time

METHODS = {
    Method.TESTKIT: "test kit",
    Method.WALK_IN: "walk-in",
    Method.AT_HOME: "home visit",
    Method.ON_SITE: "on site",
}
LEVELS = {level: level.value.replace("_", " ") for level in Level}
OPENINGS = {
    "open": "open",
    "opt_in": "only by opt-in",
    "closed": "closed",
    "ended": "ended",
    "unknown": "unknown status",
}


def fields(rule_names: list[str]) -> tuple[Field, ...]:
    statuses: dict[str, str] = {level.value: text for level, text in LEVELS.items()}
    statuses |= {name: label_of(name) for _, name in CATALOGUE if name not in statuses}
    return (
        Text("q", "id"),
        Choice("status", "status", statuses),
        Choice("method", "method", {method.value: text for method, text in METHODS.items()}),
        Choice("window", "window", OPENINGS),
        Choice("outcome", "outcome", OUTLOOKS),
        Choice("rule", "rule", {name: name for name in rule_names}),
        Day("created_from", "created from"),
        Day("created_to", "created until", end=True),
        Day("changed_from", "changed from"),
        Day("changed_to", "changed until", end=True),
        Flag("held", "on hold"),
        Flag("failing", "has an error"),
    )


def wanted(asked: Asked) -> OrderFilter:
    return OrderFilter(
        statuses=asked.all("status"),
        methods=asked.all("method"),
        openings=asked.all("window"),
        outlooks=asked.all("outcome"),
        rules=asked.all("rule"),
        created_from=asked.one("created_from"),
        created_to=asked.one("created_to"),
        changed_from=asked.one("changed_from"),
        changed_to=asked.one("changed_to"),
        held=bool(asked.one("held")),
        failing=bool(asked.one("failing")),
        text=asked.one("q") or "",
    )


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One order in the list."""

    row: RowMapping
    order: Order
    verdict: Verdict
    outcome: Outcome
    held: bool
    late: bool

    @property
    def level(self) -> str | None:
        status = self.order.status
        return status.entry.levels[0] if status and status.entry else None


# --- the list ----------------------------------------------------------------------------------------------


def show_orders(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        asked, choices = _asked(visit, connection)
        if asked.wrong:
            return visit.render("orders.html", status=400, **_nothing(asked, choices))
        found = wanted(asked)
        before, after, since = _place(visit, "before"), _place(visit, "after"), _place(visit, "since")
        news = reads.count_newer_orders(connection, found, since) if since else 0
        if visit.region == "news":
            return visit.render("orders.html", asked=asked, news=news, cap=reads.CAP)
        rows = reads.list_orders(connection, found, before=before, after=after, limit=ROWS + 1)
        shown = rows[-ROWS:] if after else rows[:ROWS]
        more = len(rows) > ROWS
        return visit.render(
            "orders.html",
            asked=asked,
            choices=choices,
            lines=_lines(connection, shown, visit.now),
            total=reads.count_orders(connection, found),
            cap=reads.CAP,
            deeds=_deeds_of(visit),
            ever=bool(shown) or reads.count_orders(connection) > 0,
            news=news,
            here_since=asked.link(since=_link(shown[0])) if shown and not (before or after) else "",
            older=asked.link(before=_link(shown[-1])) if shown and (more or after) else "",
            newer=asked.link(after=_link(shown[0])) if shown and (before or (after and more)) else "",
        )


def _nothing(asked: Asked, choices: Mapping[str, Field]) -> dict[str, Any]:
    shown = {"asked": asked, "choices": choices, "lines": (), "total": None, "cap": reads.CAP, "deeds": {}}
    return {**shown, "ever": True, "news": 0, "here_since": "", "older": "", "newer": ""}


def _asked(visit: Visit, connection: Connection) -> tuple[Asked, dict[str, Field]]:
    choices = fields(reads.rule_names(connection))
    asked = read_filters(visit.request.query_params.multi_items(), choices)
    return asked, {choice.name: choice for choice in choices}


def _filter_of(connection: Connection, given: Sequence[tuple[str, str]]) -> OrderFilter | None:
    """The filter in a list's address; None when some of it is not understood."""
    asked = read_filters(given, fields(reads.rule_names(connection)))
    return None if asked.wrong else wanted(asked)


def _deeds_of(visit: Visit) -> dict[str, order_acts.Deed]:
    """What this visitor may have done to orders."""
    return {name: deed for name, deed in order_acts.DEEDS.items() if visit.may(deed.role)}


def _link(row: RowMapping) -> str:
    return f"{row['changed_at'].isoformat()}~{row['id']}"


def _place(visit: Visit, name: str) -> reads.Place | None:
    text = visit.query(name)
    if not text:
        return None
    at, _, order_id = text.partition("~")
    try:
        place = datetime.fromisoformat(at)
    except ValueError:
        raise HTTPException(400, "This link leads nowhere: its place in the list cannot be read.") from None
    if place.tzinfo is None or not order_id.isprintable():
        raise HTTPException(400, "This link leads nowhere: its place in the list cannot be read.")
    return place, order_id


def _lines(connection: Connection, rows: reads.Rows, now: datetime) -> list[OrderLine]:
    """The same few queries however many rows there are."""
    ids = [row["id"] for row in rows]
    loaded = orders.load(connection, ids)
    held, late = reads.held_among(connection, ids), reads.late_among(connection, ids)
    decided = reads.latest_decisions(connection, ids)
    return [
        OrderLine(
            row=row,
            order=loaded[row["id"]].order,
            verdict=verdict_of(loaded[row["id"]].order),
            outcome=outcome_of(row, decided.get(row["id"])),
            held=row["id"] in held,
            late=row["id"] in late,
        )
        for row in rows
    ]


# --- as a file ---------------------------------------------------------------------------------------------

COLUMNS = (
    "id",
    "method",
    "status",
    "window",
    "outcome",
    "rule",
    "acts_at",
    "held",
    "lab_test_id",
    "user_id",
    "created_at",
    "status_at",
    "changed_at",
)


def export(visit: Visit) -> Response:
    """The filtered orders, streamed: however many there are, few are in memory."""
    kind = visit.path["kind"]
    if kind not in _WRITERS:
        raise HTTPException(404, "Orders come as csv or json.")
    with visit.desk.writing() as connection:
        asked, _ = _asked(visit, connection)
        if asked.wrong:
            raise HTTPException(400, "One of these filters is wrong; the list says which.")
        visit.audit(connection, "export", f"orders.{kind}", after={"query": asked.query})
    write, media_type = _WRITERS[kind]
    name = f"orders-{visit.now:%Y%m%dT%H%M%SZ}.{kind}"
    return StreamingResponse(
        write(_exported(visit.desk, wanted(asked), visit.now)),
        media_type=media_type,
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def _exported(desk: Desk, found: OrderFilter, now: datetime) -> Iterator[dict[str, Any]]:
    before = None
    while True:
        with desk.reading() as connection:
            rows = reads.list_orders(connection, found, before=before, limit=EXPORT_ROWS)
            lines = _lines(connection, rows, now)
        yield from (_as_row(line) for line in lines)
        if len(rows) < EXPORT_ROWS:
            return
        before = (rows[-1]["changed_at"], rows[-1]["id"])


def _as_row(line: OrderLine) -> dict[str, Any]:
    told = {name: line.row[name] for name in COLUMNS if name in line.row}
    told |= {"window": line.verdict.text, "outcome": line.outcome.text, "held": line.held}
    told |= {"rule": line.outcome.rule, "acts_at": line.outcome.until}
    return {
        name: told[name].isoformat() if isinstance(told[name], datetime) else told[name] for name in COLUMNS
    }


def _as_csv(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in row.items()})
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _harmless(value: object) -> object:
    """A spreadsheet runs a cell that begins like a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def _as_json(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    separator = "[\n"
    for row in rows:
        yield separator + json.dumps(row)
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


_WRITERS: dict[str, tuple[Callable[[Iterator[dict[str, Any]]], Iterator[str]], str]] = {
    "csv": (_as_csv, "text/csv"),
    "json": (_as_json, "application/json"),
}


def orders_topic(desk: Desk, _key: str) -> object:
    with desk.reading() as connection:
        return reads.orders_mark(connection)


PAGE = Page(
    label="Orders",
    path="/orders",
    icon="orders",
    key="o",
    addresses=(
        Address("/orders", get=show_orders),
        Address("/orders/export.{kind}", get=export),
        *order_acts.addresses(_filter_of),
        *order_page.ADDRESSES,
        *what_if.ADDRESSES,
    ),
    topics={"orders": orders_topic, "order": order_page.order_topic},
    finders={"order": order_page.find_order},
)
