"""The code of others that we ship is what it says it is."""

import tomllib
from hashlib import sha256
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "receiver/dashboard/static"
FILES = tomllib.loads((STATIC / "VENDOR.toml").read_text(encoding="utf-8"))["file"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file["path"]))
def test_a_vendored_file_has_the_sum_and_the_licence_it_claims(file: dict[str, str]) -> None:
    assert sha256((STATIC / file["path"]).read_bytes()).hexdigest() == file["sha256"]
    assert (STATIC / file["licence_file"]).is_file()
    assert file["name"]
    assert file["version"]
    assert file["licence"]


def test_every_minified_file_is_listed() -> None:
    assert {path.name for path in STATIC.glob("*.min.*")} == {file["path"] for file in FILES}
