"""The list of webhook secrets: how it is written, what is wrong with it, and how it changes while we run."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from receiver.keyring import BadSecretsError, SecretFile, read_secrets
from receiver.signature import Secret

if TYPE_CHECKING:
    from tests.receiver.conftest import Clock, OpenDoor

TEAM = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
OTHER_TEAM = "0f0f0f0f-0000-4000-8000-000000000001"
WHSEC = "whsec_dHdlbnR5LWZvdXIgYnl0ZXMgb2Yga2V5"
KEY = b"twenty-four bytes of key"
OLD_WHSEC = "whsec_YW4gb2xkZXIga2V5IG9mIG91cnM="
OLD_KEY = b"an older key of ours"

read = partial(read_secrets, team_id=TEAM, environment="sandbox")


def problem(text: str, team_id: str | None = TEAM) -> str:
    with pytest.raises(BadSecretsError) as error:
        read(text, team_id=team_id)
    return str(error.value)


def test_items_end_with_a_semicolon_or_their_line() -> None:
    written = f"""
        # since the move
        main={WHSEC}; old={OLD_WHSEC}   # until June
    """
    assert read(written) == (Secret("main", KEY, TEAM), Secret("old", OLD_KEY, TEAM))


def test_an_item_may_say_its_team_environment_and_end() -> None:
    written = f"x={WHSEC}, team={OTHER_TEAM.upper()}, environment=sandbox, expires=2026-06-01T02:00+02:00"
    assert read(written) == (Secret("x", KEY, OTHER_TEAM, datetime(2026, 6, 1, tzinfo=UTC)),)


def test_an_end_without_a_zone_is_utc() -> None:
    assert read(f"x={WHSEC},expires=2026-06-01")[0].expires_at == datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", "there is no secret"),
        ("# only a comment", "there is no secret"),
        (WHSEC, "has no label"),
        (f"={WHSEC}", "has no label"),
        (f"two words={WHSEC}", "has no label"),
        ("main=", "is not whsec_"),
        ("main=hunter2hunter2hunter2", "is not whsec_"),
        ("main=whsec_short", "is not whsec_"),
        ("main=whsec_c2hvcnQ=", "is not whsec_"),
        ("main=whsec_no base64 at all!", "is not whsec_"),
        ("main=whsec_ünïcödé", "is not whsec_"),
        (f"main={WHSEC},team=ours", "not a UUID"),
        (f"main={WHSEC},expires=soon", "not an ISO time"),
        (f"main={WHSEC},colour=blue", "unknown option"),
        (f"main={WHSEC},environment=production", "not of this environment"),
        (f"main={WHSEC};main={OLD_WHSEC}", "same label"),
    ],
)
def test_a_mistake_is_named_and_no_secret_shown(written: str, expected: str) -> None:
    said = problem(written)
    assert expected in said
    assert not any(part in said for part in (WHSEC, OLD_WHSEC, "hunter2", "c2hvcnQ"))


def test_all_mistakes_are_named_at_once_by_position() -> None:
    said = problem(f"main=x; good={WHSEC}; {WHSEC}")
    assert "secret 1 is not whsec_" in said
    assert "secret 3 has no label" in said
    assert "secret 2" not in said


def test_every_secret_has_a_team() -> None:
    assert "names no team" in problem(f"main={WHSEC}", team_id=None)


class TestAFileOfSecrets:
    """It is looked at once a second, and read again when it changed."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "secrets"
        path.write_text(f"old={OLD_WHSEC}")
        return path

    def test_a_new_secret_is_in_use_a_second_later(self, path: Path, clock: Clock) -> None:
        secrets = SecretFile(path, read, lambda: None)
        assert [secret.label for secret in secrets.current(clock.now)] == ["old"]
        path.write_text(f"old={OLD_WHSEC}\nnew={WHSEC}")
        clock.advance(0.5)
        assert [secret.label for secret in secrets.current(clock.now)] == ["old"]
        clock.advance(0.5)
        assert [secret.label for secret in secrets.current(clock.now)] == ["old", "new"]

    def test_a_replaced_file_of_the_same_age_and_size_is_noticed(self, path: Path, clock: Clock) -> None:
        # Kubernetes changes a mounted secret by turning a link to another file.
        secrets = SecretFile(path, read, lambda: None)
        replacement = path.with_name("replacement")
        replacement.write_text(f"odd={OLD_WHSEC}")
        os.utime(replacement, ns=(0, path.stat().st_mtime_ns))
        replacement.replace(path)
        assert [secret.label for secret in secrets.current(clock.now)] == ["odd"]

    @pytest.mark.parametrize("damage", ["", "main=nonsense", b"\xff\xfe\x00", None])
    def test_a_damaged_or_missing_version_leaves_the_old_secrets_and_is_told_once(
        self, path: Path, clock: Clock, damage: str | bytes | None
    ) -> None:
        told: list[str] = []
        secrets = SecretFile(path, read, lambda: told.append("bad"))
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage.encode() if isinstance(damage, str) else damage)
        for _ in range(3):
            clock.advance(1)
            assert [secret.label for secret in secrets.current(clock.now)] == ["old"]
        assert told == ["bad"]
        path.write_text(f"new={WHSEC}")
        clock.advance(1)
        assert [secret.label for secret in secrets.current(clock.now)] == ["new"]

    def test_a_first_version_that_cannot_be_used_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            SecretFile(tmp_path / "none", read, lambda: None)


def test_a_rotation_needs_no_restart(
    open_door: OpenDoor, sqlite_url: str, tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "secrets"
    path.write_text(f"old={OLD_WHSEC}")
    door = open_door(sqlite_url, webhook_secrets=None, webhook_secrets_file=path)
    body = b"{}"

    def statuses(number: int) -> list[int]:
        """Of a delivery signed with the old secret, and of one with the new."""
        found = []
        for name, key in (("old", OLD_KEY), ("new", KEY)):
            door.sender.key = key
            found.append(door.post(body, f"msg_{number}_{name}").status_code)
        return found

    assert statuses(1) == [202, 401]
    end = (clock.now + timedelta(hours=1)).isoformat()
    path.write_text(f"old={OLD_WHSEC},expires={end}\nnew={WHSEC}")
    clock.advance(1)
    assert statuses(2) == [202, 202]
    clock.advance(3600)
    assert statuses(3) == [401, 202]
    path.write_text("new=oops")
    clock.advance(1)
    assert statuses(4) == [401, 202]
    assert door.count("autocancel_secret_files_refused_total") == 1
    assert door.count('autocancel_secret_hits_total{label="old"}') == 2
    assert door.count('autocancel_secret_hits_total{label="new"}') == 3
