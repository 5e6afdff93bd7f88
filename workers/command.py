"""What every command of the command line needs: the store, a way to say no, and the spelling of times."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn

import typer
from rich.console import Console
from sqlalchemy import Connection, Engine

from workers.configuration import BadSettings, StoreSettings, load
from workers.services import PolicyNotUnderstood
from workers.store.database import TROUBLE, open_store, reading, writing
from workers.store.migrate import head, revision


@contextmanager
def the_store() -> Iterator[Engine]:
    """The store named by DATABASE_URL, whatever is in it. Trouble with it ends the command with a sentence
    instead of a traceback."""
    try:
        settings = load(StoreSettings)
    except BadSettings as bad:
        fail(f"settings:\n{bad}")
    store = open_store(settings.database_url.get_secret_value())
    try:
        yield store
    except TROUBLE as trouble:
        reason = str(getattr(trouble, "orig", trouble)).strip().splitlines()
        fail(f"the database does not answer: {reason[0] if reason else type(trouble).__name__}")
    except PolicyNotUnderstood as unknown:
        fail(f"the active policy ({unknown}) was written for another version of this program")
    finally:
        store.dispose()


@contextmanager
def reading_store() -> Iterator[Connection]:
    """One transaction that only reads, of a store that fits this program."""
    with the_store() as store, reading(_upgraded(store)) as connection:
        yield connection


@contextmanager
def writing_store() -> Iterator[Connection]:
    """One transaction that writes, of a store that fits this program."""
    with the_store() as store, writing(_upgraded(store)) as connection:
        yield connection


def _upgraded(store: Engine) -> Engine:
    found, wanted = revision(store), head()
    if found != wanted:
        is_at = f"revision {found}" if found else "no revision"
        fail(f"the database is at {is_at}, this program needs {wanted}: run `autocancel db upgrade`")
    return store


def instant(option: str, text: str) -> datetime:
    """An ISO time with its zone, as UTC; anything else ends the command."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        fail(f"{option} {text}: not an ISO time with a zone; write 2026-11-21T09:00:00Z")
    return at.astimezone(UTC)


def fail(message: str) -> NoReturn:
    """Says why, on standard error, and ends the command with status 1."""
    Console(stderr=True).print(message, style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(1)


def whoever() -> str:
    """Who gives the command, for the audit."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number only
        name = "unknown"
    return f"cli:{name}"[:64]
