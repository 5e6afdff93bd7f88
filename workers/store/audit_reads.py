"""The audit as people look at it: who did what, newest first, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, func, literal, select

from workers.store.schema import audit

Rows = Sequence[RowMapping]

CAP = 10_000  # nobody reads a longer list; counting further would cost more than it tells


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Empty is no condition; `to` is not included."""

    actor: str = ""
    action: str = ""
    target: str = ""
    since: datetime | None = None
    to: datetime | None = None


EVERYTHING = AuditFilter()


def list_audit(
    connection: Connection, wanted: AuditFilter = EVERYTHING, *, before: int | None = None, limit: int = 50
) -> Rows:
    """The newest that fit and have a lower number than `before`."""
    query = select(audit).where(*_conditions(wanted)).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    return connection.execute(query).mappings().all()


def count_audit(connection: Connection, wanted: AuditFilter = EVERYTHING) -> int:
    """How many fit; CAP + 1 when there are more than CAP."""
    some = select(audit.c.id).where(*_conditions(wanted)).limit(literal(CAP + 1)).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def audited_actions(connection: Connection) -> list[str]:
    """Every kind of thing that was ever done."""
    return list(connection.execute(select(audit.c.action).distinct().order_by(audit.c.action)).scalars())


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for column, value in (
        (audit.c.actor, wanted.actor),
        (audit.c.action, wanted.action),
        (audit.c.target, wanted.target),
    ):
        if value:
            found.append(column == value)
    if wanted.since is not None:
        found.append(audit.c.at >= wanted.since)
    if wanted.to is not None:
        found.append(audit.c.at < wanted.to)
    return found
