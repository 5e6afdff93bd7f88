"""Rules of the house that no linter knows: one test each, exceptions listed here with their reason."""

import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("demo", "receiver", "workers", "sandbox")

# Whoever needs the time gets it as an argument; these own the clock.
CLOCK_OWNERS = re.compile(r"(main|\w*cli|clock|demo\w*)\.py")
READS_THE_CLOCK = re.compile(r"datetime\.now\(|utcnow|\.today\(|\btime\.time\(")

# Whoever opens a transaction, passes it on or shows a row may name its type.
SPEAKS_SQL = re.compile(r"^\s*(import|from) sqlalchemy(?! import ((Connection|Engine|RowMapping)(, )?)+$)\b")
MAY_SPEAK_SQL = {
    "workers/store": "all of our queries",
}
SPEAKS_HTTP = re.compile(r"^\s*(import|from) httpx\b")
MAY_SPEAK_HTTP = {
    "workers/junction.py": "Junction's API",
    "demo": "tells the sandbox what happens",
    "sandbox": "sends the webhooks that Junction would send",
}

# Spelt so that this file does not name them itself.
REGISTRIES = re.compile(
    r"(pypi|pythonhosted|npmjs|crates|unpkg|jsdelivr)\.(org|com|io|net)|(ghcr|docker|quay)\.io"
)


def test_no_file_names_a_package_registry() -> None:
    assert lines_with(REGISTRIES, our_files()) == []


def test_every_package_is_listed_for_the_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for path in sources(*PACKAGES) if path.name == "__init__.py"]
    assert sorted(".".join(folder.parts) for folder in folders) == sorted(listed)


def test_time_is_an_argument_everywhere_but_in_the_programs() -> None:
    bound = [path for path in sources("receiver", "workers") if not CLOCK_OWNERS.fullmatch(path.name)]
    assert lines_with(READS_THE_CLOCK, bound) == []


def test_tests_are_no_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []  # one would shadow the real package of its name


def test_only_the_store_speaks_sql() -> None:
    assert lines_with(SPEAKS_SQL, sources_except(MAY_SPEAK_SQL)) == []


def test_only_clients_speak_http() -> None:
    assert lines_with(SPEAKS_HTTP, sources_except(MAY_SPEAK_HTTP)) == []


def our_files() -> list[Path]:
    """Every file that is or could be committed."""
    # A container's root may test a clone of someone else's, which git refuses unless told.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if (path := ROOT / name).is_file()]


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def sources_except(allowed: Iterable[str]) -> list[Path]:
    return [
        path for path in sources(*PACKAGES) if not any(path.is_relative_to(ROOT / name) for name in allowed)
    ]


def lines_with(pattern: re.Pattern[str], paths: Iterable[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
        )
        if pattern.search(line)
    ]
