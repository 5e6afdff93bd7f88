"""Users are made where Autocancel runs: on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from workers.store import users
from workers.store.database import open_store, reading
from workers.store.migrate import upgrade
from workers.users_cli import user_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

PASSWORD = "correct horse battery"


@pytest.fixture
def store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    engine = open_store(sqlite_url)
    upgrade(engine)
    yield engine
    engine.dispose()


def run(*arguments: str, password: str = PASSWORD) -> Result:
    return CliRunner().invoke(user_app, arguments, input=f"{password}\n")


def roles(store: Engine) -> dict[str, str]:
    with reading(store) as connection:
        return {user.name: user.role for user in users.everybody(connection)}


def test_a_user_is_added_once(store: Engine) -> None:
    assert run("add", "ana", "--role", "admin").exit_code == 0
    assert roles(store) == {"ana": "admin"}
    again = run("add", "ana")
    assert (again.exit_code, roles(store)) == (1, {"ana": "admin"})
    assert "ana" in run("list").output


@pytest.mark.parametrize(("name", "password"), [("Ana Lis", PASSWORD), ("ana", "short"), ("", PASSWORD)])
def test_poor_names_and_passwords_are_refused(store: Engine, name: str, password: str) -> None:
    refused = run("add", name, password=password)
    assert (refused.exit_code, roles(store)) == (1, {})


def test_a_disabled_user_stays_known_and_can_be_let_in_again(store: Engine) -> None:
    run("add", "ana")
    assert run("disable", "ana").exit_code == 0
    assert "disabled" in run("list").output
    with reading(store) as connection:
        assert not users.anybody(connection)
    assert run("enable", "ana").exit_code == 0
    assert run("disable", "nobody").exit_code == 1


def test_only_the_hash_of_a_password_is_stored(store: Engine) -> None:
    run("add", "ana")
    assert run("password", "ana", password="another good one").exit_code == 0
    with reading(store) as connection:
        (row,) = connection.exec_driver_sql("SELECT password FROM users").all()
    assert row.password.startswith("$argon2id$")
    assert run("password", "nobody").exit_code == 1
