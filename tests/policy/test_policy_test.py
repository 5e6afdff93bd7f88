"""Tests in YAML: what they may say, how the world they run in behaves, what a failing one prints."""

from collections.abc import Callable
from pathlib import Path

import pytest

from workers.core.policy import Policy
from workers.policy_file import Loaded, Mistakes, load_policy, parse_policy
from workers.policy_test import Outcome, coverage, run_tests

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

POLICY = """
version: 1
policy: small
environment: sandbox
time: {settle: 0m}
rules:
  - name: never-registered
    mode: enforce
    methods: [testkit, walk_in_test]
    act_any_time: true
    notice: 1d
    when:
      - status: {in: [ordered], for: 3d}
    then: {action: cancel_order, psc_appointment: always}
  - name: withdrawn
    mode: review
    methods: [testkit]
    when:
      - signal: {name: order.mistake}
    then: {action: cancel_order}
  - name: orphan
    mode: enforce
    methods: [walk_in_test]
    act_any_time: true
    when:
      - status: {in: [cancelled]}
    then: {action: cancel_psc_appointment}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    found = parse_policy(POLICY, "policy.yaml")
    assert isinstance(found, Policy)
    return found


@pytest.fixture(scope="module")
def run(policy: Policy) -> Callable[[str], list[Outcome]]:
    def outcomes(text: str) -> list[Outcome]:
        found = run_tests(text, "t.yaml", policy)
        assert isinstance(found, list), found
        return found

    return outcomes


Run = Callable[[str], list[Outcome]]


@pytest.fixture(scope="module")
def example() -> Loaded:
    found = load_policy(EXAMPLES / "autocancel.yaml")
    assert isinstance(found, Loaded)
    return found


def test_every_test_of_the_example_passes(example: Loaded) -> None:
    outcomes = run_tests((EXAMPLES / "autocancel.test.yaml").read_text(), "t", example.policy)
    assert isinstance(outcomes, list)
    assert [outcome for outcome in outcomes if not outcome.passed] == []
    every = frozenset(rule.name for rule in example.policy.rules)
    seen = coverage(outcomes)
    assert seen.positive == seen.negative == every


KIT = """
tests:
  - name: a kit
    order: {method: testkit, created: "2026-11-02T15:00:00Z", state: CA}
    timeline:
      - {at: "2026-11-02T15:00:00Z", status: ordered}
"""
TOLD = '{at: "2026-11-04T15:00:00Z", notice: never-registered}'
DONE = '{at: "2026-11-05T15:00:00Z", do: cancel_order, by: never-registered}'


def test_all_that_happens_and_when_must_be_expected(run: Run) -> None:
    (outcome,) = run(f"{KIT}    expect: [{TOLD}, {DONE}]")
    assert outcome.passed
    assert outcome.acted == {"never-registered"}
    assert outcome.spared == {"withdrawn"}


@pytest.mark.parametrize(
    ("expect", "says"),
    [
        ("never", "notice  expected -"),
        (f"[{TOLD}]", "actual never-registered"),
        (f"[{TOLD}, {DONE}, {DONE}]", "by      expected never-registered"),
        (f"[{TOLD}, {DONE[:-1]}, mode: review}}]", "mode    expected review"),
        (f"[{TOLD}, {DONE.replace('15:00:00Z', '15:00:01Z')}]", "at      expected 2026-11-05T15:00:01Z"),
        (f"[{DONE}]", "notice  expected -"),
    ],
)
def test_anything_else_fails_and_says_how(expect: str, says: str, run: Run) -> None:
    (outcome,) = run(f"{KIT}    expect: {expect}")
    assert outcome.failure is not None
    assert says in outcome.failure


def test_a_failure_prints_the_fields_that_differ_and_the_tree_at_that_time(run: Run) -> None:
    (outcome,) = run(f"{KIT}    expect: [{TOLD.replace('-04T', '-03T')}, {DONE}]")
    assert outcome.failure is not None
    assert outcome.failure.splitlines() == [
        "at      expected 2026-11-03T15:00:00Z          actual 2026-11-04T15:00:00Z",
        "order under-test testkit, ordered since 2 Nov 10:00 ET",
        " never-registered  NOT YET   due 5 Nov 10:00 ET",
        "   status in [ordered], for 3d  no (ordered since 2 Nov 10:00 ET), becomes true 5 Nov 10:00 ET",
        "   notice 1d ahead              to be sent 4 Nov 10:00 ET for 5 Nov 10:00 ET",
        "next look: 4 Nov 10:00 ET",
    ]  # fmt: skip


def test_an_order_that_is_cancelled_has_ended(run: Run) -> None:
    later = '      - {at: "2026-11-06T15:00:00Z", status: awaiting_registration}\n'
    (outcome,) = run(f"{KIT}{later}    expect: [{TOLD}, {DONE}]")
    assert outcome.passed


def test_after_a_review_life_goes_on(run: Run) -> None:
    mistake = '      - {at: "2026-11-02T20:00:00Z", signal: order.mistake}\n'
    review = '{at: "2026-11-02T20:00:00Z", do: cancel_order, by: withdrawn, mode: review}'
    (outcome,) = run(f"{KIT}{mistake}    expect: [{review}, {TOLD}, {DONE}]")
    assert outcome.failure is None


def test_a_slot_that_went_with_its_order_is_not_cancelled_twice(run: Run) -> None:
    slot = "appointment: {status: confirmed, start: '2026-12-01T15:00:00Z'}"
    text = KIT.replace("testkit", "walk_in_test").replace("status: ordered}", f"status: ordered, {slot}}}")
    (outcome,) = run(f"{text}    expect: [{TOLD}, {DONE}]")
    assert outcome.failure is None


def test_an_order_that_an_operator_holds_is_left_alone(run: Run) -> None:
    held = '      - {at: "2026-11-02T15:00:00Z", hold: true}\n'
    (outcome,) = run(f"{KIT}{held}    expect: never")
    assert outcome.failure is None


# --- files with mistakes -----------------------------------------------------------------------------------


def mistakes(text: str, policy: Policy) -> list[str]:
    found = run_tests(text, "t.yaml", policy)
    assert isinstance(found, Mistakes)
    return [f"{it.line}:{it.column} {it.message}" for it in found.items]


def test_a_test_without_expectation_is_a_mistake(policy: Policy) -> None:
    assert mistakes(KIT, policy) == ["3:5 missing key 'expect' in a scenario"]


def test_nothing_expected_is_written_as_never(policy: Policy) -> None:
    assert mistakes(f"{KIT}    expect: []", policy) == ["7:13 expect is an empty list"]
    assert mistakes(f"{KIT}    expect: nothing", policy) == ["7:13 unknown expect 'nothing'"]


def test_a_rule_that_is_not_in_the_policy_cannot_be_expected(policy: Policy) -> None:
    found = mistakes(f"{KIT}    expect: [{DONE.replace('registered', 'registred')}]", policy)
    assert found == ["7:65 no rule 'never-registred'"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("signal: a, hold: true", "expected exactly one of status (or appointment), signal, label and hold"),
        ("on: user", "expected exactly one of status (or appointment), signal, label and hold"),
        ("status: ordered, on: user", "`on` and `retract` are about a signal or a label"),
    ],
)
def test_one_thing_happens_at_a_time(entry: str, message: str, policy: Policy) -> None:
    line = f'      - {{at: "2026-11-02T15:00:00Z", {entry}}}\n'
    assert mistakes(f"{KIT}{line}    expect: never", policy) == [f"7:9 {message}"]


def test_an_expectation_is_a_notice_or_an_act(policy: Policy) -> None:
    found = mistakes(f'{KIT}    expect: [{{at: "2026-11-04T15:00:00Z", do: cancel_order}}]', policy)
    assert found == ["7:14 expected either notice, or do and by"]
