"""Filters in the address of a list: read, shown as chips to take off, and called wrong when they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlencode

LONGEST_TEXT = 128
PLACES = frozenset({"before", "after", "since"})  # where in a list one is; no filters


class Field(Protocol):
    """One filter: its name in the address, its label, how a value is read (ValueError: what is wrong)."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    def read(self, value: str) -> object: ...
    def shown(self, value: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several words. `words`: value -> what people read."""

    name: str
    label: str
    words: Mapping[str, str]

    def read(self, value: str) -> object:
        if value not in self.words:
            raise ValueError("no such value")
        return value

    def shown(self, value: str) -> str:
        return self.words.get(value, value)


@dataclass(frozen=True, slots=True)
class Day:
    """A day or a time in UTC. A day as an `end` counts to its own end."""

    name: str
    label: str
    end: bool = False

    def read(self, value: str) -> object:
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("write a day like 2026-11-21") from None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        if not 2000 <= at.year < 2200:
            raise ValueError("that is not in our time")
        return at + timedelta(days=1) if self.end and len(value) == len("2026-11-21") else at

    def shown(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """On or not there."""

    name: str
    label: str

    def read(self, value: str) -> object:
        if value != "1":
            raise ValueError("write 1, or leave it out")
        return True

    def shown(self, value: str) -> str:
        return "" if value == "1" else value


@dataclass(frozen=True, slots=True)
class Text:
    """Anything short that can be printed."""

    name: str
    label: str

    def read(self, value: str) -> object:
        if len(value) > LONGEST_TEXT or not value.isprintable():
            raise ValueError("no id looks like that")
        return value.strip()

    def shown(self, value: str) -> str:
        return value[:LONGEST_TEXT]


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter as it stands in the address; `without` leads to the list without it."""

    label: str
    text: str
    wrong: str
    without: str


@dataclass(frozen=True, slots=True)
class Asked:
    """All filters of an address. `values` holds what was read, by name."""

    chips: tuple[Chip, ...] = ()
    values: Mapping[str, list[Any]] = field(default_factory=dict)
    query: str = ""  # the filters alone, for links

    @property
    def wrong(self) -> bool:
        return any(chip.wrong for chip in self.chips)

    def all(self, name: str) -> tuple[Any, ...]:
        return tuple(self.values.get(name, ()))

    def one(self, name: str) -> Any:
        """The last one given, or None."""
        return self.values[name][-1] if name in self.values else None

    def link(self, **places: str) -> str:
        """The same filters at another place of the list."""
        more = urlencode(places)
        return "?" + "&".join(part for part in (self.query, more) if part)


def read_filters(given: Sequence[tuple[str, str]], fields: Sequence[Field]) -> Asked:
    """`given`: names and values of the address, in their order. Empty values ask for nothing."""
    known = {each.name: each for each in fields}
    filters = [(name, value) for name, value in given if name not in PLACES and value.strip()]
    chips: list[Chip] = []
    values: dict[str, list[Any]] = {}
    for place, (name, value) in enumerate(filters):
        without = "?" + urlencode(filters[:place] + filters[place + 1 :])
        if name not in known:
            chips.append(Chip(name[:LONGEST_TEXT], value[:LONGEST_TEXT], "there is no such filter", without))
            continue
        wrong = ""
        try:
            found = known[name].read(value)
            values.setdefault(name, []).append(found)
        except ValueError as error:
            wrong = str(error)
        chips.append(Chip(known[name].label, known[name].shown(value), wrong, without))
    return Asked(tuple(chips), values, urlencode(filters))
