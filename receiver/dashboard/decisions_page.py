"""Decisions: the list, and one with everything it was made of. Review items are answered here."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import Connection, RowMapping
from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard.case_yaml import as_test_case
from receiver.dashboard.desk import Desk
from receiver.dashboard.filters import Asked, Choice, Day, Field, Flag, Text, read_filters
from receiver.dashboard.hindsight import case_of
from receiver.dashboard.order_page import POLICY, read_policy
from receiver.dashboard.page import Address, Page
from receiver.dashboard.visit import Visit, not_found
from receiver.dashboard.why import why
from workers import operating
from workers.operating import Outcome, Said
from workers.store import orders, reads
from workers.store.reads import DecisionFilter

ROWS = 45  # of up to 1.3 kB each
BIGGEST_ID = 2**63 - 1

VERDICTS = {name: name for name in ("cancel", "review", "shadow", "keep", "wait", "blocked", "held", "error")}
STATES = {
    "open": "waits for a person",
    "acting": "acting",
    "confirmed": "confirmed",
    "refused": "refused by Junction",
    "failed": "failed",
    "partial": "half done",
    "blocked": "blocked",
    "declined": "declined",
    "dropped": "dropped in time",
    "lapsed": "lapsed",
    "final": "final",
}


def fields(rule_names: list[str]) -> tuple[Field, ...]:
    return (
        Choice("verdict", "verdict", VERDICTS),
        Choice("state", "state", STATES),
        Choice("rule", "rule", {name: name for name in rule_names}),
        Text("order", "order"),
        Day("from", "from"),
        Day("to", "until", end=True),
        Flag("changed", "other verdict than under the policy before"),
    )


def wanted(asked: Asked) -> DecisionFilter:
    return DecisionFilter(
        verdicts=asked.all("verdict"),
        states=asked.all("state"),
        rules=asked.all("rule"),
        order_id=asked.one("order") or "",
        at_from=asked.one("from"),
        at_to=asked.one("to"),
        changed=bool(asked.one("changed")),
    )


# --- the list ----------------------------------------------------------------------------------------------


def show_decisions(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        choices = fields(reads.rule_names(connection))
        asked = read_filters(visit.request.query_params.multi_items(), choices)
        named = {choice.name: choice for choice in choices}
        if asked.wrong:
            return visit.render("decisions.html", status=400, **_nothing(asked, named))
        found = wanted(asked)
        before, after, since = (_number(visit, name) for name in ("before", "after", "since"))
        news = len(reads.list_decisions(connection, found, after=since)) if since is not None else 0
        if visit.region == "news":
            return visit.render("decisions.html", asked=asked, news=news)
        rows = reads.list_decisions(connection, found, before=before, after=after, limit=ROWS + 1)
        shown = rows[-ROWS:] if after is not None else rows[:ROWS]
        more = len(rows) > ROWS
        moved = before is not None or after is not None
        return visit.render(
            "decisions.html",
            asked=asked,
            choices=named,
            rows=shown,
            did=reads.actions_of_decisions(connection, [row["id"] for row in shown]),
            total=reads.count_decisions(connection, found),
            cap=reads.CAP,
            ever=bool(shown) or reads.count_decisions(connection) > 0,
            states=STATES,
            news=news,
            here_since=asked.link(since=str(shown[0]["id"])) if shown and not moved else "",
            older=asked.link(before=str(shown[-1]["id"])) if shown and (more or after is not None) else "",
            newer=asked.link(after=str(shown[0]["id"]))
            if shown and (before is not None or (after is not None and more))
            else "",
        )


def _nothing(asked: Asked, choices: dict[str, Field]) -> dict[str, Any]:
    shown = {"asked": asked, "choices": choices, "rows": (), "did": {}, "states": STATES, "total": None}
    return {**shown, "cap": reads.CAP, "ever": True, "news": 0, "here_since": "", "older": "", "newer": ""}


def _number(visit: Visit, name: str) -> int | None:
    text = visit.query(name)
    if not text:
        return None
    if not text.isdecimal() or len(text) > 19 or int(text) > BIGGEST_ID:
        raise HTTPException(400, "This link leads nowhere: its place in the list cannot be read.")
    return int(text)


# --- one decision ------------------------------------------------------------------------------------------


def show_decision(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        row = _row(visit, connection)
        stored = orders.load(connection, [row["order_id"]]).get(row["order_id"])
        active = read_policy(connection)
        case = case_of(connection, active, stored.order, visit.now) if stored and active else None
        did = reads.actions_of_decisions(connection, [row["id"]]).get(row["id"], [])
        tried = reads.attempts_of_decision(connection, row["id"])
    return visit.render(
        "decision.html",
        row=row,
        why=why(row["trace"], row["rule"]),
        did=did,
        tried=tried,
        states=STATES,
        case=as_test_case(row, case) if case else "",
    )


def _row(visit: Visit, connection: Connection) -> RowMapping:
    number = int(visit.path["id"])
    row = reads.decision_row(connection, number) if number <= BIGGEST_ID else None
    if row is None:
        raise not_found("decision of that number")
    return row


# --- answering what is open --------------------------------------------------------------------------------

TITLES = {"approve": "Approve this cancellation", "decline": "Decline this cancellation"}
CONSEQUENCES = {
    "approve": (
        "The order is asked for at Junction once more; if the rule still holds, it is cancelled.",
        "Junction then texts the patient. Only Junction's support can reinstate a cancelled order.",
    ),
    "decline": ("It is not cancelled for this reason. Something new about the order may bring it up again.",),
}
HINTS = {
    "walk_in_test": "Cancelling a walk-in order leaves its appointment alone, unless the rule says so.",
    "at_home_phlebotomy": "A home visit is refunded in full only when cancelled more than 24 hours ahead.",
    "testkit": "Kits ordered before 13:00 Eastern usually ship the same business day: it may be too late.",
}


def ask_answer(visit: Visit) -> Response:
    answer = _answer(visit)
    with visit.desk.reading() as connection:
        row = _row(visit, connection)
        order = reads.order_row(connection, row["order_id"])
    hint = HINTS.get(order["method"], "") if order and answer == "approve" else ""
    return visit.render(
        "confirm.html",
        title=TITLES[answer],
        back=(f"/decisions/{row['id']}", f"Decision {row['id']}"),
        facts=[
            ("Order", row["order_id"]),
            ("Status now", (order and order["status"]) or "–"),
            ("Rule", row["rule"] or "–"),
            ("Asks for", (row["action"] or "–").replace("_", " ")),
        ],
        what=(*CONSEQUENCES[answer], *((hint,) if hint else ())),
        button=answer.capitalize(),
        danger=answer == "approve",
        ask_reason=True,
        type_number=None,
    )


def answer_it(visit: Visit) -> Response:
    """Approved: the clock finds the planned step. Twice is harmless: the second finds it no longer open."""
    answer = _answer(visit)
    said = Said(visit.session.user, visit.reason(), visit.now)
    with visit.desk.writing() as connection:
        number = _row(visit, connection)["id"]
        if answer == "approve":
            outcome = operating.approve(connection, POLICY, number, said)
        else:
            outcome = operating.decline(connection, number, said)
    done = {"approve": "Approved. It goes ahead now.", "decline": "Declined."}[answer]
    return visit.go(
        f"/decisions/{number}", done if outcome is Outcome.DONE else f"Not done: {outcome.value}."
    )


def _answer(visit: Visit) -> Literal["approve", "decline"]:
    match visit.path["answer"]:
        case "approve":
            return "approve"
        case "decline":
            return "decline"
        case _:
            raise not_found("such answer")


# --- for the list of pages ---------------------------------------------------------------------------------


def decisions_topic(desk: Desk, _key: str) -> object:
    with desk.reading() as connection:
        return reads.decisions_mark(connection)


def find_decision(connection: Connection, text: str) -> str | None:
    if not text.isdecimal() or len(text) > 18 or reads.decision_row(connection, int(text)) is None:
        return None
    return f"/decisions/{int(text)}"


PAGE = Page(
    label="Decisions",
    path="/decisions",
    icon="decisions",
    key="d",
    addresses=(
        Address("/decisions", get=show_decisions),
        Address("/decisions/{id:int}", get=show_decision),
        Address("/decisions/{id:int}/{answer}", get=ask_answer, post=answer_it),
    ),
    topics={"decisions": decisions_topic},
    finders={"decision": find_decision},
)
