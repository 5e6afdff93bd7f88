"""Project: inbox rows become orders, and orders get their plan."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog
from sqlalchemy import Connection

from workers.core.events import read
from workers.core.order import Order
from workers.messages import Act, EvaluateOrders
from workers.planning import Merged, News, merge_news, replan
from workers.services import Services
from workers.store import inbox, ledger
from workers.store.database import TROUBLE, store_time, writing
from workers.store.failures import Failure, record_failure

log = structlog.get_logger(__name__)


def project(services: Services, ids: Sequence[int]) -> None:
    """Folds inbox rows into their orders and plans these anew.

    Twice is harmless: a finished row is not taken again, and merging the same events changes nothing.
    """
    left: Sequence[int] = ids
    while left:
        with writing(services.store) as connection:
            now = store_time(connection)
            taken = inbox.take(connection, left, now, services.lease)
            for row_id in taken.quarantined:
                _set_aside(connection, services, row_id)
        if taken.rows:
            _project_all(services, taken.rows)
        left = taken.left


def _project_all(services: Services, rows: Sequence[inbox.Delivery]) -> None:
    try:
        _fold(services, rows)
    except TROUBLE:
        raise  # the store's, not the rows': the queue tries again, and behind it the sweep
    except Exception as error:  # noqa: BLE001 - one odd row must not hold up the others, whatever it raises
        if len(rows) > 1:
            for row in rows:
                _project_all(services, [row])
        else:
            _give_back(services, rows[0], error)


def _give_back(services: Services, row: inbox.Delivery, error: Exception) -> None:
    now = services.now()
    wait = timedelta(seconds=2**row.attempts)
    said = f"{type(error).__name__} at {_place(error)}"
    log.warning("a delivery could not be projected", delivery=row.id, attempt=row.attempts, error=said)
    with writing(services.store) as connection:
        if row.attempts >= inbox.MAX_ATTEMPTS:
            inbox.quarantine(connection, row.id, said, now)
            _set_aside(connection, services, row.id, type(error).__name__, _place(error), row.order_id)
        else:
            inbox.release(connection, row.id, said, now + wait)


def _set_aside(
    connection: Connection,
    services: Services,
    row_id: int,
    error: str = "ProcessDied",
    place: str = "unknown",
    order_id: str | None = None,
) -> None:
    log.error("a delivery was set aside", delivery=row_id, error=error)
    record_failure(
        connection,
        Failure(
            queue="events",
            actor="project",
            error=error,
            place=place,
            args={"ids": [row_id]},
            version=services.version,
            attempts=inbox.MAX_ATTEMPTS,
            at=services.now(),
            order_id=order_id,
        ),
    )


def _fold(services: Services, rows: Sequence[inbox.Delivery]) -> None:
    read_rows = {row.id: read(row.body, row.signed_at) for row in rows}
    news = [News(order, row_id) for row_id, order in read_rows.items() if order is not None]
    with writing(services.store) as connection:
        now = store_time(connection)
        merged = merge_news(connection, news, now)
        due = replan(connection, services, merged, now)
        woken = ledger.wake_live(connection, merged, now)
        inbox.finish(connection, {row_id: _result(order, merged) for row_id, order in read_rows.items()}, now)
    _tell(services, due, woken)


def _result(order: Order | None, merged: Mapping[str, Merged]) -> str:
    """What a delivery did, in a word for the events page."""
    if order is None:
        return "unknown_type"
    found = merged[order.id]
    if not found.changed:
        return "no_change"
    if found.before is None or found.before.last != found.order.last or not order.history.events:
        return "projected"
    return (
        "out_of_order" if len(found.order.history.events) > len(found.before.history.events) else "projected"
    )


def _tell(services: Services, due: Sequence[str], woken: Sequence[int] = ()) -> None:
    """After the commit. Losing a message is harmless: the clock finds what is due."""
    if due:
        services.publish(EvaluateOrders(list(due)))
    for action_id in woken:
        services.publish(Act(action_id))


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].name}" if frames else "unknown"
