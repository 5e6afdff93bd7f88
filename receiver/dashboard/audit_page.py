"""Audit: who did what, when and why; the list, and as a file. Nothing here changes a line of it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import RowMapping
from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard.desk import Desk
from receiver.dashboard.exports import WRITERS, send_file
from receiver.dashboard.filters import Asked, Choice, Day, Field, Text, read_filters
from receiver.dashboard.page import Address, Page
from receiver.dashboard.visit import Visit
from workers.store import audit_reads
from workers.store.audit_reads import AuditFilter

ROWS = 50
EXPORTED_AT_ONCE = 500  # in memory
BIGGEST_ID = 2**63 - 1

COLUMNS = (
    "id",
    "at",
    "actor",
    "role",
    "action",
    "target",
    "reason",
    "before",
    "after",
    "request_id",
    "ip_prefix",
)


def fields(actions: list[str]) -> tuple[Field, ...]:
    return (
        Text("actor", "who"),
        Choice("action", "action", {action: action.replace("_", " ") for action in actions}),
        Text("target", "target"),
        Day("from", "from"),
        Day("to", "until", end=True),
    )


def show(visit: Visit) -> Response:
    before = visit.query("before")
    place = min(int(before), BIGGEST_ID) if before.isdecimal() and len(before) < 20 else None
    with visit.desk.reading() as connection:
        choices = fields(audit_reads.audited_actions(connection))
        asked = read_filters(visit.request.query_params.multi_items(), choices)
        wanted = _filter(asked)
        rows: audit_reads.Rows = ()
        total = 0
        if not asked.wrong:
            rows = audit_reads.list_audit(connection, wanted, before=place, limit=ROWS + 1)
            total = audit_reads.count_audit(connection, wanted)
    shown = rows[:ROWS]
    return visit.render(
        "audit.html",
        status=400 if asked.wrong else 200,
        asked=asked,
        fields={field.name: field for field in choices},
        rows=shown,
        href_of=href_of,
        total=total,
        cap=audit_reads.CAP,
        older=asked.link(before=str(shown[-1]["id"])) if len(rows) > ROWS else "",
        newest=asked.link() if place is not None else "",
    )


def export(visit: Visit) -> Response:
    """The filtered lines, streamed. That they were taken is a line, too, and not among them."""
    kind = str(visit.path["kind"])
    if kind not in WRITERS:
        raise HTTPException(404, "The audit comes as csv or json.")
    with visit.desk.reading() as connection:
        choices = fields(audit_reads.audited_actions(connection))
        asked = read_filters(visit.request.query_params.multi_items(), choices)
        newest = audit_reads.list_audit(connection, limit=1)
    if asked.wrong:
        raise HTTPException(400, "One of these filters is wrong; the list says which.")
    with visit.desk.writing() as connection:
        visit.audit(connection, "export", f"audit.{kind}", after={"query": asked.query})
    before = newest[0]["id"] + 1 if newest else 1
    rows = _exported(visit.desk, _filter(asked), before)
    return send_file(f"audit-{visit.now:%Y%m%dT%H%M%SZ}", kind, COLUMNS, rows)


def _exported(desk: Desk, wanted: AuditFilter, before: int) -> Iterator[RowMapping]:
    while True:
        with desk.reading() as connection:
            rows = audit_reads.list_audit(connection, wanted, before=before, limit=EXPORTED_AT_ONCE)
        yield from rows
        if len(rows) < EXPORTED_AT_ONCE:
            return
        before = rows[-1]["id"]


def href_of(target: str) -> str | None:
    """Where what a line is about can be seen, if its kind has a page."""
    kind, _, name = target.partition(":")
    match kind:
        case "decision" | "delivery" if name.isdecimal():
            return f"/{'events' if kind == 'delivery' else 'decisions'}/{name}"
        case "order":
            return f"/orders/{name}"
        case "queue":
            return f"/queues/{name}"
        case "rule" | "stop" | "limits":
            return "/rules"
    return None


def _filter(asked: Asked) -> AuditFilter:
    return AuditFilter(
        actor=asked.one("actor") or "",
        action=asked.one("action") or "",
        target=asked.one("target") or "",
        since=asked.one("from"),
        to=asked.one("to"),
    )


PAGE = Page(
    label="Audit",
    path="/audit",
    icon="audit",
    key="a",
    addresses=(
        Address("/audit", get=show),
        Address("/audit/export.{kind}", post=export, role="viewer"),
    ),
)
