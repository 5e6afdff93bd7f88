"""Imports run one way: pyproject.toml holds what is forbidden, the lists here all that is allowed."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

# What the door may take from the engine; a file may take what any line that covers it says.
FROM_THE_ENGINE = {
    "receiver": {"workers.messages", "workers.store", "workers.core"},
    # puts the process together
    "receiver/main.py": {"workers.broker", "workers.configuration", "workers.logs"},
    "receiver/settings.py": {"workers.configuration"},
    # shows the rules, why an order is left alone, what waits in the queues, how calls to Junction fare, and
    # which version runs; says what operators want done, and what a draft of the rules would change
    "receiver/dashboard": {
        "workers.limit_gauges",
        "workers.limiting",
        "workers.permits",
        "workers.policy_lint",
        "workers.whatif",
        "workers.operating",
        "workers.services",
        "workers.policy_file",
        "workers.explaining",
        "workers.queues",
        "workers.version",
    },
    "receiver/dashboard/settings.py": {"workers.configuration"},  # what the settings of all processes share
    "receiver/dashboard/system_page.py": {"workers.configuration"},  # what they are called
    "receiver/dashboard/main.py": {"workers.broker", "workers.configuration", "workers.logs"},  # as main.py
}


def test_every_import_contract_holds() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run(
        [lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def test_the_core_needs_only_the_standard_library() -> None:
    allowed = {"workers.core", *sys.stdlib_module_names}
    for path in (ROOT / "workers/core").rglob("*.py"):
        assert outside(allowed, imported_by(path)) == [], path


def test_the_door_takes_from_the_engine_only_what_is_listed() -> None:
    for path in (ROOT / "receiver").rglob("*.py"):
        lists = [names for place, names in FROM_THE_ENGINE.items() if path.is_relative_to(ROOT / place)]
        taken = [name for name in imported_by(path) if covers("workers", name)]
        assert outside(set().union(*lists), taken) == [], path


def test_an_import_outside_the_list_is_found(tmp_path: Path) -> None:
    source = tmp_path / "door.py"
    source.write_text("import json\nfrom workers import junction, store\nfrom workers.core import plan\n")
    assert outside({"json", "workers.store", "workers.core"}, imported_by(source)) == ["workers.junction"]


def outside(allowed: Iterable[str], names: Iterable[str]) -> list[str]:
    return [name for name in names if not any(covers(package, name) for package in allowed)]


def covers(package: str, name: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def imported_by(path: Path) -> Iterator[str]:
    """Absolute imports, wherever in the file they stand; `from a import b` as a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
