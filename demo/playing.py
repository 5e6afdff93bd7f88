"""Plays the cast: places the orders one by one, lets things happen to them, and tells how each ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from demo.cast import Ending, Step, Story
from demo.checking import Outcome, Told, ending_of
from demo.laboratory import Laboratory
from workers.store import reads
from workers.store.database import reading

PLACE_EVERY = 0.4  # seconds
WATCH = 12.0  # seconds after the last step: longer than any rule waits, so that nothing can follow
PATIENCE = 40.0  # seconds after the last step in which something was to happen: longer than any time-out
SETTLE = 10.0  # seconds in which the last webhooks are to arrive and be worked into our rows

NOTHING_DECIDED = Told(Ending.KEPT, None, "nothing was decided about it")


@dataclass
class Part:
    """One story under way. Times in seconds, of the play's clock."""

    story: Story
    order_id: str
    placed: datetime
    started: float
    left: list[Step]
    called: dict[str, float] = field(default_factory=dict)  # operation -> when it was first seen in the log
    told: Told | None = None
    last_step: float = 0.0

    def is_due(self, step: Step, now: float) -> bool:
        base = self.started if step.upon is None else self.called.get(step.upon)
        return base is not None and now >= base + step.at


@dataclass
class Play:
    """`now` tells aware UTC time, `monotonic` seconds; `pause` returns a moment later."""

    cast: Sequence[Story]
    laboratory: Laboratory
    store: Engine
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    pause: Callable[[], None]
    parts: list[Part] = field(default_factory=list)

    def perform(self) -> Iterator[Part]:
        """Each part as soon as its ending is known. Over when all are, and nothing can follow any more."""
        opened = self.monotonic()
        while not self._is_over():
            if (
                len(self.parts) < len(self.cast)
                and self.monotonic() >= opened + len(self.parts) * PLACE_EVERY
            ):
                self.parts.append(self._place(self.cast[len(self.parts)]))
            for part in self.parts:
                self._take_steps(part)
            for part in self.parts:
                if part.told is None and (told := self._ending(part)) is not None:
                    part.told = told
                    yield part
            self.pause()

    def outcomes(self) -> list[Outcome]:
        """How everything stands once the last webhooks have arrived, or after some seconds."""
        deadline = self.monotonic() + SETTLE
        while not self._is_settled() and self.monotonic() < deadline:
            self.pause()
        truth, calls = self.laboratory.statuses(), self.laboratory.calls()
        return [
            Outcome(
                story=part.story,
                told=self._decided(part) or NOTHING_DECIDED,
                our_status=self._status(part),
                true_status=truth.get(part.order_id),
                calls=tuple(call for call in calls if call.order_id == part.order_id),
            )
            for part in self.parts
        ]

    def _place(self, story: Story) -> Part:
        order_id = self.laboratory.place(story.scene)
        now = self.monotonic()
        return Part(story, order_id, self.now(), now, list(story.steps), last_step=now)

    def _take_steps(self, part: Part) -> None:
        for operation in {step.upon for step in part.left if step.upon} - part.called.keys():
            if self.laboratory.calls(order_id=part.order_id, operation=operation):
                part.called[operation] = self.monotonic()
        for step in [step for step in part.left if part.is_due(step, self.monotonic())]:
            self.laboratory.ask(*step.request(part.order_id, part.placed, self.now()))
            part.left.remove(step)
            part.last_step = self.monotonic()

    def _ending(self, part: Part) -> Told | None:
        if (told := self._decided(part)) is not None:
            return told
        wait = WATCH if part.story.ending is Ending.KEPT else PATIENCE
        return NOTHING_DECIDED if self.monotonic() >= part.last_step + wait else None

    def _decided(self, part: Part) -> Told | None:
        with reading(self.store) as connection:
            return ending_of(reads.decisions_of(connection, part.order_id))

    def _status(self, part: Part) -> str | None:
        with reading(self.store) as connection:
            row = reads.order_row(connection, part.order_id)
        return row["status"] if row is not None else None

    def _is_over(self) -> bool:
        """A part whose call never came keeps steps it was to take upon it; its ending shows that."""
        return len(self.parts) == len(self.cast) and all(
            part.told is not None and self.monotonic() >= part.last_step + WATCH for part in self.parts
        )

    def _is_settled(self) -> bool:
        truth = self.laboratory.statuses()
        return not self.laboratory.webhooks_under_way() and all(
            self._status(part) == truth.get(part.order_id) for part in self.parts
        )
