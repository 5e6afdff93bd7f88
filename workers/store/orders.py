"""Orders, their events and appointments: reading them as the core's values, writing them back.

What operators' lists need is in reads.py; what a rule needs besides the order is in cases.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, or_, select, update

from workers.core.history import Event, History
from workers.core.order import NOTHING_KNOWN, Appointment, Facts, Order
from workers.core.outlook import Outlook
from workers.core.status import Status
from workers.store.dialects import insert_or_ignore, lock_names, upsert
from workers.store.schema import appointments, order_events, orders

# Outlooks that no plan gives.
SET_ASIDE = "quarantined"  # workers died over it
WAITS = "waits"  # it could not be looked at, or decided just now; `outlook_why` says why


@dataclass(frozen=True)
class Stored:
    """An order with what we keep about our own work on it."""

    order: Order
    facts_version: int
    generation: int | None
    next_at: datetime | None
    look_again: int
    look_asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a plan said of an order, made on facts of this version."""

    version: int
    generation: int | None
    outlook: Outlook
    look_again: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """An order as it is now, as it was stored, and the inbox row that brought the news (None: a GET)."""

    order: Order
    before: Order | None
    delivery: int | None = None


def lock(connection: Connection, ids: Iterable[str], users: Iterable[str] = ()) -> None:
    """Nobody else changes these orders, or decides about any order of their users or of `users`, until the
    transaction ends (SQLite locks as a whole; see `database.writing`).

    Whoever locks several things takes switches first, then users, orders, decisions and actions; each kind in
    the order of its names, so that nobody waits in a circle. An order that is not born yet has no row to
    lock, so what is said and decided about a user's orders is kept apart by the user.
    """
    wanted = sorted(set(ids))
    mine = select(orders.c.user_id).where(orders.c.id.in_(wanted), orders.c.user_id.is_not(None))
    lock_names(connection, {*users, *connection.execute(mine).scalars()})
    rows = select(orders.c.id).where(orders.c.id.in_(wanted)).order_by(orders.c.id).with_for_update()
    connection.execute(rows).all()


def load(connection: Connection, ids: Iterable[str]) -> dict[str, Stored]:
    """The orders with these ids that we know."""
    query = select(orders).where(orders.c.id.in_(sorted(set(ids))))
    rows = connection.execute(query).mappings().all()
    if not rows:
        return {}
    known = [row["id"] for row in rows]
    events = _grouped(
        connection.execute(select(order_events).where(order_events.c.order_id.in_(known))).mappings()
    )
    slots = _grouped(
        connection.execute(select(appointments).where(appointments.c.order_id.in_(known))).mappings()
    )
    return {row["id"]: _stored(row, events.get(row["id"], []), slots.get(row["id"], [])) for row in rows}


def claim(connection: Connection, ids: Iterable[str], now: datetime) -> None:
    """Makes sure that a row exists for each, so that there is something to lock."""
    wanted = sorted(set(ids))
    rows = [{"id": id_, "open": True, "facts": {}, "facts_version": 0, "changed_at": now} for id_ in wanted]
    if rows:
        connection.execute(insert_or_ignore(connection, orders), rows)


def save(connection: Connection, changed: Mapping[str, Change], now: datetime) -> None:
    """Writes orders that differ from what was stored.

    Raises `facts_version` by one each; a plan made on the older version no longer fits.
    """
    if not changed:
        return
    rows = [{"key": id_, **_order_row(change.order), "changed_at": now} for id_, change in changed.items()]
    columns: dict[str, Any] = {name: bindparam(name) for name in rows[0] if name != "key"}
    connection.execute(
        update(orders)
        .where(orders.c.id == bindparam("key"))
        .values(**columns, facts_version=orders.c.facts_version + 1),
        rows,
    )
    if new_events := [row for change in changed.values() for row in _event_rows(change, now)]:
        connection.execute(upsert(connection, order_events, ("at", "status", "detail")), new_events)
    if slots := [row for change in changed.values() for row in _slot_rows(change)]:
        changing = [column.name for column in appointments.c if column.name != "id"]
        connection.execute(upsert(connection, appointments, changing), slots)


def plan_ahead(connection: Connection, plans: Mapping[str, Ahead]) -> None:
    """Stores what plans said, for orders whose facts are still those the plan was made on. One that somebody
    wants looked at stays due."""
    if not plans:
        return
    due_at = bindparam("due", type_=orders.c.next_at.type)
    connection.execute(
        update(orders)
        .where(orders.c.id == bindparam("key"), orders.c.facts_version == bindparam("version"))
        .values(
            next_at=case((orders.c.look_asked_at.is_not(None), orders.c.next_at), else_=due_at),
            generation=bindparam("made_by"),
            outlook=bindparam("word"),
            outlook_rule=bindparam("rule"),
            outlook_at=bindparam("acts_at"),
            look_again=bindparam("looks"),
            leased_until=None,
            woken_until=None,
            attempts=0,
        ),
        [
            {
                "key": id_,
                "version": ahead.version,
                "due": ahead.outlook.next_at,
                "made_by": ahead.generation,
                "word": ahead.outlook.word,
                "rule": ahead.outlook.rule,
                "acts_at": ahead.outlook.at,
                "looks": ahead.look_again,
            }
            for id_, ahead in plans.items()
        ],
    )


def due(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Orders whose next instant has come and that nobody is looking at, the most overdue first. They stay
    locked; one that somebody works on just now is left for the next time."""
    query = (
        select(orders.c.id)
        .where(orders.c.next_at <= now, _free(now), _unannounced(now))
        .order_by(orders.c.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(connection.execute(query).scalars())


def announce(connection: Connection, ids: Iterable[str], until: datetime) -> None:
    """Remembers that these are on the queue, so that they are not put there again before `until`."""
    connection.execute(update(orders).where(orders.c.id.in_(sorted(set(ids)))).values(woken_until=until))


def lease(connection: Connection, order_id: str, now: datetime, until: datetime) -> int | None:
    """Takes a due order for evaluation; counts the attempt before it is made and returns the count. None when
    it is not due, or in somebody else's hands."""
    taken = (
        update(orders)
        .where(
            orders.c.id == order_id,
            orders.c.next_at <= now,
            _free(now),
        )
        .values(leased_until=until, attempts=orders.c.attempts + 1)
        .returning(orders.c.attempts)
    )
    return connection.execute(taken).scalar_one_or_none()


def postpone(connection: Connection, order_id: str, next_at: datetime, why: str) -> None:
    """Lets go of an order that could not be looked at, or decided just now; it is still due."""
    connection.execute(
        update(orders)
        .where(orders.c.id == order_id)
        .values(
            leased_until=None,
            woken_until=None,
            attempts=0,
            next_at=next_at,
            outlook=WAITS,
            outlook_why=why[:64],
        )
    )


def wake_others(connection: Connection, moved: Iterable[str], but: Iterable[str], now: datetime) -> None:
    """Asks for a look at the other open orders of the users of these: what is so of one may hang on another.
    Their users are locked."""
    users = select(orders.c.user_id).where(orders.c.id.in_(sorted(set(moved))))
    others = orders.c.user_id.in_(users) & orders.c.id.not_in(sorted(set(but)))
    connection.execute(
        update(orders).where(others, orders.c.open, orders.c.facts_version > 0).values(next_at=now)
    )


def ask_for_look(connection: Connection, ids: Iterable[str], now: datetime) -> None:
    """Somebody wants these asked for at Junction soon, whether a rule is due or not, ended ones too."""
    wanted = sorted(set(ids))
    lock(connection, wanted)
    connection.execute(
        update(orders).where(orders.c.id.in_(wanted)).values(look_asked_at=now, next_at=now, woken_until=None)
    )


def note_look(connection: Connection, order_id: str, asked_at: datetime) -> None:
    """The look that was asked for then is made; one that was asked for since is still to come."""
    connection.execute(
        update(orders)
        .where(orders.c.id == order_id, orders.c.look_asked_at == asked_at)
        .values(look_asked_at=None)
    )


def set_aside(connection: Connection, order_id: str) -> None:
    """Nobody looks at it any more until something new comes in about it, or an operator asks."""
    connection.execute(
        update(orders)
        .where(orders.c.id == order_id)
        .values(
            leased_until=None,
            woken_until=None,
            next_at=None,
            look_asked_at=None,
            attempts=0,
            outlook=SET_ASIDE,
        )
    )


def wake_stale(connection: Connection, generation: int, now: datetime, limit: int) -> int:
    """Asks for a look at orders that were planned under an older policy, of those for which a policy may have
    anything to do: open ones, and ended ones with a slot left behind. Returns how many."""
    woken = 0
    for followed in _followed(now):
        stale = (
            select(orders.c.id)
            .where(followed, *_stale(generation), or_(orders.c.next_at.is_(None), orders.c.next_at > now))
            .limit(limit - woken)
            .with_for_update(skip_locked=True)
        )
        asked = update(orders).where(orders.c.id.in_(stale)).values(next_at=now)
        woken += connection.execute(asked).rowcount
    return woken


def any_stale(connection: Connection, generation: int, now: datetime) -> bool:
    """Whether some order still waits for its plan under this policy."""
    queries = (select(orders.c.id).where(one, *_stale(generation)).limit(1) for one in _followed(now))
    return any(connection.execute(query).first() is not None for query in queries)


def _followed(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """One query for each: an index serves either, but not both at once."""
    return (orders.c.open, orders.c.slot_left > now)


def _stale(generation: int) -> tuple[ColumnElement[bool], ...]:
    return (
        or_(orders.c.generation.is_(None), orders.c.generation < generation),
        orders.c.facts_version > 0,
        orders.c.outlook.is_distinct_from(SET_ASIDE),
    )


def wake_stopped(connection: Connection, now: datetime) -> None:
    """What was put off because of a stop or a pause is looked at now, counts as due until then, and as due
    since now: nobody could act before. One that somebody works on just now sees the switch by itself."""
    stopped = select(orders.c.id).where(orders.c.outlook == "stopped").with_for_update(skip_locked=True)
    connection.execute(
        update(orders)
        .where(orders.c.id.in_(stopped))
        .values(next_at=now, woken_until=None, outlook_at=now, said_at=now)
    )


def ids_after(
    connection: Connection, after: str, limit: int, *, only_open: bool, since: datetime | None = None
) -> list[str]:
    """Ids of orders in id order, from behind `after`; those placed at or after `since`."""
    query = select(orders.c.id).where(orders.c.id > after, orders.c.facts_version > 0)
    if only_open:
        query = query.where(orders.c.open)
    if since is not None:
        query = query.where(orders.c.created_at >= since)
    return list(connection.execute(query.order_by(orders.c.id).limit(limit)).scalars())


def count_since(connection: Connection, since: datetime) -> int:
    """How many orders were placed at or after `since`."""
    query = select(func.count()).select_from(orders).where(orders.c.created_at >= since)
    return connection.execute(query).scalar_one()


def count_open(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(orders).where(orders.c.open)).scalar_one()


def _free(now: datetime) -> ColumnElement[bool]:
    return or_(orders.c.leased_until.is_(None), orders.c.leased_until <= now)


def _unannounced(now: datetime) -> ColumnElement[bool]:
    return or_(orders.c.woken_until.is_(None), orders.c.woken_until <= now)


# --- rows and values ---------------------------------------------------------------------------------------


def _grouped(rows: Iterable[Mapping[Any, Any]]) -> dict[str, list[Mapping[Any, Any]]]:
    groups: dict[str, list[Mapping[Any, Any]]] = {}
    for row in rows:
        groups.setdefault(row["order_id"], []).append(row)
    return groups


def _stored(
    row: Mapping[Any, Any], events: list[Mapping[Any, Any]], slots: list[Mapping[Any, Any]]
) -> Stored:
    history = History.of(Event(e["event_id"], e["at"], Status(e["status"]), e["detail"]) for e in events)
    found = (
        Appointment(
            id=s["id"],
            order_id=s["order_id"],
            kind=s["kind"],
            provider=s["provider"],
            status=s["status"],
            start=s["start_at"],
            end=s["end_at"],
            zone=s["zone"],
            booked_at=s["booked_at"],
            changed_at=s["changed_at"],
            observed_at=s["observed_at"],
        )
        for s in slots
    )
    facts, missing = facts_from_json(row["facts"])
    order = Order(row["id"], facts, history, tuple(sorted(found, key=lambda a: a.newness)), missing)
    return Stored(
        order,
        row["facts_version"],
        row["generation"],
        row["next_at"],
        row["look_again"],
        row["look_asked_at"],
    )


def _order_row(order: Order) -> dict[str, Any]:
    last = order.last
    return {
        "team_id": order.facts.team_id,
        "user_id": order.facts.user_id,
        "method": order.method.value if order.method else None,
        "status": last.status.raw if last else None,
        "status_name": last.status.name if last else None,
        "status_at": last.at if last else None,
        "open": order.open,
        "slot_left": order.slot_left,
        "reinstated": order.history.reinstated,
        "lab_test_id": order.facts.lab_test_id,
        "created_at": order.created_at,
        "updated_at": order.facts.updated_at if order.facts != NOTHING_KNOWN else None,
        "facts": facts_to_json(order.facts, order.appointment_missing),
    }


def _event_rows(change: Change, now: datetime) -> list[dict[str, Any]]:
    known = set(change.before.history.events) if change.before else set()
    return [
        {
            "order_id": change.order.id,
            "event_id": event.id,
            "at": event.at,
            "status": event.status.raw,
            "detail": event.detail,
            "delivery": change.delivery,
            "seen_at": now,
        }
        for event in change.order.history.events
        if event not in known
    ]


def _slot_rows(change: Change) -> list[dict[str, Any]]:
    known = set(change.before.appointments) if change.before else set()
    return [
        {
            "id": slot.id,
            "order_id": slot.order_id,
            "kind": slot.kind,
            "provider": slot.provider,
            "status": slot.status,
            "start_at": slot.start,
            "end_at": slot.end,
            "zone": slot.zone,
            "booked_at": slot.booked_at,
            "changed_at": slot.changed_at,
            "observed_at": slot.observed_at,
        }
        for slot in change.order.appointments
        if slot not in known
    ]


_TIMES = ("updated_at", "observed_at", "created_at")
_DATES = ("activate_by", "birth_date")
_FACTS = tuple(Facts.__dataclass_fields__)


def facts_to_json(facts: Facts, appointment_missing: datetime | None = None) -> dict[str, Any]:
    """The facts as plain JSON; what is not known is left out."""
    told = {name: getattr(facts, name) for name in _FACTS}
    document = {name: value for name, value in told.items() if value not in (None, (), frozenset())}
    for key in (*_TIMES, *_DATES):
        if key in document:
            document[key] = document[key].isoformat()
    document["methods"] = sorted(facts.methods)
    document["zones"] = list(facts.zones)
    if appointment_missing is not None:
        document["appointment_missing"] = appointment_missing.isoformat()
    return document


def facts_from_json(document: Mapping[str, Any]) -> tuple[Facts, datetime | None]:
    """The inverse of `facts_to_json`. An empty document is a row that was only claimed."""
    if not document:
        return NOTHING_KNOWN, None
    fields = dict(document)
    missing = fields.pop("appointment_missing", None)
    for key in _TIMES:
        if key in fields:
            fields[key] = datetime.fromisoformat(fields[key])
    for key in _DATES:
        if key in fields:
            fields[key] = date.fromisoformat(fields[key])
    fields["methods"] = frozenset(fields.get("methods", ()))
    fields["zones"] = tuple(fields.get("zones", ()))
    return Facts(**fields), datetime.fromisoformat(missing) if missing else None
