"""Who may look at the dashboard: names, roles, argon2id hashes, and how long a name waits after failures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import Connection, Engine, select, update

from workers.store.database import reading, writing
from workers.store.dialects import insert_or_ignore
from workers.store.schema import sessions, users

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may what those before it may

NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1024

FREE_TRIES = 5
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=15), timedelta(minutes=15)

HASHER = (
    PasswordHasher()
)  # argon2id; the library follows RFC 9106's advice for machines that do other work too


@dataclass(frozen=True, slots=True)
class User:
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    locked_until: datetime | None


def may(role: Role, needed: Role) -> bool:
    return ROLES.index(role) >= ROLES.index(needed)


def add(connection: Connection, name: str, password: str, role: Role, now: datetime) -> bool:
    """Adds a user; False when there is one of that name. Raises ValueError for a poor name or password."""
    if not NAME.fullmatch(name):
        raise ValueError("a name is made of small letters, digits and . _ @ -, 64 at most")
    row = {"name": name, "password": _hash(password), "role": role, "created_at": now, "failed": 0}
    return connection.execute(insert_or_ignore(connection, users), [row]).rowcount > 0


def everybody(connection: Connection) -> tuple[User, ...]:
    rows = connection.execute(select(users).order_by(users.c.name))
    return tuple(User(row.name, row.role, row.created_at, row.disabled_at, row.locked_until) for row in rows)


def anybody(connection: Connection) -> bool:
    """Whether there is someone who could sign in."""
    return (
        connection.execute(select(users.c.name).where(users.c.disabled_at.is_(None)).limit(1)).first()
        is not None
    )


def set_password(connection: Connection, name: str, password: str) -> bool:
    """A new password ends every session and every wait. False: no such user. Raises ValueError."""
    fresh = {"password": _hash(password), "failed": 0, "locked_until": None}
    connection.execute(sessions.delete().where(sessions.c.user == name))
    return connection.execute(update(users).where(users.c.name == name).values(fresh)).rowcount > 0


def disable(connection: Connection, name: str, now: datetime) -> bool:
    """Ends every session of the user and lets no new one begin. False: no such user."""
    connection.execute(sessions.delete().where(sessions.c.user == name))
    return connection.execute(update(users).where(users.c.name == name).values(disabled_at=now)).rowcount > 0


def enable(connection: Connection, name: str) -> bool:
    return connection.execute(update(users).where(users.c.name == name).values(disabled_at=None)).rowcount > 0


def check_password(store: Engine, name: str, password: str, now: datetime) -> Role | None:
    """The role of the user whose password this is, or None.

    Unknown, disabled and waiting users cost the same time as others, and no transaction stays open while
    it passes. After FREE_TRIES wrong passwords in a row each next one doubles the wait of that name.
    """
    with reading(store) as connection:
        user = connection.execute(select(users).where(users.c.name == name)).first()
    right = _is_right(user.password if user else _nobodys(), password)
    if user is None or user.disabled_at or (user.locked_until and user.locked_until > now):
        return None
    with writing(store) as connection:
        if right:
            connection.execute(update(users).where(users.c.name == name).values(failed=0, locked_until=None))
        else:
            _count_failure(connection, name, now)
    return user.role if right else None


def _count_failure(connection: Connection, name: str, now: datetime) -> None:
    more = (
        update(users).where(users.c.name == name).values(failed=users.c.failed + 1).returning(users.c.failed)
    )
    too_many = connection.execute(more).scalar_one() - FREE_TRIES
    if too_many >= 0:
        wait = min(FIRST_WAIT * 2 ** min(too_many, 10), LONGEST_WAIT)
        connection.execute(update(users).where(users.c.name == name).values(locked_until=now + wait))


def _hash(password: str) -> str:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return HASHER.hash(password)


def _is_right(hashed: str, password: str) -> bool:
    try:
        return HASHER.verify(hashed, password[:LONGEST_PASSWORD])
    except VerificationError:
        return False


@cache
def _nobodys() -> str:
    return HASHER.hash("the password of a user that does not exist")
