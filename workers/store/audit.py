"""The audit: who did what, when and why. Append only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from workers.store.schema import audit


def note(
    connection: Connection,
    now: datetime,
    actor: str,
    action: str,
    target: str,
    *,
    role: str = "operator",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str | None = None,
    request_id: str | None = None,
    ip_prefix: str | None = None,
) -> None:
    """Writes one line, in the transaction of what it tells about."""
    connection.execute(
        insert(audit).values(
            at=now, actor=actor, role=role, action=action, target=target, before=before, after=after,
            reason=reason, request_id=request_id, ip_prefix=ip_prefix,
        )
    )  # fmt: skip
