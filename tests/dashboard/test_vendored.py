"""The code of others that we ship or test with is what it says it is."""

import tomllib
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "receiver/dashboard/static", ROOT / "tests/browser/vendor")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_vendored_files_have_the_sums_and_the_licences_they_claim(folder: Path) -> None:
    for file in files_of(folder):
        assert sha256((folder / file["path"]).read_bytes()).hexdigest() == file["sha256"]
        assert (folder / file["licence_file"]).is_file()
        assert file["name"]
        assert file["version"]
        assert file["licence"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_minified_file_is_listed(folder: Path) -> None:
    assert {path.name for path in folder.glob("*.min.*")} == {file["path"] for file in files_of(folder)}


def files_of(folder: Path) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = tomllib.loads((folder / "VENDOR.toml").read_text(encoding="utf-8"))["file"]
    return listed
