"""Who is signed in. Only the hash of a cookie is stored, so a copy of the table opens nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection, delete, insert, or_, select, update

from workers.store.schema import sessions, users
from workers.store.users import Role

LONGEST = timedelta(hours=12)
LONGEST_IDLE = timedelta(minutes=30)
SEEN_EVERY = timedelta(minutes=1)  # finer would be a write a click


@dataclass(frozen=True, slots=True)
class Session:
    """`id` is the hash of the cookie; `seen_at` (UTC) is known to SEEN_EVERY."""

    id: str
    user: str
    role: Role
    created_at: datetime
    seen_at: datetime


def begin(connection: Connection, cookie: str, user: str, now: datetime) -> None:
    """Signs a user in, and forgets the sessions that have run out."""
    connection.execute(
        delete(sessions).where(
            or_(sessions.c.created_at <= now - LONGEST, sessions.c.seen_at <= now - LONGEST_IDLE)
        )
    )
    connection.execute(insert(sessions).values(id=id_of(cookie), user=user, created_at=now, seen_at=now))


def find(connection: Connection, cookie: str, now: datetime) -> Session | None:
    """The session of this cookie, if it has not run out and its user may still come in."""
    query = (
        select(sessions, users.c.role)
        .join(users, users.c.name == sessions.c.user)
        .where(
            sessions.c.id == id_of(cookie),
            sessions.c.created_at > now - LONGEST,
            sessions.c.seen_at > now - LONGEST_IDLE,
            users.c.disabled_at.is_(None),
        )
    )
    row = connection.execute(query).first()
    return Session(row.id, row.user, row.role, row.created_at, row.seen_at) if row else None


def touch(connection: Connection, session: Session, now: datetime) -> None:
    connection.execute(update(sessions).where(sessions.c.id == session.id).values(seen_at=now))


def end(connection: Connection, cookie: str) -> None:
    connection.execute(delete(sessions).where(sessions.c.id == id_of(cookie)))


def id_of(cookie: str) -> str:
    return sha256(cookie.encode()).hexdigest()
