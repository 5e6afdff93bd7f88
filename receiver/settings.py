"""The receiver's settings, read from the environment; everything wrong with them is said at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from receiver.keyring import SecretFile, read_secrets
from receiver.signature import Secret
from receiver.webhooks import Limits
from workers.core.events import Keep

PREFIX = "AUTOCANCEL_"


class BadSettingsError(Exception):
    """The process cannot start; the message names each variable and what to do about it, and no value."""


class Settings(BaseSettings):
    """A field is the variable of its name in capitals after AUTOCANCEL_, or its alias."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_default=True,
    )

    database_url: SecretStr = Field(
        validation_alias="DATABASE_URL",
        description="The store: sqlite:////folder/autocancel.db or postgresql://user:password@host/name.",
    )
    redis_url: SecretStr = Field(
        validation_alias="REDIS_URL",
        description="The queue: redis://host:6379/0. Deliveries are accepted while it is away.",
    )
    hash_key: SecretStr = Field(
        min_length=16,
        description="At least 16 characters, to hide client_user_id with. With another key, users look new.",
    )
    team_id: UUID | None = Field(
        default=None,
        description="Your team at Junction. Events of other teams are counted, not read.",
    )
    environment: Literal["sandbox", "production"] = Field(
        default="sandbox",
        description="Which Junction sends here. Secrets marked for the other are refused.",
    )
    webhook_secrets_file: Path | None = Field(
        default=None,
        description="A file of items as in AUTOCANCEL_WEBHOOK_SECRETS, one a line. Read again when changed.",
    )
    webhook_secrets: SecretStr | None = Field(
        default=None,
        description="What deliveries are signed with: label=whsec_…[,team=…][,environment=…][,expires=…]; …",
    )
    keep_birth_date: bool = Field(
        default=False,
        description="Stores dates of birth, for rules about age.",
    )
    keep_state: bool = Field(
        default=False,
        description="Stores the patient's state, for rules about it.",
    )
    keep_passthrough: bool = Field(
        default=False,
        description="Stores what your platform passed through its orders, for rules about it.",
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

    @field_validator("database_url")
    @classmethod
    def _is_a_database_we_know(cls, url: SecretStr) -> SecretStr:
        backend = url.get_secret_value().partition(":")[0].partition("+")[0]
        if backend not in {"sqlite", "postgres", "postgresql"}:
            raise ValueError("is the address of neither SQLite nor PostgreSQL")
        return url

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis(cls, url: SecretStr) -> SecretStr:
        if urlsplit(url.get_secret_value()).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("is not the address of a Redis")
        return url

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
    def keep(self) -> Keep:
        return Keep(
            hash_key=self.hash_key.get_secret_value().encode(),
            birth_date=self.keep_birth_date,
            state=self.keep_state,
            passthrough=self.keep_passthrough,
        )

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


def load_settings() -> Settings:
    """The settings of this process. Raises BadSettingsError."""
    try:
        return Settings()  # type: ignore[call-arg]  # the environment has them
    except ValidationError as error:
        raise BadSettingsError(
            "\n".join(_describe_problem(problem["loc"][0], problem["msg"]) for problem in error.errors())
        ) from None


def describe_settings() -> str:
    """Every variable, its default and its meaning."""
    return "\n".join(
        f"  {_variable(name)} ({'required' if field.is_required() else f'default: {field.default}'})\n"
        f"      {field.description}"
        for name, field in Settings.model_fields.items()
    )


def _describe_problem(location: int | str, message: str) -> str:
    message = message.removeprefix("Value error, ").replace("Field required", "is not set")
    for name, field in Settings.model_fields.items():
        if location in {name, field.validation_alias}:
            return f"  {_variable(name)}: {message}\n      {field.description}"
    raise AssertionError(f"no setting is called {location}")


def _variable(field: str) -> str:
    return str(Settings.model_fields[field].validation_alias or PREFIX + field.upper())


def _text(team: UUID | None) -> str | None:
    return str(team) if team else None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"the file cannot be read: {type(error).__name__}") from None
