"""What one sandbox is told at start. No clock of its own: `now` is handed in."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

API_KEY = "sk_us_sandbox"
TEAM_ID = UUID("6b1c9a52-7f1e-4a53-9f0c-2f5c8d1f0a11")
SECRET = "whsec_c2FuZGJveC13ZWJob29rLXNlY3JldC0wMDE="  # noqa: S105 - signs fake events on loopback only

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one sandbox.

    now: the clock, timezone-aware UTC.
    webhook_url: where events go; None sends nothing.
    secrets: `whsec_` + base64; with two, every delivery carries both signatures, as during a rotation.
    header_family: prefix of the signature headers.
    time_scale: how many times faster than real the simulation's waits pass.
    retry_scale: factor on the waits between delivery attempts; 0.001 turns 5 s into 5 ms.
    attempt_timeout: seconds the receiver has to answer one attempt.
    psc_scheduling: False answers every PSC call with 503, as for a team without scheduling.
    cancel_answer: "wrapped" is `{order, status, message}`, "bare" the order alone.
    seed: makes the faults' dice repeatable.
    """

    now: Clock
    api_key: str = API_KEY
    team_id: UUID = TEAM_ID
    webhook_url: str | None = None
    secrets: tuple[str, ...] = (SECRET,)
    header_family: Literal["svix", "webhook"] = "svix"
    time_scale: float = 1.0
    retry_scale: float = 1.0
    attempt_timeout: float = 15.0
    psc_scheduling: bool = True
    cancel_answer: Literal["wrapped", "bare"] = "wrapped"
    seed: int | None = None
