"""The command line over a real, migrated store: what each command says, and how it ends when it cannot."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner, Result

from sandbox.running import RunningSandbox
from tests.workers.conftest import HEAD, World, now, world_with
from workers.cli import app
from workers.store.database import open_store, store_time
from workers.store.schema import actions, metadata

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
MANUAL = (ROOT / "docs" / "policy.md").read_text()

KIT = """
  - name: never-registered
    mode: enforce
    methods: [testkit]
    act_any_time: true
    when:
      - status: {in: [ordered, awaiting_registration], for: 720h}
    then: {action: cancel_order}
"""
EARLIER = KIT.replace("720h", "700h")
OTHER = KIT.replace("never-registered", "another").replace("720h", "10000h")

Run = Callable[..., Result]


@dataclass
class Desk:
    """An operator at work: `run` gives a command; it must end as it `ends`, 0 if nothing is said."""

    world: World
    run: Run

    def policy(self, *rules: str) -> Path:
        path = self.world.tmp_path / "asked.yaml"
        path.write_text(HEAD + "rules:\n" + "".join(rules))
        return path

    def kit(self, days: float) -> str:
        created = (now() - timedelta(days=days)).isoformat()
        kit = self.world.order(method="testkit", created_at=created)
        self.world.deliver(kit)
        self.world.drain()
        return kit


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("DATABASE_URL", "REDIS_URL", "JUNCTION_API_KEY", "JUNCTION_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*words: object, ends: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        surprise = None if isinstance(result.exception, SystemExit) else result.exception
        assert surprise is None, surprise
        assert "Traceback" not in result.output
        assert result.exit_code == ends, result.output
        return result

    return invoke


@pytest.fixture
def desk(
    run: Run, sandbox: RunningSandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """On both databases, each brought to the present schema by the command itself."""
    yield from a_desk(run, sandbox, database_url, tmp_path, monkeypatch)


@pytest.fixture
def small_desk(
    run: Run, sandbox: RunningSandbox, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """On SQLite, for what does not depend on the database."""
    yield from a_desk(run, sandbox, sqlite_url, tmp_path, monkeypatch)


def a_desk(
    run: Run, sandbox: RunningSandbox, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    monkeypatch.setenv("DATABASE_URL", url)
    assert "revision" in run("db", "upgrade").stdout
    store = open_store(url)
    with world_with(sandbox, store, tmp_path) as world:
        world.policy(KIT)
        yield Desk(world, run)
    store.dispose()


# --- without a store ---------------------------------------------------------------------------------------


def test_check_says_all_that_is_wrong_in_three_ways(run: Run) -> None:
    broken = EXAMPLES / "broken.yaml"
    text = run("policy", "check", broken, ends=1).stdout
    assert "7 mistakes" in text
    assert f"{broken}:" in text
    assert len(json.loads(run("policy", "check", broken, "--format", "json", ends=1).stdout)) == 7
    lines = run("policy", "check", broken, "--format", "github", ends=1).stdout.splitlines()
    assert len(lines) == 7
    assert all(line.startswith("::error file=") for line in lines)


def test_check_tells_a_good_file_from_one_that_is_not_there(run: Run, tmp_path: Path) -> None:
    run("policy", "check", EXAMPLES / "autocancel.yaml")
    assert "cannot read" in run("policy", "check", tmp_path / "none.yaml", ends=2).output


def test_the_schema_and_the_words_are_printed(run: Run) -> None:
    assert json.loads(run("policy", "schema").stdout)["$schema"]
    assert "unbroken stay" in run("policy", "words", "status").stdout
    assert "did you mean status" in run("policy", "words", "statsu", ends=1).stderr


def test_the_tests_of_the_example_pass(run: Run) -> None:
    found = run("policy", "test", EXAMPLES / "autocancel.test.yaml", "--require-tests")
    assert found.stdout.splitlines()[-1].endswith(" passed, 0 failed")
    assert "FAILED" not in found.stdout


def test_a_failing_test_prints_the_difference_and_the_tree_and_nothing_else(run: Run, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(HEAD + "rules:\n" + KIT)
    tests = tmp_path / "small.test.yaml"
    tests.write_text("""
tests:
  - name: a kit waits for thirty days
    order: {method: testkit, created: "2026-10-05T14:00:00Z"}
    timeline:
      - {at: "2026-10-05T14:00:00Z", status: ordered}
    expect:
      - {at: "2026-11-04T13:00:00Z", do: cancel_order, by: never-registered}
  - name: so it does
    order: {method: testkit, created: "2026-10-05T14:00:00Z"}
    timeline:
      - {at: "2026-10-05T14:00:00Z", status: ordered}
    expect:
      - {at: "2026-11-04T14:00:00Z", do: cancel_order, by: never-registered}
""")
    lines = run("policy", "test", tests, ends=1).stdout.splitlines()
    assert lines[0] == "FAILED a kit waits for thirty days"
    assert lines[1].split() == ["at", "expected", "2026-11-04T13:00:00Z", "actual", "2026-11-04T14:00:00Z"]
    assert any("never-registered  NOT YET" in line for line in lines)
    assert lines[-1] == "1 passed, 1 failed"
    assert "so it does" not in "\n".join(lines)


@pytest.mark.parametrize(
    "words",
    [
        "db upgrade", "explain", "policy check", "policy schema", "policy words", "policy test",
        "policy forecast", "policy backtest", "policy diff", "hold", "unhold", "pause", "resume", "stop",
        "start", "approve", "decline", "signal", "label",
    ],
)  # fmt: skip
def test_every_command_shows_an_example(run: Run, words: str) -> None:
    told = run(*words.split(), "--help").stdout
    assert f"autocancel {words}" in told


# --- what is wrong with the store --------------------------------------------------------------------------

NEED_THE_STORE = [
    "explain x", "policy forecast", "policy backtest", "hold x", "unhold x", "pause x", "resume", "stop",
    "start", "approve 1", "decline 1", "signal a x", "label a x",
]  # fmt: skip


@pytest.mark.parametrize("words", NEED_THE_STORE)
def test_without_an_address_of_the_store_it_is_named(run: Run, words: str) -> None:
    told = run(*words.split(), ends=1).stderr
    assert "DATABASE_URL: is not set" in told
    assert "REDIS_URL" not in told  # no command needs the queue


@pytest.mark.parametrize("words", NEED_THE_STORE)
def test_a_store_without_tables_asks_for_the_upgrade(
    run: Run, words: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    assert "run `autocancel db upgrade`" in run(*words.split(), ends=1).stderr


def test_a_store_that_was_made_in_another_way_is_not_trusted(
    run: Run, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(sqlite_url)
    metadata.create_all(store)
    store.dispose()
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    assert "is at no revision" in run("stop", ends=1).stderr


def test_a_store_that_does_not_answer_is_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////no/such/folder/autocancel.db")
    for words in ("stop", "db upgrade"):
        told = run(*words.split(), ends=1).stderr
        assert told.strip() == "the database does not answer: unable to open database file"


# --- with a store ------------------------------------------------------------------------------------------


def test_explain_prints_why(desk: Desk) -> None:
    kit = desk.kit(days=10)
    told = desk.run("explain", kit).stdout
    assert told.startswith(f"order {kit} testkit, ordered since ")
    assert "never-registered  NOT YET   due " in told
    assert "next look: " in told


def test_explain_at_a_time_of_the_past_sees_what_was_known_then(small_desk: Desk) -> None:
    kit = small_desk.kit(days=10)
    small_desk.world.sandbox.event(kit, "transit_customer")
    small_desk.world.deliver(kit)
    small_desk.world.drain()
    yesterday = (now() - timedelta(days=1)).isoformat()
    assert "testkit, transit_customer" in small_desk.run("explain", kit).stdout
    then = small_desk.run("explain", kit, "--at", yesterday).stdout
    assert "testkit, ordered" in then
    assert "NOT YET" in then


@pytest.mark.parametrize("at", ["yesterday", "2026-13-01T00:00:00Z", "2026-11-21T09:00:00"])
def test_explain_says_how_to_write_a_time(small_desk: Desk, at: str) -> None:
    told = small_desk.run("explain", "x", "--at", at, ends=1).stderr
    assert told.strip() == f"--at {at}: not an ISO time with a zone; write 2026-11-21T09:00:00Z"


def test_an_order_that_nobody_knows_is_said_to_be_unknown(small_desk: Desk) -> None:
    for command in ("explain", "hold"):
        assert "no order x is known here" in small_desk.run(command, "x", ends=1).stderr


def test_forecast_lists_what_will_fire(desk: Desk) -> None:
    kit = desk.kit(days=28)
    desk.kit(days=3)
    told = desk.run("policy", "forecast", "--next", "7d").stdout
    (line,) = [line for line in told.splitlines() if kit in line]
    assert line.split()[2:] == [kit, "never-registered", "cancel_order", "enforce"]
    assert "1 firings for 1 of 2 open orders" in told
    assert "no span of time" in desk.run("policy", "forecast", "--next", "soon", ends=1).stderr


def test_backtest_reckons_by_rule(desk: Desk) -> None:
    desk.kit(days=40)
    told = desk.run("policy", "backtest", "--since", "60d", "--policy", desk.policy(KIT, OTHER)).stdout
    lines = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.strip()}
    assert "1 orders of the last 60d" in told
    assert lines["never-registered"][:2] == ["1", "0"]
    assert lines["another"][0] == "0"


def test_backtest_from_junction_needs_no_store_when_it_has_a_policy(
    small_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_desk.policy(KIT)
    small_desk.world.order(method="testkit", created_at=(now() - timedelta(days=40)).isoformat())
    monkeypatch.delenv("DATABASE_URL")
    words = ("policy", "backtest", "--from-junction", "--since", "60d", "--policy", path)
    told = small_desk.run(*words, ends=1).stderr
    assert "JUNCTION_API_KEY: is not set" in told
    assert "DATABASE_URL" not in told
    monkeypatch.setenv("JUNCTION_API_KEY", small_desk.world.sandbox.config.api_key)
    monkeypatch.setenv("JUNCTION_BASE_URL", small_desk.world.sandbox.url)
    lines = small_desk.run(*words).stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("never-registered")] == ["1"]
    small_desk.world.sandbox.fault("status", status=500, operation="list_orders", count=5)
    assert "Junction's list of orders, page 1: " in small_desk.run(*words, ends=1).stderr


def test_diff_says_what_another_policy_would_change(desk: Desk, tmp_path: Path) -> None:
    old = tmp_path / "old.yaml"
    old.write_text(HEAD + "rules:\n" + KIT)
    kit = desk.kit(days=28)
    told = desk.run("policy", "diff", old, desk.policy(EARLIER, OTHER), "--next", "7d").stdout
    assert "+ rule another\n~ rule never-registered: when\n" in told
    assert "+0 would be cancelled, -0 no longer, 1 changed rule or time" in told
    assert f"  {kit}: never-registered " in told
    gone = desk.run("policy", "diff", old, desk.policy(OTHER), "--next", "7d").stdout
    assert "+0 would be cancelled, -1 no longer, 0 changed rule or time\n  -1 never-registered" in gone


def test_a_policy_with_mistakes_is_refused_by_whatever_reads_it(small_desk: Desk) -> None:
    broken = EXAMPLES / "broken.yaml"
    for words in (("forecast", "--policy", broken), ("diff", broken, broken), ("test", broken)):
        assert f"{broken}:" in small_desk.run("policy", *words, ends=1).stderr


def test_hold_and_unhold(desk: Desk) -> None:
    kit = desk.kit(days=3)
    assert f"order {kit} is held" in desk.run("hold", kit, "--reason", "they called").stdout
    desk.world.drain()
    assert desk.world.row(kit)["outlook"] == "on_hold"
    assert f"order {kit} is no longer held" in desk.run("unhold", kit).stdout
    assert f"order {kit} is not held" in desk.run("unhold", kit, ends=1).stderr


def test_stop_and_start(desk: Desk) -> None:
    desk.world.policy(KIT.replace("    when", "    backlog: include\n    when"))
    assert "stopped" in desk.run("stop", "-r", "wrong rule").stdout
    kit = desk.kit(days=31)
    assert desk.world.posts(kit) == 0
    assert "started" in desk.run("start").stdout
    desk.world.drain()
    assert desk.world.posts(kit) == 1


def test_pause_and_resume(desk: Desk) -> None:
    assert "the active policy has no rule nothing" in desk.run("pause", "nothing", ends=1).stderr
    assert "never-registered is paused until" in desk.run("pause", "never-registered").stdout
    assert "the active policy has no rule nothing" in desk.run("resume", "nothing", ends=1).stderr
    assert "resumed; 0 held decisions go on" in desk.run("resume", "never-registered").stdout


@pytest.mark.parametrize(("command", "calls"), [("approve", 1), ("decline", 0)])
def test_a_person_decides(desk: Desk, command: str, calls: int) -> None:
    review = KIT.replace("enforce", "review").replace("    when", "    backlog: include\n    when")
    desk.world.policy(review)
    kit = desk.kit(days=31)
    (item,) = desk.world.decisions(kit)
    assert f"decision {item['id']} is {command}d" in desk.run(command, item["id"], "-r", "seen").stdout
    desk.world.drain()
    assert desk.world.posts(kit) == calls
    assert "does not wait for anybody" in desk.run(command, item["id"], ends=1).stderr
    assert "there is no such thing" in desk.run(command, 999, ends=1).stderr
    assert "Invalid value" in desk.run(command, "first", ends=2).stderr


def test_signals_and_labels(desk: Desk) -> None:
    asking = "signal: {name: order.mistake}\n    unless:\n      - label: {any_of: [precious]}"
    desk.world.policy(KIT.replace("status: {in: [ordered, awaiting_registration], for: 720h}", asking))
    kit = desk.kit(days=3)
    assert f"label precious put on order {kit}" in desk.run("label", "precious", kit).stdout
    assert f"signal order.mistake posted on order {kit}" in desk.run("signal", "order.mistake", kit).stdout
    desk.world.drain()
    assert desk.world.posts(kit) == 0
    desk.run("signal", "order.mistake", kit, "--retract")
    desk.run("label", "precious", kit, "--remove")
    desk.world.drain()
    assert desk.world.posts(kit) == 0
    later = desk.world.say(store_time) + timedelta(hours=1)
    desk.run("signal", "order.mistake", kit, "--at", later.isoformat())
    desk.world.drain()
    assert desk.world.row(kit)["next_at"] == later
    assert "not an ISO time" in desk.run("signal", "a", kit, "--at", "soon", ends=1).stderr


def test_what_comes_too_late_says_so(small_desk: Desk) -> None:
    world = small_desk.world
    world.policy(KIT.replace("    when", "    backlog: include\n    when"))
    created = (now() - timedelta(days=31)).isoformat()
    kit = world.order(method="testkit", created_at=created)
    world.deliver(kit)
    world.decide()
    world.say(lambda c: c.execute(update(actions).values(state="sending")))  # a worker calls just now
    assert "too late" in small_desk.run("hold", kit).stdout
    assert "1 calls are on their way" in small_desk.run("stop").stdout


# --- the manual --------------------------------------------------------------------------------------------


def test_the_manuals_smallest_policy_is_one(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "smallest.yaml"
    path.write_text(MANUAL.partition("```yaml\n")[2].partition("```")[0])
    run("policy", "check", path)


@pytest.mark.parametrize("command", ["backtest", "forecast"])
def test_the_manual_shows_the_columns_that_a_command_prints(small_desk: Desk, command: str) -> None:
    small_desk.world.policy(KIT)
    small_desk.kit(days=29)
    _, printed, *_ = small_desk.run("policy", command).stdout.splitlines()
    _, _, shown, *_ = MANUAL.partition(f"$ autocancel policy {command}")[2].splitlines()
    assert shown.split() == printed.split()


def test_the_manual_counts_the_tests_of_the_example(run: Run) -> None:
    told = run("policy", "test", EXAMPLES / "autocancel.test.yaml").stdout
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None
    assert f"runs the {passed[1]} tests of the full example" in MANUAL
