"""What the settings of every process have in common, and how mistakes in them are told: all at once, by the
variable's name, never with its value."""

from __future__ import annotations

from typing import Literal, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from workers.core.events import Keep

PREFIX = "AUTOCANCEL_"


class BadSettings(Exception):
    """The process cannot start; the message names each variable and what to do about it, and no value."""


class Variables(BaseSettings):
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


class StoreSettings(Variables):
    """Enough to read and write the store."""

    database_url: SecretStr = Field(
        validation_alias="DATABASE_URL",
        description="The store: sqlite:////folder/autocancel.db or postgresql://user:password@host/name.",
    )

    @field_validator("database_url")
    @classmethod
    def _is_a_database_we_know(cls, url: SecretStr) -> SecretStr:
        backend = url.get_secret_value().partition(":")[0].partition("+")[0]
        if backend not in {"sqlite", "postgres", "postgresql"}:
            raise ValueError("is the address of neither SQLite nor PostgreSQL")
        return url


class Common(StoreSettings):
    """What every long-running process needs."""

    redis_url: SecretStr = Field(
        validation_alias="REDIS_URL",
        description="The queue: redis://host:6379/0. Deliveries are accepted while it is away.",
    )

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis(cls, url: SecretStr) -> SecretStr:
        if urlsplit(url.get_secret_value()).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("is not the address of a Redis")
        return url


class Patients(Common):
    """For processes that see what Junction says of patients: whose it is, and what of it may be kept."""

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
        description="Which Junction this is about. Keys and secrets of the other are refused.",
    )
    keep_birth_date: bool = Field(default=False, description="Stores dates of birth, for rules about age.")
    keep_state: bool = Field(default=False, description="Stores the patient's state, for rules about it.")
    keep_passthrough: bool = Field(
        default=False,
        description="Stores what your platform passed through its orders, for rules about it.",
    )

    @property
    def keep(self) -> Keep:
        return Keep(
            hash_key=self.hash_key.get_secret_value().encode(),
            birth_date=self.keep_birth_date,
            state=self.keep_state,
            passthrough=self.keep_passthrough,
        )

    @property
    def kept_facts(self) -> frozenset[str]:
        """The facts that a policy may ask about."""
        kept = {
            "birth_date": self.keep_birth_date,
            "state": self.keep_state,
            "passthrough": self.keep_passthrough,
        }
        return frozenset(name for name, allowed in kept.items() if allowed)


S = TypeVar("S", bound=Variables)


def load(kind: type[S]) -> S:
    """The settings of this process from its environment. Raises BadSettings."""
    try:
        return kind()
    except ValidationError as error:
        problems = [_describe_problem(kind, problem["loc"], problem["msg"]) for problem in error.errors()]
        raise BadSettings("\n".join(problems)) from None


def describe(kind: type[Variables]) -> str:
    """Every variable, its default and its meaning."""
    return "\n".join(
        f"  {variable(kind, name)} ({'required' if field.is_required() else f'default: {field.default}'})\n"
        f"      {field.description}"
        for name, field in kind.model_fields.items()
    )


def variable(kind: type[Variables], field: str) -> str:
    return str(kind.model_fields[field].validation_alias or PREFIX + field.upper())


def _describe_problem(kind: type[Variables], location: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ").replace("Field required", "is not set")
    for name, field in kind.model_fields.items():
        if location and location[0] in {name, field.validation_alias}:
            return f"  {variable(kind, name)}: {message}\n      {field.description}"
    return f"  {message}"  # about several of them together
