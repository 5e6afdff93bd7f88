"""Decisions: why an order was cancelled, is held, waits for a person, or was left alone when it was due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from workers.store.dialects import insert_or_ignore
from workers.store.schema import decisions


@dataclass(frozen=True, slots=True)
class Decision:
    """One row. `key` is the activation key; None for a negative, which is counted when it repeats."""

    order_id: str
    key: str | None
    space: str
    rule: str | None
    action: str | None
    verdict: str  # cancel, keep, wait, blocked, held, shadow, review, error
    state: str  # acting, open, final and what an action ends in
    mode: str | None
    generation: int | None
    policy_hash: str | None
    trigger: str
    due_at: datetime | None
    facts_version: int
    reason: str
    trace: Mapping[str, Any]


def record(connection: Connection, decision: Decision, now: datetime) -> int | None:
    """Stores a decision; None when this activation has been decided already."""
    row = {**asdict(decision), "at": now, "last_at": now}
    statement = insert_or_ignore(connection, decisions).values(row).returning(decisions.c.id)
    return connection.execute(statement).scalar_one_or_none()


def record_negative(connection: Connection, decision: Decision, now: datetime) -> None:
    """Stores why nothing was done; the same again right after only counts."""
    last = connection.execute(
        select(decisions.c.id, decisions.c.verdict, decisions.c.rule, decisions.c.reason, decisions.c.key)
        .where(decisions.c.order_id == decision.order_id)
        .order_by(decisions.c.id.desc())
        .limit(1)
    ).first()
    same = (decision.verdict, decision.rule, decision.reason, None)
    if last is not None and (last.verdict, last.rule, last.reason, last.key) == same:
        connection.execute(
            update(decisions)
            .where(decisions.c.id == last.id)
            .values(last_at=now, times=decisions.c.times + 1, facts_version=decision.facts_version)
        )
    else:
        connection.execute(insert(decisions).values(**asdict(decision), at=now, last_at=now))


def settle(
    connection: Connection, decision: int, state: str, reason: str, now: datetime, *, by: str | None = None
) -> None:
    """What became of it, and through whom if a person; who approved it before stays on record."""
    person = {"resolved_by": by} if by else {}
    connection.execute(
        update(decisions)
        .where(decisions.c.id == decision)
        .values(state=state, reason=reason[:500], resolved_at=now, **person)
    )


def adopt(connection: Connection, decision: int, generation: int, policy_hash: str, actor: str) -> None:
    """An approved review item is acted on, under the policy that is active now."""
    connection.execute(
        update(decisions)
        .where(decisions.c.id == decision)
        .values(state="acting", generation=generation, policy_hash=policy_hash, resolved_by=actor)
    )


def free_key(connection: Connection, decision: int) -> None:
    """Nothing was sent under this activation, so it may be decided again when it is due again."""
    connection.execute(update(decisions).where(decisions.c.id == decision).values(key=None))


def load(connection: Connection, decision: int, *, lock: bool = False) -> RowMapping | None:
    query = select(decisions).where(decisions.c.id == decision)
    return connection.execute(query.with_for_update() if lock else query).mappings().first()


def open_ones(connection: Connection, order_ids: Iterable[str]) -> list[RowMapping]:
    """Review items and held decisions of these orders that still wait for somebody."""
    query = select(decisions).where(
        decisions.c.order_id.in_(sorted(set(order_ids))), decisions.c.state == "open"
    )
    return list(connection.execute(query).mappings())
