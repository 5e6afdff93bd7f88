"""The cancel ledger: one row before the first byte is sent, changed only by compare-and-set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from workers.core.action import Action, State
from workers.core.plan import Step
from workers.store.schema import actions, attempts


class TargetTaken(Exception):
    """Another action on this target is planned, on its way, unknown or confirmed."""


def plan(
    connection: Connection, decision: int, order_id: str, steps: Iterable[tuple[Step, str]], now: datetime
) -> list[int]:
    """One row a step, first things first; only the first is due. Raises TargetTaken."""
    rows = [
        {
            "decision": decision,
            "order_id": order_id,
            "kind": step.value,
            "target": target,
            "step": place,
            "state": State.PLANNED,
            "next_at": now if place == 0 else None,
            "created_at": now,
            "changed_at": now,
        }
        for place, (step, target) in enumerate(steps)
    ]
    try:
        with connection.begin_nested():
            return [
                connection.execute(insert(actions).values(row).returning(actions.c.id)).scalar_one()
                for row in rows
            ]
    except IntegrityError as clash:
        raise TargetTaken(order_id) from clash


def lease(connection: Connection, action_id: int, now: datetime, until: datetime) -> RowMapping | None:
    """Takes a row that is due and that nobody works on; counts the attempt before it is made."""
    taken = (
        update(actions)
        .where(
            actions.c.id == action_id,
            actions.c.next_at <= now,
            or_(actions.c.leased_until.is_(None), actions.c.leased_until <= now),
        )
        .values(leased_until=until, attempts=actions.c.attempts + 1)
        .returning(actions)
    )
    return connection.execute(taken).mappings().first()


def due(connection: Connection, now: datetime, limit: int) -> dict[int, datetime]:
    """Rows that want their next step and since when, the longest waiting first."""
    query = (
        select(actions.c.id, actions.c.next_at)
        .where(actions.c.next_at <= now, or_(actions.c.leased_until.is_(None), actions.c.leased_until <= now))
        .order_by(actions.c.next_at)
        .limit(limit)
    )
    return {row.id: row.next_at for row in connection.execute(query)}


def move(
    connection: Connection,
    action: Action,
    to: State,
    now: datetime,
    *,
    next_at: datetime | None,
    **changes: Any,
) -> bool:
    """From the state the caller knows to another; False when somebody was faster. Lets go of the row."""
    moved = (
        update(actions)
        .where(actions.c.id == action.id, actions.c.state == action.state, actions.c.posts == action.posts)
        .values(state=to, next_at=next_at, leased_until=None, attempts=0, changed_at=now, **changes)
    )
    return connection.execute(moved).rowcount == 1


def send(
    connection: Connection,
    action: Action,
    now: datetime,
    until: datetime,
    *,
    baseline: int | None,
    before: str | None,
) -> bool:
    """`planned` or `unknown` -> `sending`: from here on the call may reach Junction. Keeps the lease."""
    sending = (
        update(actions)
        .where(actions.c.id == action.id, actions.c.state == action.state, actions.c.posts == action.posts)
        .values(
            state=State.SENDING,
            posts=actions.c.posts + 1,
            looks=0,
            answer=None,
            sent_at=now,
            sending_until=until,
            baseline=baseline,
            before=before,
            next_at=until,
            changed_at=now,
        )
    )
    return connection.execute(sending).rowcount == 1


def wake_next(connection: Connection, decision: int, now: datetime) -> int | None:
    """Makes the next planned step of a decision due; returns its id."""
    query = (
        select(actions.c.id)
        .where(actions.c.decision == decision, actions.c.state == State.PLANNED)
        .order_by(actions.c.step)
        .limit(1)
    )
    following = connection.execute(query).scalar_one_or_none()
    if following is not None:
        connection.execute(update(actions).where(actions.c.id == following).values(next_at=now))
    return following


def wake_live(connection: Connection, order_ids: Iterable[str], now: datetime) -> list[int]:
    """News came of these orders: whatever of theirs is on its way or unknown is looked at now."""
    woken = (
        update(actions)
        .where(
            actions.c.order_id.in_(sorted(set(order_ids))),
            actions.c.state.in_([State.SENDING, State.UNKNOWN]),
            actions.c.next_at > now,
            actions.c.leased_until.is_(None),
        )
        .values(next_at=now)
        .returning(actions.c.id)
    )
    return list(connection.execute(woken).scalars())


def drop_planned(connection: Connection, decision: int, reason: str, now: datetime) -> None:
    """The decision's remaining steps are not taken."""
    connection.execute(
        update(actions)
        .where(actions.c.decision == decision, actions.c.state == State.PLANNED)
        .values(state=State.DROPPED, reason=reason[:500], next_at=None, leased_until=None, changed_at=now)
    )


def on_their_way(connection: Connection) -> int:
    """Calls that have passed the gate and of which nobody has heard yet."""
    sending = select(func.count()).select_from(actions).where(actions.c.state == State.SENDING)
    return connection.execute(sending).scalar_one()


def gave_up(connection: Connection, order_id: str) -> bool:
    """Whether calls about this order came to nothing that anybody could see: a person decides about more."""
    failed = select(actions.c.id).where(
        actions.c.order_id == order_id, actions.c.state == State.FAILED, actions.c.posts > 0
    )
    return connection.execute(failed.limit(1)).first() is not None


def of_decision(connection: Connection, decision: int) -> list[Action]:
    query = select(actions).where(actions.c.decision == decision).order_by(actions.c.step)
    return [as_action(row) for row in connection.execute(query).mappings()]


def note_attempt(
    connection: Connection,
    action: int,
    now: datetime,
    call: str,
    outcome: str,
    *,
    http_status: int | None = None,
    latency_ms: int | None = None,
) -> None:
    """One exchange with Junction, in words of ours."""
    connection.execute(
        insert(attempts).values(
            action=action,
            at=now,
            call=call,
            outcome=outcome[:64],
            http_status=http_status,
            latency_ms=latency_ms,
        )
    )


def as_action(row: Mapping[Any, Any]) -> Action:
    return Action(
        id=row["id"],
        decision=row["decision"],
        order_id=row["order_id"],
        step=Step(row["kind"]),
        target=row["target"],
        state=State(row["state"]),
        posts=row["posts"],
        looks=row["looks"],
        sent_at=row["sent_at"],
        sending_until=row["sending_until"],
        baseline=row["baseline"],
        before=row["before"],
        answer=row["answer"],
    )
