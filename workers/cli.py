"""The `autocancel` command: the database, the policy, an order's why, an event by hand, the switches."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from workers.command import fail, instant, reading_store, the_store
from workers.explaining import explain_order
from workers.policy_cli import policy_app
from workers.sending import SendFailed, curl_line, send_event
from workers.store.migrate import upgrade as upgrade_store
from workers.switches_cli import add_switches
from workers.users_cli import user_app
from workers.whatif_cli import add_what_if

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Cancels exactly those Junction lab orders that a rule asks for, while they are still cancellable.",
)
db = typer.Typer(no_args_is_help=True, help="The database.")
app.add_typer(db, name="db")
app.add_typer(policy_app, name="policy")
app.add_typer(user_app, name="user")
add_what_if(policy_app)
add_switches(app)
console = Console()


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to this version's schema. Safe to repeat.

    Example: DATABASE_URL=sqlite:////var/lib/autocancel/autocancel.db autocancel db upgrade
    """
    with the_store() as store:
        console.print(f"the database is at revision {upgrade_store(store)}")


@app.command()
def explain(
    order_id: Annotated[str, typer.Argument(help="The order's id at Junction.")],
    at: Annotated[
        str | None, typer.Option(help="An ISO time to explain at: a past one sees what was known then.")
    ] = None,
) -> None:
    """Say for every rule whether it would cancel an order, when, and why not.

    Example: autocancel explain 84d9f0c4-0d5b-4f52-9a0e-3c1a5a0e9d11 --at 2026-12-01T09:00:00-05:00
    """
    then = instant("--at", at) if at else None
    with reading_store() as connection:
        told = explain_order(connection, order_id, datetime.now(UTC), then)
    if told is None:
        fail(f"no order {order_id} is known here")
    console.print(told, highlight=False, markup=False, soft_wrap=True)


@app.command()
def send(
    file: Annotated[
        Path, typer.Argument(help="A JSON file with an event as Junction sends it; - for stdin.")
    ],
    url: Annotated[
        str, typer.Option(envvar="AUTOCANCEL_RECEIVER_URL", help="Where the receiver listens.")
    ] = "http://127.0.0.1:8000/webhooks/junction",
    secret: Annotated[
        str | None,
        typer.Option(envvar="AUTOCANCEL_SEND_SECRET", help="whsec_…; else the first configured one."),
    ] = None,
    curl: Annotated[bool, typer.Option("--curl", help="Print it as a curl command instead.")] = False,
) -> None:
    """Sign an event and send it to the receiver, as Junction would.

    Example: autocancel send examples/kit-ordered.json

    Example: autocancel send --curl examples/kit-ordered.json | sh
    """
    try:
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        if curl:
            sys.stdout.write(curl_line(body, url, secret, datetime.now(UTC)) + "\n")
            return
        answer = send_event(body, url, secret, datetime.now(UTC))
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    except SendFailed as failed:
        fail(str(failed))
    console.print(f"{answer.status}: {json.dumps(answer.body)}")
    raise typer.Exit(0 if 200 <= answer.status < 300 else 1)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
