"""Settings: what is wrong is said at once, by name, with what to do; a secret is never shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from receiver.settings import Settings
from workers.configuration import BadSettings, describe, load

if TYPE_CHECKING:
    from tests.receiver.conftest import Clock, SomeSettings

WHSEC = "whsec_dHdlbnR5LWZvdXIgYnl0ZXMgb2Yga2V5"
GOOD = {
    "DATABASE_URL": "postgresql://app:hunter2@db/autocancel",
    "REDIS_URL": "redis://:hunter2@queue/0",
    "AUTOCANCEL_HASH_KEY": "hunter2 hunter2 hunter2",
    "AUTOCANCEL_TEAM_ID": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
    "AUTOCANCEL_WEBHOOK_SECRETS": f"main={WHSEC}",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing but the good settings."""
    for name in os.environ:
        if name.startswith("AUTOCANCEL_"):
            monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def problems() -> str:
    with pytest.raises(BadSettings) as error:
        load(Settings)
    return str(error.value)


@pytest.mark.usefixtures("environment")
def test_good_settings_are_loaded() -> None:
    settings = load(Settings)
    assert settings.database_url.get_secret_value() == GOOD["DATABASE_URL"]
    assert settings.keep.hash_key == b"hunter2 hunter2 hunter2"


@pytest.mark.usefixtures("environment")
def test_no_secret_is_printed() -> None:
    settings = load(Settings)
    printed = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in printed
    assert WHSEC not in printed


def test_everything_missing_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        environment.delenv(name)
    said = problems()
    for name in GOOD.keys() - {"AUTOCANCEL_TEAM_ID"}:
        assert name in said


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DATABASE_URL", "mysql://hunter2@db", "neither SQLite nor PostgreSQL"),
        ("REDIS_URL", "http://hunter2@queue", "not the address of a Redis"),
        ("AUTOCANCEL_HASH_KEY", "hunter2", "at least 16"),
        ("AUTOCANCEL_TEAM_ID", "hunter2", "UUID"),
        ("AUTOCANCEL_ENVIRONMENT", "hunter2", "'sandbox' or 'production'"),
        ("AUTOCANCEL_WEBHOOK_SECRETS", "main=hunter2;=hunter2", "secret 2 has no label"),
        ("AUTOCANCEL_WEBHOOK_SECRETS", f"main={WHSEC},environment=production", "environment"),
        ("AUTOCANCEL_PORT", "http", "valid integer"),
        ("AUTOCANCEL_KEEP_STATE", "perhaps", "valid boolean"),
        ("AUTOCANCEL_METRICS_TOKEN", "hunter2", "at least 16"),
    ],
)
def test_a_wrong_value_is_named_but_not_repeated(
    environment: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    environment.setenv(name, value)
    said = problems()
    assert name in said
    assert expected in said
    assert "hunter2" not in said
    assert WHSEC not in said


def test_the_secrets_come_from_one_place(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("AUTOCANCEL_WEBHOOK_SECRETS_FILE", str(tmp_path / "secrets"))
    assert "set either this or AUTOCANCEL_WEBHOOK_SECRETS_FILE" in problems()
    environment.delenv("AUTOCANCEL_WEBHOOK_SECRETS")
    assert "the file cannot be read: FileNotFoundError" in problems()
    (tmp_path / "secrets").write_text(f"main={WHSEC}")
    load(Settings)


def test_an_empty_variable_counts_as_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AUTOCANCEL_METRICS_TOKEN", "")
    assert load(Settings).metrics_token is None


def test_patient_data_is_kept_only_where_asked_for(some_settings: SomeSettings, clock: Clock) -> None:
    usual = {"DATABASE_URL": "sqlite://", "REDIS_URL": "redis://queue"}
    keep = some_settings(**usual).keep
    assert (keep.birth_date, keep.state, keep.passthrough) == (False, False, False)
    keep = some_settings(**usual, keep_state=True).keep
    assert (keep.birth_date, keep.state, keep.passthrough) == (False, True, False)


def test_every_setting_says_what_changes_with_it() -> None:
    described = describe(Settings)
    assert all(field.description for field in Settings.model_fields.values())
    assert "AUTOCANCEL_WEBHOOK_SECRETS (default: None)" in described
    assert "DATABASE_URL (required)" in described
