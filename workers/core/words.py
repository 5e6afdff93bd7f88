"""Small typed texts of the policy language: what a word may be, and how it is checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import ClassVar, Self
from zoneinfo import ZoneInfo, available_timezones


@dataclass(frozen=True, slots=True)
class Word:
    """One word. Subclasses with `words` admit only those."""

    text: str

    words: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with what is wrong."""
        if not text.strip():
            raise ValueError("an empty word")
        if cls.words and text not in cls.words:
            raise ValueError(f"unknown word {text!r}")
        return cls(text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day, `09:00`."""

    time: time

    pattern: ClassVar[str] = r"([01][0-9]|2[0-3]):[0-5][0-9]"
    example: ClassVar[str] = "09:00"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError when it is no `HH:MM`."""
        hours, _, minutes = text.partition(":")
        if len(hours) != 2 or len(minutes) != 2 or not (hours + minutes).isdigit():
            raise ValueError(f"{text!r} is not a time of day; write 09:00")
        return cls(time(int(hours), int(minutes)))

    def __str__(self) -> str:
        return f"{self.time:%H:%M}"


@dataclass(frozen=True, slots=True)
class Zone:
    """An IANA time zone, or `patient`: every zone of the patient's state."""

    name: str

    example: ClassVar[str] = "America/New_York"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for a zone that the time zone database does not have."""
        if text != "patient" and text not in available_timezones():
            raise ValueError(f"unknown time zone {text!r}; write one like America/New_York, or patient")
        return cls(text)

    @property
    def is_patient(self) -> bool:
        return self.name == "patient"

    @property
    def info(self) -> ZoneInfo:
        return ZoneInfo(self.name)

    def __str__(self) -> str:
        return self.name
