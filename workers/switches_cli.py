"""Operators' commands: holds, pauses, the stop, cancelling by hand, review items, signals and labels."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from sqlalchemy import Connection

from workers import operating
from workers.command import fail, instant, whoever, writing_store
from workers.operating import Outcome, Said
from workers.services import ActivePolicy
from workers.store import controls, reads
from workers.store.database import store_time

console = Console()
T = TypeVar("T")

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; shown to everybody who asks.")]
OrderId = Annotated[str, typer.Argument(help="The order's id at Junction.")]
TOO_LATE = "too late for a call that is on its way; it stands for whatever comes after it"
NO_RULE = "the active policy has no rule {}"


class On(StrEnum):
    """What a signal or label is put on."""

    ORDER = "order"
    USER = "user"


def add_switches(app: typer.Typer) -> None:
    """Puts the commands on the main one."""
    deeds = (hold, unhold, cancel, refresh, pause, resume, stop, start, approve, decline, signal, label)
    for command in deeds:
        app.command()(command)


def hold(order_id: OrderId, reason: Reason = "") -> None:
    """Keep an order from being cancelled by any rule.

    Example: autocancel hold 84d9… --reason "the patient called"
    """

    def write(connection: Connection, said: Said) -> bool:
        if reads.order_row(connection, order_id) is None:
            fail(f"no order {order_id} is known here")
        return controls.hold(connection, order_id, actor=said.actor, reason=said.reason, now=said.now)

    in_time = _write(write, reason)
    console.print(f"order {order_id} is held" + ("" if in_time else f"; {TOO_LATE}"))


def unhold(order_id: OrderId, reason: Reason = "") -> None:
    """Let an order go its way again.

    Example: autocancel unhold 84d9…
    """

    def write(connection: Connection, said: Said) -> bool:
        return controls.release(connection, order_id, actor=said.actor, reason=said.reason, now=said.now)

    if not _write(write, reason):
        fail(f"order {order_id} is not held")
    console.print(f"order {order_id} is no longer held")


def cancel(
    order_id: OrderId,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; goes into the audit.")],
    fee_accepted: Annotated[
        bool, typer.Option("--fee-accepted", help="Even if a home visit is not refunded any more.")
    ] = False,
) -> None:
    """Cancel an order at Junction, whatever the rules say. Hard guards, holds and the stop still protect it.

    Example: autocancel cancel 84d9… --reason "placed by mistake"
    """

    def write(connection: Connection, said: Said) -> str | None:
        return operating.cancel(connection, ActivePolicy(), [order_id], said, fee_accepted=fee_accepted)[
            order_id
        ]

    if (why := _write(write, reason)) is not None:
        fail(f"order {order_id} is not cancelled: {why}")
    console.print(f"order {order_id} is looked at and, if nothing stands against it then, cancelled")


def refresh(order_id: OrderId, reason: Reason = "") -> None:
    """Ask for an order at Junction soon and store what is found, even if no rule is due.

    Example: autocancel refresh 84d9…
    """

    def write(connection: Connection, said: Said) -> None:
        if reads.order_row(connection, order_id) is None:
            fail(f"no order {order_id} is known here")
        operating.refresh(connection, [order_id], said)

    _write(write, reason)
    console.print(f"order {order_id} is asked for within seconds")


def stop(reason: Reason = "") -> None:
    """Stop everything: from now on nothing is decided and nothing is sent, until `start`.

    Example: autocancel stop --reason "wrong rule deployed"
    """
    late = _write(operating.stop, reason)
    console.print(
        "stopped: nothing is cancelled until `autocancel start`"
        + (f"; {late} calls are on their way" * bool(late))
    )


def start(reason: Reason = "") -> None:
    """End the global stop. What became due meanwhile is looked at now.

    Example: autocancel start --reason "rule fixed"
    """
    _write(operating.start, reason)
    console.print("started")


def pause(rule: Annotated[str, typer.Argument(help="The rule's name.")], reason: Reason = "") -> None:
    """Pause one rule.

    Example: autocancel pause kit-never-registered --reason "asking the lab"
    """

    def write(connection: Connection, said: Said) -> None:
        active = ActivePolicy().read(connection)
        if active is None or active.policy.rule(rule) is None:
            fail(NO_RULE.format(rule))
        operating.pause(connection, rule, said)

    _write(write, reason)
    console.print(f"rule {rule} is paused until `autocancel resume {rule}`")


def resume(
    rule: Annotated[
        str | None, typer.Argument(help="The rule; without one, the policy's own limits.")
    ] = None,
    reason: Reason = "",
) -> None:
    """End a pause, and reset a tripped limit. Held decisions go on as far as the limit has room.

    Example: autocancel resume --reason "all 40 are duplicates of one import"
    """
    gone_on = _write(
        lambda connection, said: operating.resume(connection, ActivePolicy(), rule, said), reason
    )
    if gone_on is None:
        fail(NO_RULE.format(rule) if rule else "no policy is active yet")
    console.print(f"resumed; {gone_on} held decisions go on")


def approve(
    decision: Annotated[int, typer.Argument(help="The decision's number.")], reason: Reason = ""
) -> None:
    """Let a review item happen. It is still looked at afresh before every call.

    Example: autocancel approve 1234
    """
    _say(
        _write(
            lambda connection, said: operating.approve(connection, ActivePolicy(), decision, said), reason
        ),
        f"decision {decision} is approved",
    )


def decline(
    decision: Annotated[int, typer.Argument(help="The decision's number.")], reason: Reason = ""
) -> None:
    """Decline a review item or a held decision; the same occasion does not come back.

    Example: autocancel decline 1234 --reason "the kit arrived"
    """
    _say(
        _write(lambda connection, said: operating.decline(connection, decision, said), reason),
        f"decision {decision} is declined",
    )


def signal(
    name: Annotated[str, typer.Argument(help="The signal's name.")],
    target: Annotated[str, typer.Argument(help="The order's or the user's id.")],
    on: Annotated[On, typer.Option(help="What the id is of.")] = On.ORDER,
    retract: Annotated[bool, typer.Option("--retract", help="Take it back.")] = False,
    at: Annotated[str | None, typer.Option(help="Since when it stands (ISO); now when left out.")] = None,
) -> None:
    """Post a signal for rules to look at, or take it back.

    Example: autocancel signal payment.refunded 84d9…
    """

    since = instant("--at", at) if at else None

    def write(connection: Connection, said: Said) -> bool:
        if retract:
            return controls.retract_signal(connection, on.value, target, name, actor=said.actor, now=said.now)
        return controls.post_signal(
            connection, on.value, target, name, at=since or said.now, actor=said.actor, now=said.now
        )

    in_time = _write(write, "")
    done = "retracted" if retract else "posted"
    console.print(f"signal {name} {done} on {on.value} {target}" + ("" if in_time else f"; {TOO_LATE}"))


def label(
    name: Annotated[str, typer.Argument(help="The label.")],
    target: Annotated[str, typer.Argument(help="The order's or the user's id.")],
    on: Annotated[On, typer.Option(help="What the id is of.")] = On.ORDER,
    remove: Annotated[bool, typer.Option("--remove", help="Take it off.")] = False,
) -> None:
    """Put a label on an order or a user, or take it off.

    Example: autocancel label inventory 7c1e… --on user
    """
    change = controls.remove_label if remove else controls.set_label
    in_time = _write(
        lambda connection, said: change(connection, on.value, target, name, actor=said.actor, now=said.now),
        "",
    )
    done = "taken off" if remove else "put on"
    console.print(f"label {name} {done} {on.value} {target}" + ("" if in_time else f"; {TOO_LATE}"))


def _write(do: Callable[[Connection, Said], T], reason: str) -> T:
    with writing_store() as connection:
        return do(connection, Said(whoever(), reason, store_time(connection)))


def _say(outcome: Outcome, done: str) -> None:
    if outcome is not Outcome.DONE:
        fail(outcome.value)
    console.print(done)
