"""The receiver's settings, read from the environment; everything wrong with them is said at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from receiver.keyring import SecretFile, read_secrets
from receiver.signature import Secret
from receiver.webhooks import Limits
from workers.configuration import Patients


class Settings(Patients):
    """A field is the variable of its name in capitals after AUTOCANCEL_, or its alias."""

    webhook_secrets_file: Path | None = Field(
        default=None,
        description="A file of items as in AUTOCANCEL_WEBHOOK_SECRETS, one a line. Read again when changed.",
    )
    webhook_secrets: SecretStr | None = Field(
        default=None,
        description="What deliveries are signed with: label=whsec_…[,team=…][,environment=…][,expires=…]; …",
    )
    host: str = Field(
        default="127.0.0.1",
        description="The address to listen on; 0.0.0.0 is every one of this machine.",
    )
    port: int = Field(
        default=8000,
        ge=0,
        le=65535,
        description="The port to listen on; 0 takes a free one.",
    )
    body_limit: int = Field(
        default=1 << 20,
        ge=1024,
        description="The largest body, in bytes; a larger one gets a 413.",
    )
    body_seconds: float = Field(
        default=10.0,
        gt=0,
        le=10,
        description="How long a body may take to come; a slower one gets a 408.",
    )
    tolerance_seconds: int = Field(
        default=300,
        ge=1,
        le=3600,
        description="How far the signing time may be from ours, either way.",
    )
    intake_room: int = Field(
        default=1000,
        ge=1,
        description="How many deliveries may wait for the store; those too many get a 503 at once.",
    )
    commit_seconds: float = Field(
        default=2.0,
        gt=0,
        le=10,
        description="How long each of them waits before it gets a 503.",
    )
    metrics: Literal["closed", "open"] = Field(
        default="closed",
        description="open shows /metrics to everybody who can reach the port.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Shows /metrics to whoever bears this token.",
    )

    @field_validator("webhook_secrets")  # the last of the four this looks at
    @classmethod
    def _secrets_can_be_used(cls, listed: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if not {"team_id", "environment", "webhook_secrets_file"} <= info.data.keys():
            return listed  # one of them is wrong, and that is said
        match listed, info.data["webhook_secrets_file"]:
            case SecretStr(), None:
                text = listed.get_secret_value()
            case None, Path() as path:
                text = _text_of(path)
            case _:
                raise ValueError("set either this or AUTOCANCEL_WEBHOOK_SECRETS_FILE")
        read_secrets(text, team_id=_text(info.data["team_id"]), environment=info.data["environment"])
        return listed

    @property
    def limits(self) -> Limits:
        return Limits(
            body=self.body_limit,
            body_time=timedelta(seconds=self.body_seconds),
            tolerance=timedelta(seconds=self.tolerance_seconds),
        )

    def open_keyring(self, on_bad: Callable[[], None]) -> Callable[[datetime], Sequence[Secret]]:
        """Tells the secrets in use at a time. `on_bad`: a new version of their file cannot be used."""
        read = partial(read_secrets, team_id=_text(self.team_id), environment=self.environment)
        if self.webhook_secrets_file:
            return SecretFile(self.webhook_secrets_file, read, on_bad).current
        assert self.webhook_secrets
        secrets = read(self.webhook_secrets.get_secret_value())
        return lambda _now: secrets


def _text(team: UUID | None) -> str | None:
    return str(team) if team else None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"the file cannot be read: {type(error).__name__}") from None
