"""Limits: how many orders may be acted on before a person looks. Counts in, a verdict out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from workers.core.policy import Limits, RuleLimits

HOUR, DAY = timedelta(hours=1), timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Counted:
    """Orders of one scope: acted on in the sliding windows, and due at this moment (this one included)."""

    last_hour: int
    last_day: int
    due: int


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One limit in force."""

    name: str
    most: int
    used: int


def ceilings(limits: Limits | RuleLimits, counted: Counted, open_today: int) -> Iterator[Ceiling]:
    """Every limit of a scope. `open_today`: orders open at the start of the day, for the share."""
    if limits.per_hour is not None:
        yield Ceiling("per_hour", limits.per_hour, counted.last_hour)
    if limits.per_day is not None:
        yield Ceiling("per_day", limits.per_day, counted.last_day)
    if isinstance(limits, Limits):
        share = math.floor(open_today * limits.share_of_open.value / 100)
        yield Ceiling(f"share_of_open {limits.share_of_open}", max(share, limits.floor), counted.last_day)


def exceeded(limits: Limits | RuleLimits, counted: Counted, open_today: int) -> Ceiling | None:
    """The first limit that what is due would exceed. Then nothing of it is done: not the first 25 of them."""
    return next(
        (c for c in ceilings(limits, counted, open_today) if c.used + counted.due > c.most),
        None,
    )


def room(limits: Limits | RuleLimits, counted: Counted, open_today: int) -> int:
    """How many more orders fit under every limit; what is due is not counted."""
    return max(0, min((c.most - c.used for c in ceilings(limits, counted, open_today)), default=0))
