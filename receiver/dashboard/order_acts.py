"""What an operator can have done to orders, to one or to many: shown first, then done, with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl

from sqlalchemy import Connection, RowMapping
from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard import bulk
from receiver.dashboard.decisions_page import HINTS
from receiver.dashboard.openings import verdict_of
from receiver.dashboard.order_page import POLICY
from receiver.dashboard.page import Address
from receiver.dashboard.visit import Visit, not_found
from workers import operating
from workers.core.guards import REFUND
from workers.core.order import Appointment
from workers.operating import Said
from workers.store import controls, orders, previews, reads
from workers.store.previews import MOST_IDS
from workers.store.reads import OrderFilter
from workers.store.users import Role

BATCH = 100  # orders a transaction, so that nobody waits long for the store

Outcomes = Mapping[str, str]  # order id -> what came of it, in words that follow "it is"
Spared = Callable[[Connection, Sequence[str], Visit], Outcomes]  # ... -> why nothing would be done to it
Do = Callable[[Connection, Sequence[str], Visit, Said], Outcomes]

SKIPPED = "skipped: "  # what follows is why
ENDED = "it has ended already"
CANCELLING = "being cancelled"


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing to do. `spared`: for the preview; `danger`: it cannot be taken back."""

    title: str
    button: str
    what: tuple[str, ...]
    spared: Spared
    do: Do
    role: Role = "operator"
    danger: bool = False


# --- what can be done --------------------------------------------------------------------------------------


def _sparing(spared: Spared, do: Do) -> Do:
    """Leaves alone what the preview said it would, as things stand now. The orders are locked together, or
    one by one they might meet somebody who takes them in another order."""

    def done(connection: Connection, ids: Sequence[str], visit: Visit, said: Said) -> Outcomes:
        orders.lock(connection, ids)
        skipped = {id_: SKIPPED + why for id_, why in spared(connection, ids, visit).items()}
        return {**skipped, **do(connection, [id_ for id_ in ids if id_ not in skipped], visit, said)}

    return done


def _held_or_ended(connection: Connection, ids: Sequence[str], visit: Visit) -> Outcomes:
    held = dict.fromkeys(reads.held_among(connection, ids), "it is held already")
    return {**_ended(connection, ids, visit), **held}


def _not_held(connection: Connection, ids: Sequence[str], _visit: Visit) -> Outcomes:
    held = reads.held_among(connection, ids)
    return {id_: "it is not held" for id_ in ids if id_ not in held}


def _ended(connection: Connection, ids: Sequence[str], _visit: Visit) -> Outcomes:
    return {row["id"]: ENDED for row in reads.states_of(connection, ids) if not row["open"]}


def _nobody(_connection: Connection, _ids: Sequence[str], _visit: Visit) -> Outcomes:
    return {}


def _not_cancellable(connection: Connection, ids: Sequence[str], visit: Visit) -> Outcomes:
    found: dict[str, str] = {}
    for some in _batches(ids):
        against = operating.stands_against(connection, POLICY, some, visit.now)
        firsts = {id_: next((one.why for one in ones if one.sure), None) for id_, ones in against.items()}
        found |= {id_: why for id_, why in firsts.items() if why is not None}
    return found


def _hold(connection: Connection, ids: Sequence[str], _visit: Visit, said: Said) -> Outcomes:
    def hold(order_id: str) -> bool:
        return controls.hold(connection, order_id, actor=said.actor, reason=said.reason, now=said.now)

    late = "held, but a cancel call was on its way already: look what became of it"
    return {id_: "held" if hold(id_) else late for id_ in ids}


def _release(connection: Connection, ids: Sequence[str], _visit: Visit, said: Said) -> Outcomes:
    for order_id in ids:
        controls.release(connection, order_id, actor=said.actor, reason=said.reason, now=said.now)
    return dict.fromkeys(ids, "released")


def _evaluate(connection: Connection, ids: Sequence[str], visit: Visit, said: Said) -> Outcomes:
    """The clock finds what is due."""
    controls.touch(connection, ids, said.now)
    for order_id in ids:
        visit.audit(connection, "evaluate", order_id, reason=said.reason)
    return dict.fromkeys(ids, "looked at again")


def _refresh(connection: Connection, ids: Sequence[str], _visit: Visit, said: Said) -> Outcomes:
    operating.refresh(connection, ids, said)
    return dict.fromkeys(ids, "asked for at Junction within seconds")


def _cancel(connection: Connection, ids: Sequence[str], visit: Visit, said: Said) -> Outcomes:
    fee_accepted = "fee_accepted" in visit.form
    against = operating.cancel(connection, POLICY, ids, said, fee_accepted=fee_accepted)
    return {id_: CANCELLING if why is None else SKIPPED + why for id_, why in against.items()}


DEEDS: Mapping[str, Deed] = {
    "hold": Deed(
        "Hold from auto-cancel",
        "Hold",
        (
            "No rule cancels this order, nor its appointment, until somebody releases it.",
            "A call that is on its way to Junction already cannot be called back.",
        ),
        _held_or_ended,
        _sparing(_held_or_ended, _hold),
    ),
    "release": Deed(
        "Release the hold",
        "Release",
        ("Rules act on this order again. It is looked at now; what is due is done.",),
        _not_held,
        _sparing(_not_held, _release),
    ),
    "evaluate": Deed(
        "Re-evaluate",
        "Re-evaluate",
        (
            "It is decided on afresh by the active policy, within seconds.",
            "If a rule may be due, the order is asked for at Junction first.",
            "If a rule that enforces is due, it acts. Ended orders are left alone.",
        ),
        _ended,
        _sparing(_ended, _evaluate),
    ),
    "refresh": Deed(
        "Refresh from Junction",
        "Refresh",
        (
            "The order and its appointment are asked for at Junction within seconds, even if no rule is due.",
            "What has changed is stored. A rule that is due by then acts, as it would after a webhook.",
        ),
        _nobody,
        _refresh,
    ),
    "cancel": Deed(
        "Cancel now",
        "Cancel at Junction",
        (
            "The order is asked for at Junction once more and cancelled, whatever the rules say.",
            "If a hard guard stands against it then, it is left alone. The decision tells what came of it.",
            "Junction texts the patient, at any hour. Only Junction's support can reinstate the order.",
        ),
        _not_cancellable,
        _cancel,
        role="admin",
        danger=True,
    ),
}

# --- one order ---------------------------------------------------------------------------------------------

SLOT_STAYS = "The appointment at the service centre stays booked, and has to be cancelled there."
NOT_REFUNDED = f"needs {REFUND.demands}"


def ask(visit: Visit, *, deed: Deed) -> Response:
    with visit.desk.reading() as connection:
        row = _row(visit, connection)
        facts, against = [("Order", row["id"]), ("Status", row["status"] or "none yet")], []
        if deed.danger:
            facts += _before_cancelling(connection, row["id"])
            found = operating.stands_against(connection, POLICY, [row["id"]], visit.now)[row["id"]]
            facts += [("Not known before the look", one.why) for one in found if not one.sure]
            against = [one.why for one in found if one.sure]
    plan = (row["outlook"] or "none yet").replace("_", " ")
    facts.append(("Plan", f"{plan} by {row['outlook_rule']}" if row["outlook_rule"] else plan))
    hint = {**HINTS, "walk_in_test": SLOT_STAYS}.get(row["method"], "") if deed.danger else ""
    return visit.render(
        "confirm_orders.html",
        title=deed.title,
        back=(f"/orders/{row['id']}", f"Order {row['id'][:8]}"),
        facts=facts,
        what=(*deed.what, *([hint] if hint else [])),
        button=deed.button,
        danger=deed.danger,
        ask_reason=True,
        ask_password=deed.danger,
        type_number=None,
        fee="The fee of the visit is accepted." if NOT_REFUNDED in against else "",
        blocked=[why for why in against if why != NOT_REFUNDED],
    )


def carry_out(visit: Visit, *, deed: Deed) -> Response:
    reason = visit.reason()
    with visit.desk.reading() as connection:
        order_id = _row(visit, connection)["id"]
    if deed.danger:
        visit.reauthenticate(deed.title.lower(), order_id)
    with visit.desk.writing() as connection:
        words = deed.do(connection, [order_id], visit, Said(visit.session.user, reason, visit.now))[order_id]
    why = words.removeprefix(SKIPPED)
    return visit.go(f"/orders/{order_id}", f"It is {words}." if why == words else f"Not done: {why}.")


def _before_cancelling(connection: Connection, order_id: str) -> Iterator[tuple[str, str]]:
    order = orders.load(connection, [order_id])[order_id].order
    verdict = verdict_of(order)
    yield "Window", f"{verdict.text}. {verdict.reason}"
    if isinstance(slot := order.appointment, Appointment):
        start = f", starts {slot.start:%d %b %Y %H:%M} UTC" if slot.start else ""
        yield "Appointment", f"{slot.kind.replace('_', ' ')}, {slot.status}{start}"
    if order.facts.origin:
        yield "Origin", order.facts.origin


def _row(visit: Visit, connection: Connection) -> RowMapping:
    row = reads.order_row(connection, str(visit.path["id"]))
    if row is None:
        raise not_found("order of that id")
    return row


# --- many orders -------------------------------------------------------------------------------------------

KIND = "orders:"
PREVIEWS = "/orders/previews"

# The filter of a list's query; None: it is not understood.
ReadFilter = Callable[[Connection, Sequence[tuple[str, str]]], OrderFilter | None]


def choose(visit: Visit, *, read_filter: ReadFilter) -> Response:
    """Keeps the chosen orders, or all that fit the list's filter now, and leads to what would come of it."""
    action = visit.form.get("action", "")
    if action not in DEEDS:
        raise HTTPException(400, "There is no such action.")
    visit.needs(DEEDS[action].role)
    with visit.desk.writing() as connection:
        ids = [row["id"] for row in reads.states_of(connection, visit.form.getlist("id"))]
        if "all" in visit.form:
            wanted = read_filter(connection, parse_qsl(visit.form["all"]))
            if wanted is None:
                raise HTTPException(400, "One of these filters is wrong; the list says which.")
            ids = reads.ids_of_orders(connection, wanted, MOST_IDS)
        preview_id = bulk.freeze(connection, visit, KIND + action, ids)
    return visit.go(f"{PREVIEWS}/{preview_id}")


def show_chosen(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        preview = bulk.find(connection, visit, KIND)
        deed = DEEDS[preview.action.removeprefix(KIND)]
        if preview.done_at is not None:
            outcomes = Counter(preview.result or {})
            return visit.render(
                "orders_done.html",
                preview=preview,
                title=deed.title,
                outcomes=outcomes.most_common(),
                missed=len(preview.ids) - outcomes.total(),
                after=[("What becomes of them", "/decisions?verdict=cancel")]
                if CANCELLING in outcomes
                else [],
            )
        names = Counter(row["status_name"] for row in reads.states_of(connection, preview.ids))
        spared = Counter(deed.spared(connection, preview.ids, visit).values())
    chosen, left = len(preview.ids), len(preview.ids) - spared.total()
    lost = spared[NOT_REFUNDED]
    return visit.render(
        "confirm_orders.html",
        title=f"{deed.title}: {chosen:,} {'order' if chosen == 1 else 'orders'}",
        back=("/orders", "Orders"),
        facts=[
            ("Chosen", f"{chosen:,}, the newest of all that fit" if chosen == MOST_IDS else f"{chosen:,}"),
            *((name or "no status yet", f"{count:,}") for name, count in names.most_common()),
            *((f"Skipped: {why}", f"{count:,}") for why, count in spared.most_common()),
        ],
        what=("For each of them:", *deed.what),
        button=f"{deed.button}: {left:,}",
        danger=deed.danger,
        ask_reason=True,
        ask_password=deed.danger,
        type_number=bulk.number_to_type(preview, danger=deed.danger),
        fee=f"The fees of the {lost:,} that are not refunded are accepted." if lost else "",
        blocked=[] if left or lost else ["there is none among them to which this could be done"],
    )


def carry_out_chosen(visit: Visit) -> Response:
    """Does what was shown, to those that were shown, once; a second confirmation only shows the result."""
    reason = visit.reason()
    with visit.desk.reading() as connection:
        preview = bulk.find(connection, visit, KIND)
    action = preview.action.removeprefix(KIND)
    deed, target = DEEDS[action], f"{len(preview.ids)} orders"
    visit.needs(deed.role)
    bulk.check_number(visit, bulk.number_to_type(preview, danger=deed.danger))
    if deed.danger:
        visit.reauthenticate(deed.title.lower(), target)
    address = f"{PREVIEWS}/{preview.id}"
    if not bulk.claim(visit, preview):
        return visit.go(address, bulk.DONE_BEFORE)
    said, came = Said(visit.session.user, reason, visit.now), Counter[str]()
    try:
        for some in _batches(preview.ids):
            with visit.desk.writing() as connection:
                so_far = came + Counter(deed.do(connection, some, visit, said).values())
                previews.note_result(connection, preview.id, so_far)
            came = so_far
    finally:
        with visit.desk.writing() as connection:
            after = {"preview": preview.id, **came}
            visit.audit(connection, f"{action}_many", target, reason=reason, after=after)
    return visit.go(address)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + BATCH] for at in range(0, len(ids), BATCH))


def addresses(read_filter: ReadFilter) -> tuple[Address, ...]:
    return (
        Address(PREVIEWS, post=partial(choose, read_filter=read_filter)),
        Address(f"{PREVIEWS}/{{id}}", get=show_chosen, post=carry_out_chosen),
        *(
            Address(
                f"/orders/{{id}}/{name}",
                get=partial(ask, deed=deed),
                post=partial(carry_out, deed=deed),
                role=deed.role,
            )
            for name, deed in DEEDS.items()
        ),
    )
