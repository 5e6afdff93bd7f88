"""A rule under a new name: what was counted, decided and switched under the old one goes on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select, update

from workers.store import controls
from workers.store.schema import decisions, outbox, reservations

SWITCHES = ("rule:", "limits:")  # a pause, a tripped limit


def rename(connection: Connection, old: str, new: str, now: datetime) -> None:
    """Moves everything under `old` to `new`, so that no occasion comes up twice and no pause is lost."""
    _rename_keys(connection, old, new)
    for table in (decisions, reservations):
        connection.execute(update(table).where(table.c.rule == old).values(rule=new))
    raised = controls.raised(connection, [prefix + old for prefix in SWITCHES])
    for name, reason in raised.items():
        moved = name.removesuffix(old) + new
        controls.switch(connection, moved, on=True, actor="engine", reason=reason, now=now)
        controls.switch(connection, name, on=False, actor="engine", reason=f"now {moved}", now=now)


def _rename_keys(connection: Connection, old: str, new: str) -> None:
    """Activation keys name their rule (plan.activation_key). One that exists already stays as it is."""
    for table in (decisions, outbox):
        key = func.replace(table.c.key, f":{old}:", f":{new}:")
        other = table.alias()
        taken = select(other.c.id).where(other.c.key == key).exists()
        named = table.c.key.contains(f":{old}:", autoescape=True)
        connection.execute(update(table).where(named, ~taken).values(key=key))
