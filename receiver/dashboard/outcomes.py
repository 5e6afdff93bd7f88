"""What the policy has made of an order, or is going to, in the words of a list. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Tone = Literal["ok", "warn", "bad", "info", "plain"]

OUTLOOKS = {
    "will_cancel": "will cancel",
    "kept": "kept",
    "on_hold": "on hold",
    "decided": "decided",
    "never_legal": "too late to act",
    "unclear": "cannot be told yet",
    "backlog": "backlog, left alone",
    "reinstated": "reinstated",
    "unknown_status": "unknown status",
    "stopped": "waits for a start",
    "clock_skew": "clocks disagree",
    "quarantined": "set aside",
    "waits": "could not be looked at",
    "no_policy": "no policy",
    "closed": "ended",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the policy has made of an order, or is going to. `until`: when it acts."""

    text: str
    tone: Tone = "plain"
    icon: str = "dot"
    rule: str | None = None
    until: datetime | None = None


_ENDINGS: dict[str, tuple[str, Tone, str]] = {
    "confirmed": ("Cancelled", "ok", "ok"),
    "acting": ("Cancelling", "info", "clock"),
    "refused": ("Refused by Junction", "bad", "cross"),
    "failed": ("Failed", "bad", "warn"),
    "partial": ("Half done", "bad", "warn"),
    "open": ("Waits for a person", "warn", "eye"),
    "declined": ("Declined", "plain", "cross"),
    "dropped": ("Dropped in time", "plain", "dot"),
    "blocked": ("Blocked", "warn", "stop"),
    "lapsed": ("Lapsed", "plain", "dot"),
}


def outcome_of(row: Mapping[Any, Any], decision: Mapping[Any, Any] | None) -> Outcome:
    """In the words of a list. A decision that was acted on tells more than the plan made after it."""
    word = row["outlook"]
    ending = _ENDINGS.get(decision["state"]) if decision else None
    if decision and ending and word in {"closed", "decided", "kept", None}:
        return Outcome(*ending, rule=decision["rule"])
    match word:
        case "will_cancel":
            return Outcome("Will cancel", "warn", "clock", row["outlook_rule"], row["outlook_at"])
        case "on_hold":
            return Outcome("On hold", "info", "hold")
        case "closed":
            return Outcome("–")
        case None:
            return Outcome("Not planned yet")
        case "quarantined" | "clock_skew":
            return Outcome(OUTLOOKS[word].capitalize(), "bad", "warn", row["outlook_rule"])
        case "waits":
            why = (row["outlook_why"] or "tried again soon").replace("_", " ")
            return Outcome(f"Waits: {why}", "warn", "clock", row["outlook_rule"])
        case "reinstated" | "unknown_status" | "never_legal" | "stopped":
            return Outcome(OUTLOOKS[word].capitalize(), "warn", "warn", row["outlook_rule"])
        case _:
            return Outcome(OUTLOOKS.get(word, word).capitalize(), rule=row["outlook_rule"])
