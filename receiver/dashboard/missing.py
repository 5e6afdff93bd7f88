"""Replay missing: Junction is asked to send again what it has sent in a span of time.

The dashboard holds no key of Junction's: the wish is kept, and a worker carries it out.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard import bulk
from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import Day
from receiver.dashboard.rendering import duration
from receiver.dashboard.visit import Visit
from workers.messages import ResendEvents
from workers.store import delivery_reads, resends
from workers.store.delivery_reads import DeliveryFilter
from workers.store.resends import Resend

log = logging.getLogger(__name__)

LONGEST = timedelta(days=60)  # what Junction takes

# What became of a wish: its name, tone and sign.
WORDS = {
    "asked": ("Waits for a worker", "info", "clock"),
    "waiting": ("No agreement yet", "warn", "retry"),
    "done": ("Junction agreed", "ok", "ok"),
    "failed": ("Junction refused", "bad", "cross"),
}


def show(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        asked = [(one, resends.arrived(connection, one)) for one in resends.latest(connection)]
    return visit.render("missing.html", asked=asked, words=WORDS)


def freeze(visit: Visit) -> Response:
    """Keeps the span, and leads to what would happen."""
    since, until = _time(visit, "from"), _time(visit, "to")
    if not since < until <= visit.now + timedelta(minutes=1):
        raise HTTPException(400, "The end must be later than the beginning, and not in the future.")
    if until - since > LONGEST:
        raise HTTPException(400, f"Junction takes {LONGEST.days} days at once at most.")
    with visit.desk.writing() as connection:
        span = [since.isoformat(), until.isoformat()]
        preview_id = bulk.freeze(connection, visit, resends.ACTION, span)
    return visit.go(f"/events/missing/{preview_id}")


def show_one(visit: Visit) -> Response:
    """What would happen; or, once it was confirmed, what became of it."""
    with visit.desk.reading() as connection:
        done = resends.find(connection, str(visit.path["id"]))
        if done is not None:
            arrived = resends.arrived(connection, done)
            return visit.render("missing_one.html", one=done, arrived=arrived, words=WORDS)
        preview = bulk.find(connection, visit, resends.ACTION)
        since, until = map(datetime.fromisoformat, preview.ids)
        known = delivery_reads.count_deliveries(connection, DeliveryFilter(since=since, to=until)).number
    more = "+" if known > delivery_reads.CAP else ""
    return visit.render(
        "confirm.html",
        title="Replay what may be missing",
        back=("/events/missing", "Replay missing"),
        facts=[
            ("From", f"{since:%d %b %Y %H:%M} UTC"),
            ("To", f"{until:%d %b %Y %H:%M} UTC, {duration(until - since)} later"),
            ("Came in then", f"{min(known, delivery_reads.CAP):,}{more} deliveries"),
        ],
        what=[
            "Junction is asked to send the latest event of each order that changed in this time.",
            "A worker asks, with one call, as soon as one is free and the queue of actions is not paused.",
            "What we know already changes nothing. Each order's event brings its whole history.",
            "Rules look at what is new as always: an order that is due by it may be cancelled.",
        ],
        button="Ask Junction",
        danger=False,
        ask_reason=True,
        type_number=None,
    )


def carry_out(visit: Visit) -> Response:
    """Puts the wish on the queue; again if it was confirmed before and has no answer: that is harmless."""
    reason, address = visit.reason(), visit.request.url.path
    wish = _claimed(visit)
    if wish is None:
        return visit.go(address, bulk.DONE_BEFORE)
    target = f"events:{wish.since:%Y-%m-%dT%H:%M}/{wish.until:%Y-%m-%dT%H:%M}"
    with visit.desk.writing() as connection:
        visit.audit(connection, "resend_events", target, reason=reason)
    told = "" if _announce(visit.desk, wish.id) else "The queue does not answer; ask again when it does."
    return visit.go(address, told)


def _claimed(visit: Visit) -> Resend | None:
    """The wish, if it was confirmed just now, or before and has no answer yet."""
    resend_id = str(visit.path["id"])
    with visit.desk.reading() as connection:
        wish = resends.find(connection, resend_id)
        preview = None if wish else bulk.find(connection, visit, resends.ACTION)
    if preview and bulk.claim(visit, preview):
        with visit.desk.reading() as connection:
            wish = resends.find(connection, resend_id)
    return wish if wish and not wish.is_settled else None


def resend_topic(desk: Desk, key: str) -> object:
    with desk.reading() as connection:
        wish = resends.find(connection, key)
        return wish, wish and resends.arrived(connection, wish)


def _announce(desk: Desk, resend_id: str) -> bool:
    try:
        desk.publish(ResendEvents(resend_id))
    except Exception as error:  # noqa: BLE001 - whatever the queue says, the wish is kept and can be sent again
        log.warning("the wish to resend events did not reach the queue: %s", type(error).__name__)
        return False
    return True


def _time(visit: Visit, name: str) -> datetime:
    field = Day(name, name)
    try:
        at = field.read(visit.form.get(name, ""))
    except ValueError:
        raise HTTPException(400, "Give both times, in UTC.") from None
    assert isinstance(at, datetime)
    return at
