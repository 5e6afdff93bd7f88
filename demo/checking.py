"""How an order ended by our own records, and whether that is what the sandbox says and the story wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from demo.cast import Ending, Story
from demo.laboratory import Call

# What a decision's verdict and state amount to, the most telling first: an order may have had several.
READ_AS = {
    ("cancel", "confirmed"): Ending.CANCELLED,
    ("cancel", "refused"): Ending.REFUSED,
    ("cancel", "partial"): Ending.FAILED,
    ("cancel", "failed"): Ending.FAILED,
    ("review", "open"): Ending.REVIEW,
    ("shadow", "final"): Ending.SHADOW,
    ("cancel", "dropped"): Ending.BLOCKED,
    ("keep", "final"): Ending.BLOCKED,
}
RANKS = {read: rank for rank, read in enumerate(READ_AS)}


@dataclass(frozen=True, slots=True)
class Told:
    """What our decisions say became of an order."""

    ending: Ending
    rule: str | None
    reason: str


def ending_of(decisions: Iterable[Mapping[Any, Any]]) -> Told | None:
    """None as long as nothing has been decided for good."""
    ended = [row for row in decisions if (row["verdict"], row["state"]) in READ_AS]
    if not ended:
        return None
    row = min(ended, key=lambda row: RANKS[row["verdict"], row["state"]])
    ending = READ_AS[row["verdict"], row["state"]]
    if ending is Ending.CANCELLED and row["action"] != "cancel_order":
        ending = Ending.SLOT
    return Told(ending, row["rule"], row["reason"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """An order at the end: what we say of it, and what the sandbox says. `calls`: all of ours about it."""

    story: Story
    told: Told
    our_status: str | None
    true_status: str | None
    calls: tuple[Call, ...]

    @property
    def as_wanted(self) -> bool:
        return (self.told.ending, self.told.rule) == (self.story.ending, self.story.rule)


CALLED_IN = {Ending.CANCELLED, Ending.REFUSED}  # every other ending is one without a call


def wrong_with(outcome: Outcome) -> Iterator[str]:
    """Each thing that does not agree, in words."""
    story, told = outcome.story, outcome.told
    if not outcome.as_wanted:
        yield f"wanted {story.ending} by {story.rule}, got {told.ending} by {told.rule}: {told.reason}"
    if outcome.our_status != outcome.true_status:
        yield f"we say it is {outcome.our_status}, the sandbox says {outcome.true_status}"
    cancels = [call for call in outcome.calls if call.operation == "cancel_order"]
    applied = [call for call in cancels if call.applied]
    if len(applied) != (told.ending is Ending.CANCELLED):
        yield f"we say {told.ending}; cancellations at the sandbox: {len(applied)}"
    if applied and cancels[-1] is not applied[0]:
        yield "called again after the cancellation had been applied"
    if bool(cancels) != (told.ending in CALLED_IN):
        yield f"we say {told.ending}; calls to cancel it at the sandbox: {len(cancels)}"
    slots = sum(call.operation == "cancel_psc_appointment" and call.applied for call in outcome.calls)
    if slots != story.slot_goes:
        yield f"cancellations of its appointment at the sandbox: {slots}"
