"""What every rule says of an order: now, at another time, had it just become something else, or by an earlier
policy. It only looks: nothing that is asked here is written down anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, RowMapping
from starlette.responses import Response

from receiver.dashboard.filters import Asked, Choice, Day, Field, read_filters
from receiver.dashboard.hindsight import case_of, trace_of
from receiver.dashboard.page import Address
from receiver.dashboard.visit import Visit, not_found
from receiver.dashboard.why import why
from workers.core.history import Event, History
from workers.core.order import Order
from workers.core.status import Method, Status, entry, names_of
from workers.services import Active, ActivePolicy, PolicyNotUnderstood, understand
from workers.store import orders, policies, system_reads

POLICY = ActivePolicy()


def show(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        order_id = str(visit.path["id"])
        stored = orders.load(connection, [order_id]).get(order_id)
        if stored is None:
            raise not_found("order of that id")
        generations = system_reads.policy_history(connection)
        choices = _choices(stored.order, generations)
        asked = read_filters(visit.request.query_params.multi_items(), tuple(choices.values()))
        at = asked.one("at") or visit.now
        order = _supposed(_as_it_stood(stored.order, at, visit.now), asked.one("status"), min(at, visit.now))
        active = None if asked.wrong else _policy(connection, asked)
        traced = trace_of(active, case_of(connection, active, order, at)) if active else None
    return visit.render(
        "what_if.html",
        order_id=order_id,
        asked=asked,
        choices=choices,
        at=at,
        active=active,
        generations=generations,
        seen=why(traced, None) if traced else None,
    )


def _choices(order: Order, generations: list[RowMapping]) -> Mapping[str, Field]:
    statuses = names_of(order.method) if order.method else ()
    numbers = [str(row["generation"]) for row in generations]
    return {
        "at": Day("at", "at"),
        "status": Choice("status", "just become", {name: name.replace("_", " ") for name in statuses}),
        "generation": Choice("generation", "policy generation", dict(zip(numbers, numbers, strict=True))),
    }


def _as_it_stood(order: Order, at: datetime, now: datetime) -> Order:
    """Of a time to come nothing is known yet; in the past, what happened later is left out."""
    if at >= now:
        return order
    facts = replace(order.facts, updated_at=at, observed_at=at)
    return replace(order, history=order.history.until(at), facts=facts)


def _supposed(order: Order, name: str | None, at: datetime) -> Order:
    """The order as it would be had it become `name` at this time."""
    if name is None or order.method is None:
        return order
    last = order.last.id if order.last else 0
    news = Event(last + 1, at, Status(_raw(order.method, name)))
    return replace(order, history=order.history.merged(History.of([news])))


def _raw(method: Method, name: str) -> str:
    known = entry(method, name)
    assert known is not None  # it is among the choices
    return f"{known.levels[0].value}.{method.value}.{name}"


def _policy(connection: Connection, asked: Asked) -> Active | None:
    """None: there is none, or this version of the program does not understand it."""
    number = asked.one("generation")
    try:
        if number is None:
            return POLICY.read(connection)
        kept = policies.past(connection, int(number))
        return understand(connection, kept) if kept else None
    except PolicyNotUnderstood:
        return None


ADDRESSES = (Address("/orders/{id}/rules", get=show),)
