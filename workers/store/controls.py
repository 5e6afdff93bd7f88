"""What operators and the platform say about orders: the global stop, pauses, holds, labels, signals.

Each takes the order's row (or the control row) as the gate before a call does, so that it is either seen
there or answered with "too late".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, delete, insert, select, update

from workers.store.audit import note
from workers.store.database import EPOCH
from workers.store.dialects import insert_or_ignore, upsert
from workers.store.orders import lock as lock_orders
from workers.store.schema import actions, controls, holds, labels, orders, signals

STOP = "stop"  # the global stop
LIMITS = "limits"  # the trip of the policy's limits
Scope = Literal["order", "user"]


def rule_control(rule: str) -> str:
    return f"rule:{rule}"


def queue_control(queue: str) -> str:
    return f"queue:{queue}"


def raised(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """The switches that are on: name -> reason."""
    query = select(controls.c.name, controls.c.reason).where(
        controls.c.name.in_(sorted(set(names))), controls.c.state == "on"
    )
    return {row.name: row.reason for row in connection.execute(query)}


def lock(connection: Connection, names: Iterable[str], *, alone: bool = False) -> dict[str, str]:
    """Keeps these switches as they are until the transaction ends; those that are on: name -> reason.

    `alone`: nobody else may hold them meanwhile. A switch that was never touched gets a row, or somebody
    could turn it on unseen between our look and our commit.
    """
    wanted = sorted(set(names))
    untouched = {"state": "off", "at": EPOCH, "actor": "engine", "reason": ""}
    connection.execute(
        insert_or_ignore(connection, controls), [{"name": name, **untouched} for name in wanted]
    )
    query = select(controls).where(controls.c.name.in_(wanted)).order_by(controls.c.name)
    locked = connection.execute(query.with_for_update(read=not alone))
    return {row.name: row.reason for row in locked if row.state == "on"}


def all_raised(connection: Connection) -> dict[str, tuple[str, str, datetime]]:
    """Every switch that is on: name -> (reason, actor, since)."""
    query = select(controls).where(controls.c.state == "on").order_by(controls.c.name)
    return {
        row["name"]: (row["reason"], row["actor"], row["at"]) for row in connection.execute(query).mappings()
    }


def ends(connection: Connection) -> dict[str, datetime]:
    """When (UTC) the switches go off by themselves: those that are on and do."""
    query = select(controls.c.name, controls.c.until).where(
        controls.c.state == "on", controls.c.until.is_not(None)
    )
    return {row.name: row.until for row in connection.execute(query)}


def switch(
    connection: Connection,
    name: str,
    *,
    on: bool,
    actor: str,
    reason: str,
    now: datetime,
    until: datetime | None = None,
) -> None:
    """Turns a switch on or off, and says so in the audit. `until`: when it goes off again by itself."""
    row = {"name": name, "state": "on" if on else "off", "at": now, "actor": actor, "reason": reason}
    changing = ("state", "at", "actor", "reason", "until")
    connection.execute(upsert(connection, controls, changing), [row | {"until": until}])
    after = {"until": until.isoformat()} if until else None
    note(connection, now, actor, "switch_on" if on else "switch_off", name, reason=reason, after=after)


def switch_off_expired(connection: Connection, now: datetime) -> list[str]:
    """Turns off the switches whose time is up, and says so in the audit; returns their names."""
    query = (
        update(controls)
        .where(controls.c.state == "on", controls.c.until <= now)
        .values(state="off", at=now, actor="engine", reason="its time was up", until=None)
        .returning(controls.c.name)
    )
    names = sorted(connection.execute(query).scalars())
    for name in names:
        note(connection, now, "engine", "switch_off", name, reason="its time was up")
    return names


def switched_off_at(connection: Connection, names: Iterable[str]) -> datetime | None:
    """When the last of these switches was turned off: nobody could act before."""
    query = select(controls.c.at).where(controls.c.name.in_(sorted(set(names))), controls.c.state == "off")
    return max(connection.execute(query).scalars(), default=None)


# --- holds -----------------------------------------------------------------------------------------------


def hold(connection: Connection, order_id: str, *, actor: str, reason: str, now: datetime) -> bool:
    """Keeps an order from being cancelled. False: too late, a call is on its way; the hold stands anyway."""
    in_time = touch(connection, [order_id], now)
    connection.execute(
        insert_or_ignore(connection, holds),
        [{"order_id": order_id, "at": now, "actor": actor, "reason": reason}],
    )
    note(connection, now, actor, "hold", order_id, reason=reason)
    return in_time


def release(connection: Connection, order_id: str, *, actor: str, reason: str, now: datetime) -> bool:
    """Lets an order go its way again. False: it was not held."""
    touch(connection, [order_id], now)
    gone = connection.execute(delete(holds).where(holds.c.order_id == order_id)).rowcount > 0
    if gone:
        note(connection, now, actor, "release", order_id, reason=reason)
    return gone


# --- signals and labels ------------------------------------------------------------------------------------


def post_signal(
    connection: Connection, scope: Scope, target: str, name: str, *, at: datetime, actor: str, now: datetime
) -> bool:
    """Posts a signal from `at` on; one that stands already keeps its time. False: too late for some order."""
    in_time = _touch_all(connection, scope, target, now)
    standing = select(signals.c.id).where(
        signals.c.scope == scope,
        signals.c.target == target,
        signals.c.name == name,
        signals.c.retracted_at.is_(None),
    )
    if connection.execute(standing).first() is None:
        connection.execute(insert(signals).values(scope=scope, target=target, name=name, at=at, actor=actor))
        note(connection, now, actor, "signal", f"{scope}:{target}", after={"signal": name})
    return in_time


def retract_signal(
    connection: Connection, scope: Scope, target: str, name: str, *, actor: str, now: datetime
) -> bool:
    """Takes a signal back. False: too late for some order."""
    in_time = _touch_all(connection, scope, target, now)
    connection.execute(
        update(signals)
        .where(
            signals.c.scope == scope,
            signals.c.target == target,
            signals.c.name == name,
            signals.c.retracted_at.is_(None),
        )
        .values(retracted_at=now)
    )
    note(connection, now, actor, "retract_signal", f"{scope}:{target}", before={"signal": name})
    return in_time


def set_label(
    connection: Connection, scope: Scope, target: str, label: str, *, actor: str, now: datetime
) -> bool:
    """Puts a label on. False: too late for some order."""
    in_time = _touch_all(connection, scope, target, now)
    row = {"scope": scope, "target": target, "label": label, "at": now, "actor": actor}
    connection.execute(insert_or_ignore(connection, labels), [row])
    note(connection, now, actor, "label", f"{scope}:{target}", after={"label": label})
    return in_time


def remove_label(
    connection: Connection, scope: Scope, target: str, label: str, *, actor: str, now: datetime
) -> bool:
    """Takes a label off. False: too late for some order."""
    in_time = _touch_all(connection, scope, target, now)
    connection.execute(
        delete(labels).where(labels.c.scope == scope, labels.c.target == target, labels.c.label == label)
    )
    note(connection, now, actor, "remove_label", f"{scope}:{target}", before={"label": label})
    return in_time


def orders_of(connection: Connection, scope: Scope, target: str) -> list[str]:
    """The open orders that something said about `target` concerns."""
    if scope == "order":
        return [target]
    query = select(orders.c.id).where(orders.c.user_id == target, orders.c.open).order_by(orders.c.id)
    return list(connection.execute(query).scalars())


def _touch_all(connection: Connection, scope: Scope, target: str, now: datetime) -> bool:
    """`touch` for whatever order something said about `target` concerns, those not known yet included."""
    if scope == "user":
        lock_orders(connection, (), users=[target])
    return touch(connection, orders_of(connection, scope, target), now)


def touch(connection: Connection, order_ids: Iterable[str], now: datetime) -> bool:
    """Locks these orders, raises their facts version so that no older plan fits, and asks for a look now.

    False when a call for one of them is on its way: what is said comes too late for that one.
    """
    ids = sorted(set(order_ids))
    lock_orders(connection, ids)
    connection.execute(
        update(orders)
        .where(orders.c.id.in_(ids), orders.c.open)
        .values(facts_version=orders.c.facts_version + 1, next_at=now, changed_at=now, said_at=now)
    )
    on_its_way = actions.c.order_id.in_(ids) & actions.c.state.in_(["sending", "unknown"])
    return connection.execute(select(actions.c.id).where(on_its_way).limit(1)).first() is None
