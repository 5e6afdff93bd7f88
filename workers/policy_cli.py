"""`autocancel policy …`: check a policy file, print its JSON Schema, look a word up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from workers.policy_file import FACTS, Mistake, Mistakes, load_policy, locate, suggestion
from workers.policy_lint import lint
from workers.policy_schema import Section, json_schema, look_up, vocabulary

policy_app = typer.Typer(
    no_args_is_help=True, help="The policy: whether a file is right, and what it can say."
)

WRONG, UNREADABLE = 1, 2  # exit statuses


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@policy_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The policy file.")],
    form: Annotated[Format, typer.Option("--format", help="For people, programs, or GitHub.")] = Format.TEXT,
    keep: Annotated[str, typer.Option(help="Facts about patients that the worker may keep.")] = ",".join(
        sorted(FACTS)
    ),
) -> None:
    """Say all that is wrong with a policy, or what is doubtful about it.

    Exits with 0 if it may be used, 1 if it has mistakes, 2 if it cannot be read.

    Example: autocancel policy check autocancel.yaml --format github
    """
    loaded = load_policy(file, _facts(keep))
    if isinstance(loaded, Mistakes):
        _report(form, file, Severity.ERROR, loaded.items)
        raise typer.Exit(UNREADABLE if loaded.items[0].code == "unreadable" else WRONG)
    _report(form, file, Severity.WARNING, locate(loaded.text, lint(loaded.policy)))


@policy_app.command()
def schema() -> None:
    """Print the JSON Schema by which editors complete and check a policy.

    Example: autocancel policy schema > autocancel.schema.json
    """
    typer.echo(json.dumps(json_schema(), indent=2))


@policy_app.command()
def words(
    name: Annotated[str | None, typer.Argument(help="A key, a condition, `anchors`, `durations`, …")] = None,
) -> None:
    """Print the vocabulary of policies, or what one word means.

    Example: autocancel policy words status
    """
    everything = vocabulary()
    found = tuple(everything.values()) if name is None else look_up(name)
    if not found:
        known = {row.word for section in everything.values() for row in section.rows} | set(everything)
        _fail(f"no word {name!r}", suggestion(str(name), sorted(known)))
    for section in found:
        _show(section)


# --- reports ---------------------------------------------------------------------------------------------


def _report(form: Format, file: Path, severity: Severity, found: Sequence[Mistake]) -> None:
    for line in REPORTS[form](file, severity, found):
        typer.echo(line)


def _as_text(file: Path, severity: Severity, found: Sequence[Mistake]) -> Iterator[str]:
    what = "" if severity is Severity.ERROR else "warning: "
    for it in found:
        yield f"{file}:{it.line}:{it.column}: {what}{it}"
    noun = "mistake" if severity is Severity.ERROR else "warning"
    yield f"{len(found) or 'no'} {noun}{'' if len(found) == 1 else 's'}"


def _as_json(file: Path, severity: Severity, found: Sequence[Mistake]) -> Iterator[str]:
    yield json.dumps([{"file": str(file), "severity": severity, **asdict(it)} for it in found], indent=2)


def _for_github(file: Path, severity: Severity, found: Sequence[Mistake]) -> Iterator[str]:
    """Workflow commands, https://docs.github.com/actions/reference/workflow-commands-for-github-actions."""
    for it in found:
        message = it.message + (f"; did you mean {it.suggestion}?" if it.suggestion else "")
        place = (
            f"file={_escaped(str(file), ':,')},line={it.line},col={it.column},endColumn={it.end_column - 1}"
        )
        yield f"::{severity} {place}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(char):02X}" if char in f"%\r\n{more}" else char for char in text)


REPORTS: dict[Format, Callable[[Path, Severity, Sequence[Mistake]], Iterator[str]]] = {
    Format.TEXT: _as_text,
    Format.JSON: _as_json,
    Format.GITHUB: _for_github,
}


# --- small parts -----------------------------------------------------------------------------------------


def _facts(text: str) -> frozenset[str]:
    facts = frozenset(filter(None, text.split(",")))
    if facts - FACTS:
        raise typer.BadParameter(f"{text!r}: say some of {','.join(sorted(FACTS))}", param_hint="--keep")
    return facts


def _show(section: Section) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2))
    for row in section.rows:
        says, takes = Text(row.says), Text(row.takes, style="dim")
        table.add_row(row.word, Text("\n").join(text for text in (says, takes) if text))
    console = Console(highlight=False, markup=False)
    console.print(f"{section.name}: {section.says}", style="bold")
    console.print(table)


def _fail(message: str, meant: str | None) -> NoReturn:
    typer.echo(message + (f"; did you mean {meant}?" if meant else ""), err=True)
    raise typer.Exit(1)
