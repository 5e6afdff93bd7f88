"""What every command of the command line needs: the store, and a way to say no."""

from __future__ import annotations

import getpass
from typing import NoReturn

import typer
from rich.console import Console
from sqlalchemy import Engine

from workers.configuration import BadSettings, load
from workers.settings import StoreSettings
from workers.store.database import open_store


def the_store() -> Engine:
    """The store named by DATABASE_URL; ends the command with what is wrong otherwise."""
    try:
        settings = load(StoreSettings)
    except BadSettings as bad:
        fail(f"settings:\n{bad}")
    return open_store(settings.database_url.get_secret_value())


def fail(message: str) -> NoReturn:
    """Says why, on standard error, and ends the command with status 1."""
    Console(stderr=True).print(message, style="red", highlight=False, markup=False)
    raise typer.Exit(1)


def whoever() -> str:
    """Who gives the command, for the audit."""
    return f"cli:{getpass.getuser()}"[:64]
