"""`autocancel user …`: who may look at the dashboard, and what each may do there."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from workers.command import fail, reading_store, whoever, writing_store
from workers.store import users
from workers.store.audit import note

user_app = typer.Typer(no_args_is_help=True, help="The dashboard's users.")
console = Console()

Name = Annotated[str, typer.Argument(help="Small letters, digits and . _ @ -")]


class RoleName(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@user_app.command()
def add(
    name: Name,
    role: Annotated[
        RoleName,
        typer.Option(
            help="A viewer looks, an operator pauses and replays, an admin also cancels and resumes."
        ),
    ] = RoleName.VIEWER,
) -> None:
    """Add a user. Asks for a password, or reads its first line from a pipe.

    Example: autocancel user add ana --role admin
    """
    password, now = _ask_password(), datetime.now(UTC)
    try:
        with writing_store() as connection:
            added = users.add(connection, name, password, role.value, now)
            if added:
                note(connection, now, whoever(), "add_user", name, role="admin", after={"role": role.value})
    except ValueError as poor:
        fail(str(poor))
    if not added:
        fail(f"there is a user {name} already")
    console.print(f"added {name}, {role.value}")


@user_app.command("list")
def list_users() -> None:
    """Show every user, and who may not come in."""
    with reading_store() as connection:
        found = users.everybody(connection)
    table = Table("name", "role", "since", "state")
    for user in found:
        state = f"disabled {user.disabled_at:%Y-%m-%d}" if user.disabled_at else "enabled"
        table.add_row(user.name, user.role, f"{user.created_at:%Y-%m-%d}", state)
    console.print(table)


@user_app.command()
def disable(name: Name) -> None:
    """Keep a user out, and end the sessions there are. `enable` takes it back."""
    now = datetime.now(UTC)
    with writing_store() as connection:
        found = users.disable(connection, name, now)
        if found:
            note(connection, now, whoever(), "disable_user", name, role="admin")
    _say(found, name, "is kept out")


@user_app.command()
def enable(name: Name) -> None:
    """Let a user in again."""
    now = datetime.now(UTC)
    with writing_store() as connection:
        found = users.enable(connection, name)
        if found:
            note(connection, now, whoever(), "enable_user", name, role="admin")
    _say(found, name, "may come in")


@user_app.command()
def password(name: Name) -> None:
    """Give a user a new password. It ends the sessions there are, and any wait after wrong ones."""
    new, now = _ask_password(), datetime.now(UTC)
    try:
        with writing_store() as connection:
            found = users.set_password(connection, name, new)
            if found:
                note(connection, now, whoever(), "set_password", name, role="admin")
    except ValueError as poor:
        fail(str(poor))
    _say(found, name, "has a new password")


def _ask_password() -> str:
    if sys.stdin.isatty():
        asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    return sys.stdin.readline().rstrip("\n")


def _say(found: bool, name: str, what: str) -> None:
    if not found:
        fail(f"there is no user {name}")
    console.print(f"{name} {what}")
