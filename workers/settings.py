"""Settings of the processes that work: worker, clock and command line."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from uuid import UUID

from pydantic import Field, SecretStr, model_validator

from workers.configuration import Patients, Variables
from workers.junction import WrongAddress, check_address, environment_of


class JunctionSettings(Variables):
    """Enough to ask Junction."""

    junction_base_url: str = Field(
        validation_alias="JUNCTION_BASE_URL",
        description="https://api.us.junction.com, api.eu, api.sandbox.us or api.sandbox.eu.",
    )
    junction_api_key: SecretStr = Field(
        validation_alias="JUNCTION_API_KEY",
        description="pk_… for production, sk_… for the sandbox. Only worker and clock ever see it.",
    )

    @model_validator(mode="after")
    def _key_fits_address(self) -> Self:
        try:
            check_address(self.junction_base_url, self.junction_api_key.get_secret_value())
        except WrongAddress as wrong:
            raise ValueError(f"JUNCTION_BASE_URL: {wrong}") from None
        return self


class Settings(Patients, JunctionSettings):
    """Worker and clock."""

    team_id: UUID = Field(description="Your team at Junction. Orders of other teams are never cancelled.")
    policy: Path = Field(description="The rules, a YAML file. Read again when it changes.")
    threads: int = Field(default=8, ge=1, le=64, description="Messages worked on at once in this process.")
    calls_per_second: float = Field(
        default=5.0, gt=0, description="Calls to Junction, all workers together, on average."
    )
    calls_at_once: int = Field(default=10, ge=1, description="Calls to Junction that may come in one burst.")
    tick_seconds: float = Field(
        default=0.5, gt=0, le=60, description="How often the clock looks for what is due."
    )
    call_seconds: float = Field(
        default=12.0, gt=0, le=30, description="So long a call to Junction may take before it counts as lost."
    )
    second_call_seconds: float = Field(
        default=900.0,
        ge=1,
        description="A cancel that nothing proves is sent a second time, and a last, no sooner than this.",
    )
    alarm_seconds: float = Field(
        default=300.0, ge=1, description="A cancel that nothing proves for so long is told to people."
    )
    lease_seconds: int = Field(
        default=60, ge=2, description="So long the work of a worker that died waits; more than a call takes."
    )
    keep_bodies_days: int = Field(
        default=30, ge=1, description="After so many days the trimmed body of a projected delivery goes."
    )
    keep_ids_days: int = Field(
        default=120, ge=90, description="After so many days a delivery's id may go; Junction resends for 90."
    )

    @model_validator(mode="after")
    def _key_fits_place(self) -> Self:
        key = self.junction_api_key.get_secret_value()
        if environment_of(key) not in {None, self.environment}:
            raise ValueError(
                f"AUTOCANCEL_ENVIRONMENT is {self.environment}, JUNCTION_API_KEY is for {environment_of(key)}"
            )
        return self
