"""Generations of the policy: which text is active, and since when each rule acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, insert, select, update

from workers.store.dialects import upsert
from workers.store.schema import controls, policies, rules

REFUSED = "policy_refused"  # the control that says so


@dataclass(frozen=True, slots=True)
class Generation:
    """One accepted policy text."""

    number: int
    hash: str
    source: str
    text: str
    loaded_at: datetime


def active(connection: Connection, *, lock: bool = False) -> Generation | None:
    """The generation in force. `lock`: it stays so until the transaction ends; None if just replaced."""
    query = select(policies).where(policies.c.active).order_by(policies.c.generation.desc()).limit(1)
    row = connection.execute(query.with_for_update(read=True) if lock else query).mappings().first()
    return _generation(row) if row else None


def past(connection: Connection, number: int) -> Generation | None:
    """A generation that is or was in force."""
    query = select(policies).where(policies.c.generation == number)
    row = connection.execute(query).mappings().first()
    return _generation(row) if row else None


def _generation(row: RowMapping) -> Generation:
    return Generation(row["generation"], row["hash"], row["source"], row["text"], row["loaded_at"])


def activate(connection: Connection, hash_: str, source: str, text: str, now: datetime) -> Generation:
    """Makes this text the active generation."""
    connection.execute(update(policies).where(policies.c.active).values(active=False))
    number = connection.execute(
        insert(policies)
        .values(hash=hash_, source=source, text=text, loaded_at=now, active=True)
        .returning(policies.c.generation)
    ).scalar_one()
    return Generation(number, hash_, source, text, now)


def modes(connection: Connection) -> dict[str, tuple[str, datetime | None]]:
    """Each rule's mode as it was last activated, and since when it acts (review or enforce)."""
    rows = connection.execute(select(rules.c.name, rules.c.mode, rules.c.live_since))
    return {name: (mode, since) for name, mode, since in rows}


def set_modes(connection: Connection, modes: Mapping[str, tuple[str, datetime | None]]) -> None:
    """Replaces what `modes` returns."""
    connection.execute(rules.delete())
    if modes:
        rows = [{"name": name, "mode": mode, "live_since": since} for name, (mode, since) in modes.items()]
        connection.execute(insert(rules), rows)


def forget_refused(connection: Connection, now: datetime) -> None:
    """The policy file is good again."""
    refused = controls.c.name == REFUSED, controls.c.state == "on"
    connection.execute(update(controls).where(*refused).values(state="off", at=now))


def note_refused(connection: Connection, problems: str, now: datetime) -> None:
    """A policy file was wrong: kept for the dashboard until a good one is accepted."""
    row = {"name": REFUSED, "state": "on", "at": now, "actor": "clock", "reason": problems[:500]}
    connection.execute(upsert(connection, controls, ("state", "at", "reason")), [row])
