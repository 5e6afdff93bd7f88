"""The demo: its cast makes sense, its check finds what is wrong, and all of it ends as told."""

import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.cast import CAST, KIT, Ending, Fault, Story
from demo.checking import Outcome, Told, ending_of, wrong_with
from demo.laboratory import Call
from demo.stage import POLICY, ROOT, CannotGoOn, Process, free_ports, fresh_folder
from workers.core.policy import Mode, Policy
from workers.core.status import Method
from workers.policy_file import Loaded, load_policy


@pytest.fixture(scope="module")
def policy() -> Policy:
    loaded = load_policy(POLICY)
    assert isinstance(loaded, Loaded), loaded
    return loaded.policy


# --- the cast --------------------------------------------------------------------------------------------


def test_about_forty_orders_of_all_four_methods_play() -> None:
    assert len(CAST) >= 38
    assert {story.method for story in CAST} == set(Method)
    assert len({story.who for story in CAST}) == len(CAST)


def test_every_ending_but_failure_is_shown() -> None:
    assert {story.ending for story in CAST} == set(Ending) - {Ending.FAILED}


def test_every_rule_decides_some_story_and_no_story_names_another(policy: Policy) -> None:
    assert {story.rule for story in CAST if story.rule} == {rule.name for rule in policy.rules}


def test_a_rule_applies_to_the_method_of_its_story_in_the_mode_of_its_ending(policy: Policy) -> None:
    modes = {Ending.SHADOW: Mode.SHADOW, Ending.REVIEW: Mode.REVIEW}
    for story in CAST:
        rule = policy.rule(story.rule) if story.rule else None
        if rule is not None:
            assert story.method in rule.methods, story.who
            assert policy.mode_of(rule) is modes.get(story.ending, Mode.ENFORCE), story.who


def test_the_demo_works_at_night(policy: Policy) -> None:
    assert all(rule.act_any_time for rule in policy.rules)


def test_no_rule_decides_about_what_is_left_alone() -> None:
    assert all((story.rule is None) == (story.ending is Ending.KEPT) for story in CAST)


def test_what_goes_wrong_at_the_laboratory_is_of_many_kinds() -> None:
    kinds = Counter(step.kind for story in CAST for step in story.steps if isinstance(step, Fault))
    assert kinds.keys() == {"timeout_after", "apply_late", "latency", "status", "drop"}


# --- the check -------------------------------------------------------------------------------------------

NEVER_SHIPPED = Story("Ana", KIT, Ending.CANCELLED, "kit-never-shipped", "it never shipped")
KEPT = Story("Dov", KIT, Ending.KEPT, None, "it shipped")


def cancel(*, number: int = 1, applied: bool = True) -> Call:
    return Call(number, "cancel_order", "order", applied)


def an_outcome(story: Story = NEVER_SHIPPED, *calls: Call) -> Outcome:
    """Of an order that ended as its story wants."""
    told = Told(story.ending, story.rule, "a reason")
    return Outcome(story, told, "one.and.the.same", "one.and.the.same", calls)


def test_an_order_cancelled_by_one_call_is_right() -> None:
    assert list(wrong_with(an_outcome(NEVER_SHIPPED, cancel()))) == []


def test_a_refused_attempt_before_the_cancellation_is_right() -> None:
    busy, done = cancel(applied=False), cancel(number=2)
    assert list(wrong_with(an_outcome(NEVER_SHIPPED, busy, done))) == []


def test_a_call_after_the_cancellation_is_found() -> None:
    done, again = cancel(), cancel(number=2, applied=False)
    assert list(wrong_with(an_outcome(NEVER_SHIPPED, done, again))) == [
        "called again after the cancellation had been applied"
    ]


def test_two_cancellations_are_found() -> None:
    wrong = list(wrong_with(an_outcome(NEVER_SHIPPED, cancel(), cancel(number=2))))
    assert "we say cancelled; cancellations at the sandbox: 2" in wrong


def test_a_cancellation_that_only_we_know_of_is_found() -> None:
    assert len(list(wrong_with(an_outcome(NEVER_SHIPPED)))) == 2  # not cancelled there, not even called


def test_a_call_about_an_order_that_was_to_be_kept_is_found() -> None:
    assert list(wrong_with(an_outcome(KEPT, cancel(applied=False)))) == [
        "we say kept; calls to cancel it at the sandbox: 1"
    ]


def test_another_status_than_the_sandbox_has_is_found() -> None:
    behind = replace(an_outcome(KEPT), our_status="an.older.one")
    assert list(wrong_with(behind)) == ["we say it is an.older.one, the sandbox says one.and.the.same"]


def test_another_rule_than_the_story_wants_is_found() -> None:
    other = replace(
        an_outcome(NEVER_SHIPPED, cancel()), told=Told(Ending.CANCELLED, "kit-never-registered", "so it is")
    )
    assert list(wrong_with(other)) == [
        "wanted cancelled by kit-never-shipped, got cancelled by kit-never-registered: so it is"
    ]


def test_an_appointment_that_was_to_stay_and_went_is_found() -> None:
    gone = Call(1, "cancel_psc_appointment", "order", True)
    assert list(wrong_with(an_outcome(KEPT, gone))) == ["cancellations of its appointment at the sandbox: 1"]


# --- how our decisions are read --------------------------------------------------------------------------


def a_decision(verdict: str, state: str, action: str = "cancel_order") -> dict[str, Any]:
    return {"verdict": verdict, "state": state, "action": action, "rule": "a-rule", "reason": "because"}


def test_nothing_has_ended_while_a_cancellation_is_under_way() -> None:
    assert ending_of([a_decision("cancel", "acting")]) is None


def test_a_cancellation_tells_more_than_a_look_that_found_nothing_due() -> None:
    told = ending_of([a_decision("keep", "final"), a_decision("cancel", "confirmed")])
    assert told == Told(Ending.CANCELLED, "a-rule", "because")


def test_a_cancelled_slot_is_not_a_cancelled_order() -> None:
    told = ending_of([a_decision("cancel", "confirmed", "cancel_psc_appointment")])
    assert told is not None
    assert told.ending is Ending.SLOT


# --- the stage -------------------------------------------------------------------------------------------


def test_the_folder_is_emptied_and_nobody_else_gets_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    (folder / "logs").mkdir(parents=True)
    (folder / "old.db").touch()
    with fresh_folder(folder):
        assert list(folder.iterdir()) == []
        (folder / "ours.db").touch()
        with pytest.raises(CannotGoOn, match="another demo"), fresh_folder(folder):
            pass
        assert (folder / "ours.db").exists()
    with fresh_folder(folder):
        pass


def test_a_port_that_is_taken_is_replaced_by_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first, second = free_ports((port, 0))
    assert port not in {first, second}
    assert first != second


def test_a_process_that_ends_leaves_its_last_lines(tmp_path: Path) -> None:
    process = Process("snake", "there_is_no_such_module", tmp_path / "snake.log", {})
    process.start()
    while process.ended_with is None:
        time.sleep(0.01)
    assert process.ended_with == 1
    assert "No module named there_is_no_such_module" in process.obituary()


# --- all of it -------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(240)
def test_every_order_of_the_demo_ends_as_told_and_as_the_sandbox_says() -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "demo", "--once"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "every order ended as it should" in demo.stdout
