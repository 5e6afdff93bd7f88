"""`autocancel policy test | forecast | backtest | diff`: what a policy does, will do, would have done."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy import Connection

from workers.backtesting import Backtest, Coming, backtest, forecast
from workers.command import fail, reading_store
from workers.configuration import BadSettings, load
from workers.core.events import Keep
from workers.core.policy import Mode, Policy, Rule
from workers.junction import Junction, Window
from workers.policy_file import Loaded, Mistakes, load_policy, locate
from workers.policy_lint import lint
from workers.policy_loading import in_brief
from workers.policy_test import coverage, run_tests
from workers.services import ActivePolicy
from workers.settings import JunctionSettings
from workers.store import orders
from workers.whatif import JunctionSilent, junction_cases, stored_cases

console = Console()
WIDE = 200  # characters

# All that a policy may ask about: a backtest stores nothing, and compares no users.
IN_MEMORY = Keep(hash_key=b"", birth_date=True, state=True, passthrough=True)

PolicyOption = Annotated[
    Path | None, typer.Option("--policy", help="A policy file; the active policy when left out.")
]
Tell = Callable[[int], object]


def add_what_if(app: typer.Typer) -> None:
    """Puts the commands under `autocancel policy`."""
    app.command("test")(run)
    app.command("forecast")(show_forecast)
    app.command("backtest")(show_backtest)
    app.command("diff")(diff)


def run(
    file: Annotated[Path, typer.Argument(help="A test file, or a policy with NAME.test.yaml beside it.")],
    require_tests: Annotated[
        bool,
        typer.Option("--require-tests", help="Fail when an enforce rule has no test for and against it."),
    ] = False,
    policy_file: Annotated[Path | None, typer.Option("--policy", help="The policy to test.")] = None,
) -> None:
    """Run a policy's tests: timelines in, exact first instants out.

    Example: autocancel policy test examples/autocancel.test.yaml --require-tests
    """
    tests, policy_path = _test_and_policy(file, policy_file)
    loaded = _loaded(policy_path)
    outcomes = run_tests(_read(tests), str(tests), loaded.policy)
    if isinstance(outcomes, Mistakes):
        fail(in_brief(outcomes))
    for outcome in outcomes:
        if not outcome.passed:
            _say(f"FAILED {outcome.name}\n{outcome.failure}\n")
    failed = sum(not outcome.passed for outcome in outcomes)
    untested = [finding for finding in lint(loaded.policy, coverage(outcomes)) if finding.code == "untested"]
    for mistake in locate(loaded.text, untested):
        _say(f"{policy_path}:{mistake.line}:{mistake.column}: {mistake.message}")
    _say(f"{len(outcomes) - failed} passed, {failed} failed")
    raise typer.Exit(1 if failed or (require_tests and untested) else 0)


def show_forecast(
    next_: Annotated[str, typer.Option("--next", help="How far ahead: 12h, 7d, …")] = "7d",
    policy_file: PolicyOption = None,
) -> None:
    """Say which rules will fire for which open orders, if nothing new happens.

    Example: autocancel policy forecast --next 7d --policy new.yaml
    """
    now = datetime.now(UTC)
    until = now + _span(next_)
    with reading_store() as connection:
        policy = _policy(connection, policy_file)
        total = orders.count_open(connection)
        with _progress("planning", total) as tell:
            cases = stored_cases(connection, policy, now, only_open=True)
            coming = forecast(policy, cases, until, tell)
    table = _table(f"the next {next_}", "at", "order", "rule", "action", "mode")
    for one in coming:
        table.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}Z", one.order_id, one.rule, one.action, one.mode)
    _show(table)
    _say(f"{len(coming)} firings for {len({one.order_id for one in coming})} of {total} open orders")


def show_backtest(
    since: Annotated[str, typer.Option(help="Orders placed in the last 180d, …")] = "180d",
    policy_file: PolicyOption = None,
    from_junction: Annotated[
        bool, typer.Option("--from-junction", help="Ask Junction instead of the store (needs its key).")
    ] = False,
) -> None:
    """Say what each rule would have done to orders of the past, and how much of it would be regretted.

    Example: autocancel policy backtest --since 180d --policy new.yaml
    """
    now = datetime.now(UTC)
    began = now - _span(since)
    if from_junction:
        result = _backtest_junction(policy_file, began, now)
    else:
        with reading_store() as connection:
            policy = _policy(connection, policy_file)
            with _progress("replaying", orders.count_since(connection, began)) as tell:
                cases = stored_cases(connection, policy, now, only_open=False, since=began)
                result = backtest(policy, cases, now, tell)
    _show(_backtest_table(result, since))


def diff(
    old: Annotated[Path, typer.Argument(help="The policy as it is.")],
    new: Annotated[Path, typer.Argument(help="The policy as it shall be.")],
    next_: Annotated[str, typer.Option("--next", help="How far ahead to compare: 12h, 30d, …")] = "30d",
) -> None:
    """Say which rules differ between two policies, and what that changes for the open orders.

    Example: autocancel policy diff autocancel.yaml new.yaml
    """
    before, after = _loaded(old).policy, _loaded(new).policy
    for line in _rules_changed(before, after):
        _say(line)
    now = datetime.now(UTC)
    until = now + _span(next_)
    with reading_store() as connection:
        total = orders.count_open(connection)
        with _progress("comparing", total * 2) as tell:
            firings = [
                _acting(forecast(policy, stored_cases(connection, policy, now, only_open=True), until, tell))
                for policy in (before, after)
            ]
    for line in _outcomes_changed(*firings):
        _say(line)


# --- what is shown ---------------------------------------------------------------------------------------


def _table(title: str, *headings: str) -> Table:
    return Table(*headings, title=title, title_justify="left", box=None, pad_edge=False)


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _show(table: Table) -> None:
    """A pipe has no width; there nothing is broken or cut."""
    Console(width=None if console.is_terminal else WIDE).print(table)


def _backtest_table(result: Backtest, since: str) -> Table:
    table = _table(f"{result.orders} orders of the last {since}", "rule")
    for heading in ("would cancel", "regret", "by hand later", "days saved", "money", "refunds lost"):
        table.add_column(heading, justify="right")
    for name, tally in result.rules.items():
        table.add_row(
            name + (" (shadow)" if tally.shadow else ""),
            str(tally.would_cancel),
            str(tally.regret),
            str(tally.by_hand),
            f"{tally.days_saved:.1f}",
            f"{tally.money:,.2f}",
            str(tally.refunds_lost),
        )
    return table


def _rules_changed(before: Policy, after: Policy) -> Iterator[str]:
    old, new = ({rule.name: rule for rule in policy.rules} for policy in (before, after))
    yield from (f"+ rule {name}" for name in new if name not in old)
    yield from (f"- rule {name}" for name in old if name not in new)
    for name in (name for name in new if name in old):
        if changed := _differing(old[name], new[name]):
            yield f"~ rule {name}: {', '.join(changed)}"
    if changed := [key for key in _differing(before, after) if key != "rules"]:
        yield f"~ policy: {', '.join(changed)}"


def _differing(before: Rule | Policy, after: Rule | Policy) -> list[str]:
    keys = (field.name for field in fields(after))
    return [key for key in keys if getattr(before, key) != getattr(after, key)]


def _acting(coming: Iterable[Coming]) -> dict[str, Coming]:
    """The first firing of each order that is more than a shadow."""
    first: dict[str, Coming] = {}
    for one in coming:
        if one.mode != "shadow":
            first.setdefault(one.order_id, one)
    return first


def _outcomes_changed(old: dict[str, Coming], new: dict[str, Coming]) -> Iterator[str]:
    gained, lost = new.keys() - old.keys(), old.keys() - new.keys()
    moved = [id_ for id_ in old.keys() & new.keys() if _shown(old[id_]) != _shown(new[id_])]
    yield f"+{len(gained)} would be cancelled, -{len(lost)} no longer, {len(moved)} changed rule or time"
    for sign, orders_, firings in (("+", gained, new), ("-", lost, old)):
        for rule, count in sorted(Counter(firings[id_].rule for id_ in orders_).items()):
            yield f"  {sign}{count} {rule}"
    for id_ in sorted(moved)[:20]:
        yield f"  {id_}: {_shown(old[id_])} -> {_shown(new[id_])}"


def _shown(one: Coming) -> str:
    mode = "" if one.mode == Mode.ENFORCE else f" ({one.mode})"
    return f"{one.rule} {one.at:%Y-%m-%d %H:%M}Z{mode}"


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


# --- what is read ----------------------------------------------------------------------------------------


def _policy(connection: Connection, path: Path | None) -> Policy:
    if path is not None:
        return _loaded(path).policy
    active = ActivePolicy().read(connection)
    if active is None:
        fail("no policy is active yet; name a file with --policy")
    return active.policy


def _loaded(path: Path) -> Loaded:
    loaded = load_policy(path)
    if isinstance(loaded, Mistakes):
        fail(in_brief(loaded))
    return loaded


def _test_and_policy(file: Path, policy: Path | None) -> tuple[Path, Path]:
    if ".test." in file.name:
        return file, policy or file.with_name(file.name.replace(".test.", "."))
    return file.with_name(f"{file.stem}.test{file.suffix}"), policy or file


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: cannot be read: {type(error).__name__}")


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([smhdw])", text)
    if found is None:
        fail(f"{text!r} is no span of time; write 12h, 7d or 26w")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[found[2]]
    return timedelta(**{unit: int(found[1])})


def _backtest_junction(policy_file: Path | None, began: datetime, now: datetime) -> Backtest:
    """Needs the key, and the store only to know the active policy."""
    try:
        settings = load(JunctionSettings)
    except BadSettings as bad:
        fail(f"settings:\n{bad}")
    if policy_file is not None:
        policy = _loaded(policy_file).policy
    else:
        with reading_store() as connection:
            policy = _policy(connection, None)
    key = settings.junction_api_key.get_secret_value()
    with (
        Junction(settings.junction_base_url, key, IN_MEMORY, now=_now) as junction,
        _progress("replaying", None) as tell,
    ):
        try:
            return backtest(policy, junction_cases(junction, policy, Window(began, now), now), now, tell)
        except JunctionSilent as silent:
            fail(str(silent))


def _now() -> datetime:
    return datetime.now(UTC)
