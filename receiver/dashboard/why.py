"""Why a rule acts or does not: a stored trace (workers.core.trace) as cards ready to show. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Json = Mapping[str, Any]
Sign = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that has to be so. `becomes`: when it will surely be so; `until`: how long it stays so."""

    sign: Sign
    text: str
    actual: str
    becomes: datetime | None
    until: datetime | None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """One rule: what it says and all it looked at. `belts`: guards, rest and hours that hold; `against`:
    those that do not."""

    rule: str
    mode: str
    action: str
    verdict: str
    why: str
    expected: datetime | None
    due_since: datetime | None
    last: datetime | None
    last_by: str
    conditions: tuple[Line, ...]
    against: tuple[Line, ...]
    belts: tuple[Line, ...]
    notice: str
    spared_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """The look at Junction's order right before the decision. `changed`: what it changed, from what, to what;
    `same`: the status, if that did not change."""

    at: datetime | None
    same: str
    changed: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Why:
    """A whole trace. `first` is the rule a decision is about; `others` with what each lacks."""

    at: datetime | None
    look: Look | None
    status: str
    since: datetime | None
    held: bool
    next_look: datetime | None
    first: Card | None
    others: tuple[Card, ...]
    left_out: tuple[tuple[str, str], ...]


def why(trace: Json, rule: str | None) -> Why:
    """Old traces may lack what later versions write; what is missing is left out."""
    cards = [_card(traced) for traced in trace.get("rules", ())]
    first = next((card for card in cards if card.rule == rule), None)
    return Why(
        at=_time(trace.get("at")),
        look=_look(trace) if "fresh_look" in trace else None,
        status=trace.get("status") or "no status",
        since=_time(trace.get("since")),
        held=bool(trace.get("held")),
        next_look=_time(trace.get("next_look")),
        first=first,
        others=tuple(card for card in cards if card is not first),
        left_out=tuple((left["rule"], left["why"]) for left in trace.get("left_out", ())),
    )


def _look(trace: Json) -> Look:
    told = trace["fresh_look"] or {"before": {}, "after": {}}
    before, after = told["before"], told["after"]
    return Look(
        at=_time(trace.get("at")),
        same="" if "status" in after else trace.get("status") or "no status",
        changed=tuple((key.replace("_", " "), _plain(before[key]), _plain(after[key])) for key in after),
    )


def _plain(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _card(traced: Json) -> Card:
    needs = list(_needs(traced))
    return Card(
        rule=traced["rule"],
        mode=traced["mode"],
        action=traced["action"],
        verdict=traced["verdict"],
        why=traced.get("why") or "",
        expected=_time(traced.get("expected")),
        due_since=_time(traced.get("due_since")),
        last=_time(traced.get("last")),
        last_by=traced.get("last_by") or "",
        conditions=tuple(_conditions(traced)),
        against=tuple(line for line in needs if line.sign != "yes"),
        belts=tuple(line for line in needs if line.sign == "yes"),
        notice=_notice(traced.get("notice")),
        spared_by=(
            *(f"exempt by {name}" for name in traced.get("exempt", ())),
            *(f"kept by {name}" for name in traced.get("kept_by", ())),
        ),
    )


def _conditions(traced: Json) -> Iterator[Line]:
    for condition in traced.get("when", ()):
        yield from _condition(condition, "", 0)
    for condition in traced.get("unless", ()):
        yield from _condition(condition, "unless ", 0)


def _condition(condition: Json, prefix: str, depth: int) -> Iterator[Line]:
    yield _line(prefix + condition["text"], condition, depth)
    for part in condition.get("parts", ()):
        yield from _condition(part, "", depth + 1)


def _needs(traced: Json) -> Iterator[Line]:
    for guard in traced.get("guards", ()):
        yield _line(guard["demands"], guard)
    for key, text in (
        ("settled", "quiet since the newest event"),
        ("slot", "no PSC slot in the way"),
        ("hours", "hours in which to act"),
    ):
        if moment := traced.get(key):
            yield _line(text, moment)


def _line(text: str, moment: Json, depth: int = 0) -> Line:
    said, needed = moment["now"], moment.get("needed", "yes")
    sign: Sign = "yes" if said == needed else "unknown" if said == "unknown" else "no"
    holds = sign == "yes"
    return Line(
        sign=sign,
        text=text,
        actual=moment.get("actual") or "",
        becomes=None if holds else _time(moment.get("becomes")),
        until=_time(moment.get("until")) if holds else None,
        depth=depth,
    )


def _notice(notice: Json | None) -> str:
    if notice is None:
        return ""
    if notice.get("delivered_at"):
        return f"Notice of {notice['length']} was delivered."
    return f"Notice of {notice['length']}: " + (
        "sent, not delivered yet." if notice["sent"] else "not sent yet."
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
