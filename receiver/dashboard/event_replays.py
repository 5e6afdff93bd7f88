"""Deliveries that were set aside go through the pipeline again: one, some that were ticked, all that fit."""

from __future__ import annotations

import logging
from dataclasses import replace

from sqlalchemy import Connection, RowMapping
from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard import bulk
from receiver.dashboard.desk import Desk
from receiver.dashboard.visit import Visit, as_number, not_found
from workers.messages import ProjectDeliveries
from workers.store import delivery_reads, inbox, previews
from workers.store.delivery_reads import DeliveryFilter
from workers.store.previews import MOST_IDS

log = logging.getLogger(__name__)

ACTION = "events:replay"
A_MESSAGE = 100  # deliveries
BIGGEST_ID = 2**63 - 1

WHAT = (
    "It goes through the pipeline as if it had just come.",
    "What it tells twice changes nothing. If it fails again, it is set aside again.",
)


def may_replay(row: RowMapping) -> bool:
    return bool(row["state"] == "quarantined")


def find_delivery_row(connection: Connection, visit: Visit) -> RowMapping:
    """The delivery that the address names."""
    row = delivery_reads.delivery_row(connection, min(int(visit.path["id"]), BIGGEST_ID))
    if row is None:
        raise not_found("delivery of that number")
    return row


# --- one ---------------------------------------------------------------------------------------------------


def ask_replay(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        row = find_delivery_row(connection, visit)
    if not may_replay(row):
        raise HTTPException(409, "Only a delivery that was set aside can be replayed.")
    return visit.render(
        "confirm.html",
        title="Replay a delivery",
        back=(f"/events/{row['id']}", f"Delivery {row['id']}"),
        facts=[
            ("Type", row["event_type"] or "–"),
            ("Order", row["order_id"] or "–"),
            ("Error", row["error"] or "–"),
        ],
        what=WHAT,
        button="Replay",
        danger=False,
        ask_reason=True,
        type_number=None,
    )


def replay(visit: Visit) -> Response:
    """Twice is harmless: only a row that is set aside is opened again."""
    reason = visit.reason()
    with visit.desk.writing() as connection:
        row = find_delivery_row(connection, visit)
        if not inbox.reopen(connection, [row["id"]]):
            raise HTTPException(409, "This delivery is not set aside any more; nothing was done.")
        visit.audit(connection, "replay", f"delivery:{row['id']}", reason=reason)
    told = (
        "It is on its way through the pipeline."
        if _announce(visit.desk, [row["id"]])
        else "It is open again. The queue does not answer, so the clock will find it."
    )
    return visit.go(f"/events/{row['id']}", told)


# --- many --------------------------------------------------------------------------------------------------


def freeze(visit: Visit, wanted: DeliveryFilter) -> Response:
    """Keeps the ticked ones, or with `all` those set aside that fit, and leads to what would happen."""
    with visit.desk.writing() as connection:
        if visit.form.get("all"):
            fitting = replace(wanted, what="quarantined")
            found = delivery_reads.list_deliveries(connection, fitting, limit=MOST_IDS)
            ids = [row["id"] for row in found.rows]
        else:
            ids = [id_ for text in visit.form.getlist("id") if (id_ := as_number(text))]
        preview_id = bulk.freeze(connection, visit, ACTION, ids)
    return visit.go(f"/events/previews/{preview_id}")


def show_preview(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        preview = bulk.find(connection, visit, ACTION)
        waiting = delivery_reads.count_set_aside(connection, [int(id_) for id_ in preview.ids])
    if preview.done_at:
        return visit.render("events_done.html", preview=preview)
    skipped = len(preview.ids) - waiting
    return visit.render(
        "confirm.html",
        title=f"Replay {waiting:,} {'delivery' if waiting == 1 else 'deliveries'}",
        back=("/events?state=quarantined", "Set aside"),
        facts=[("Skipped", f"{skipped:,} that are not set aside" if skipped else "none")],
        what=WHAT,
        button=f"Replay {waiting:,}",
        danger=False,
        ask_reason=True,
        type_number=bulk.number_to_type(preview, danger=True),
    )


def carry_out(visit: Visit) -> Response:
    """Does what was shown, once; a second confirmation only shows the result."""
    reason, address = visit.reason(), visit.request.url.path
    with visit.desk.reading() as connection:
        preview = bulk.find(connection, visit, ACTION)
    bulk.check_number(visit, bulk.number_to_type(preview, danger=True))
    if not bulk.claim(visit, preview):
        return visit.go(address, bulk.DONE_BEFORE)
    ids = [int(id_) for id_ in preview.ids]
    with visit.desk.writing() as connection:
        opened = inbox.reopen(connection, ids)
        previews.note_result(connection, preview.id, {"opened": opened, "skipped": len(ids) - opened})
        visit.audit(
            connection, "replay", "deliveries", reason=reason, after={"ids": ids[:100], "count": opened}
        )
    announced = _announce(visit.desk, ids)
    told = "" if announced else "The queue does not answer, so the clock will find them."
    return visit.go(address, told)


def _announce(desk: Desk, ids: list[int]) -> bool:
    """Rows that are not open are passed over by whoever gets the message."""
    try:
        for at in range(0, len(ids), A_MESSAGE):
            desk.publish(ProjectDeliveries(ids[at : at + A_MESSAGE]))
    except Exception as error:  # noqa: BLE001 - whatever the queue says, the rows are open and the clock finds them
        log.warning("replayed deliveries did not reach the queue: %s", type(error).__name__)
        return False
    return True
