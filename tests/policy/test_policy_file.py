"""Reading policies: what is right becomes a Policy, what is wrong is found at once and in its place."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from yaml.nodes import MappingNode, Node, SequenceNode

from workers.core.calendar import Duration
from workers.core.conditions import AnyOf, InStatus, Negated, OfOrder, Patient, StatusName
from workers.core.policy import Act, Mode, Policy, PscIf, Rule, Then
from workers.core.status import Method
from workers.core.words import Word
from workers.policy_cli import policy_app
from workers.policy_file import FACTS, Loaded, Mistake, Mistakes, load_policy, parse_policy

EXAMPLES = Path(__file__).parents[2] / "examples"
FULL = (EXAMPLES / "autocancel.yaml").read_text(encoding="utf-8")
BROKEN = (EXAMPLES / "broken.yaml").read_text(encoding="utf-8")

SMALL = """\
version: 1
policy: acme-care
environment: sandbox
rules:
  - name: kit-never-registered
    methods: [testkit]
    when:
      - status: {in: [awaiting_registration], for: 30d}
    then: {action: cancel_order}
"""


def read(text: str) -> Policy:
    policy = parse_policy(text, "autocancel.yaml")
    assert isinstance(policy, Policy), policy
    return policy


def mistakes_in(text: str | bytes, kept: frozenset[str] = frozenset()) -> tuple[Mistake, ...]:
    mistakes = parse_policy(text, "autocancel.yaml", kept)
    assert isinstance(mistakes, Mistakes)
    return mistakes.items


def underlined(mistake: Mistake) -> str:
    return mistake.excerpt[mistake.column - 1 : mistake.end_column - 1]


# --- what is right ----------------------------------------------------------------------------------------


def test_everything_left_out_has_its_default() -> None:
    rule = Rule(
        name="kit-never-registered",
        methods=(Method.TESTKIT,),
        when=(InStatus((StatusName("awaiting_registration"),), Duration(days=30)),),
        then=Then(Act.CANCEL_ORDER),
    )
    assert read(SMALL) == Policy(version=1, policy="acme-care", environment="sandbox", rules=(rule,))


def test_a_rule_that_does_not_say_its_mode_only_watches() -> None:
    assert read(SMALL).rules[0].mode is Mode.SHADOW


def test_the_smallest_example_acts() -> None:
    loaded = load_policy(EXAMPLES / "minimal.yaml")
    assert isinstance(loaded, Loaded)
    assert [rule.mode for rule in loaded.policy.rules] == [Mode.ENFORCE]


def test_the_full_example_is_read_as_it_is_written() -> None:
    policy = read(FULL)
    assert len(policy.rules) == 12
    assert policy.time.closed == (date(2026, 11, 27),)
    assert policy.time.act_between.to.time == time(20)
    assert policy.limits.share_of_open.value == 3
    assert policy.exemptions[2].until == datetime(2026, 12, 5, 7, tzinfo=UTC)
    assert policy.rules[0].then.psc_appointment == PscIf(Duration(seconds=86_400), "keep")
    assert policy.rules[2].when == (
        AnyOf(
            (
                read_condition("all: [patient: {age_below: 18}, patient: {has_medical_proxy: false}]"),
                Patient(state_in=(Word("NY"), Word("NJ"), Word("RI"))),
            )
        ),
    )


def read_condition(text: str) -> object:
    return read(with_condition(text)).rules[0].when[0]


def with_condition(text: str) -> str:
    return SMALL.replace("status: {in: [awaiting_registration], for: 30d}", text)


def test_not_holds_one_condition() -> None:
    assert read_condition("not: {order: {lab_test: [lipids]}}") == Negated(OfOrder(lab_test=(Word("lipids"),)))


def test_a_list_of_one_word_may_be_the_word() -> None:
    assert read_condition("order: {origin: redraw}") == read_condition("order: {origin: [redraw]}")


def test_a_list_of_conditions_is_always_a_list() -> None:
    (mistake,) = mistakes_in(with_condition("any: {signal: {name: refunded}}"))
    assert mistake.message == "any: expected a list, each item a condition, found a mapping"


@pytest.mark.parametrize("scalar", ["NO", "on", "yes", "Off", "13:00", "0x1F", "1_000", "2026-11-27"])
def test_what_older_yaml_took_for_something_else_stays_a_text(scalar: str) -> None:
    assert read(SMALL.replace("acme-care", scalar)).policy == scalar


def test_norway_is_no_boolean() -> None:
    (mistake,) = mistakes_in(with_condition("kit: {left_warehouse: NO}"))
    assert mistake.message == "left_warehouse: expected true or false, found 'NO'"


def test_an_alias_stands_for_what_it_names() -> None:
    text = SMALL + "    unless: [&paid {signal: {name: paid}}, {not: *paid}]\n"
    first, second = read(text).rules[0].unless
    assert second == Negated(first)


def test_a_loaded_policy_knows_the_hash_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "autocancel.yaml"
    path.write_bytes(SMALL.encode())
    loaded = load_policy(path)
    assert loaded == Loaded(read(SMALL), SMALL, hashlib.sha256(SMALL.encode()).hexdigest())


# --- what is wrong ------------------------------------------------------------------------------------------


def test_all_seven_mistakes_of_a_file_are_found_at_once() -> None:
    anchors = "appointment.end, appointment.booked or appointment.start"
    found = mistakes_in(BROKEN)
    assert [(it.line, underlined(it), it.message) for it in found] == [
        (11, "sometimes", "unknown psc_appointment 'sometimes'"),
        (17, "filter", "unknown key 'filter' in a rule"),
        (20, "awaiting_registraton", "unknown status 'awaiting_registraton'"),
        (25, "statuss", "unknown condition 'statuss'"),
        (26, "14 days", "'14 days' is not a duration"),
        (27, "appointment.begin", "unknown anchor 'appointment.begin'"),
        (28, "cancel_ordr", "unknown action 'cancel_ordr'"),
    ]
    meant = [it.suggestion for it in found]
    assert meant[0] == "never or always"
    assert "when" in str(meant[1])
    assert meant[2:] == ["awaiting_registration", "status", "14d", anchors, "cancel_order"]


@pytest.mark.parametrize(
    ("condition", "token", "message", "suggestion"),
    [
        ("seen: {status: orderd}", "orderd", "unknown status 'orderd'", "ordered"),
        ("seen: {status: ordered, at_least: 0}", "0", "at_least must be from 1 to 1000", None),
        ("seen: {status: ordered, at_least: true}", "true", "at_least: expected a whole number, found true", None),
        ("seen: {status: ordered, at_least: [1]}", "[1]", "at_least: expected a whole number, found a list", None),
        ("seen: {}", "{}", "missing key 'status' in seen", None),
        ("status: {in: [ordered], for: }", "}", "for: expected a duration, found nothing", None),
        ("status: {in: []}", "[]", "in is an empty list", None),
        ("status: {in: [ordered], for: 30}", "30", "'30' is not a duration: the unit is missing", None),
        ("status: ordered", "ordered", "status: expected a mapping of in, for, found 'ordered'", None),
        ("status: {in: [with_custmer]}", "with_custmer", "unknown status 'with_custmer'", "with_customer"),
        ("status: {in: [appointment_pending]}", "appointment_pending", "no order of testkit is ever", None),
        ("appointment: {is: [booked]}", "booked", "unknown appointment status 'booked'", "none, pending"),
        ("elapsed: {since: order.create}", "order.create", "unknown anchor 'order.create'", "order.created"),
        ("elapsed: {since: order.created, at_least: 3d, at_most: 3d}", "3d", "never true: at_most must", None),
        ("remaining: {until: kit.ship_cutoff, at_least: 5bd, at_most: 2bd}", "2bd", "never true", None),
        ("clock: {from: 9, to: 25:00}", "9", "'9' is not a time of day", None),
        ("clock: {from: 09:00, to: 17:00, zone: America/NewYork}", "America/NewYork", "unknown zone", "America/New_York"),
        ("clock: {from: 09:00, to: 17:00, days: workday}", "workday", "unknown days 'workday'", "workdays"),
        ("label: {any_of: [1]}", "1", "any_of: expected text, found 1", '"1"'),
        ('signal: {name: ""}', '""', "name is an empty text", None),
        ("order: {}", "{}", "this always holds; say at least one of origin, lab_test", None),
        ("order: {origin: [redrw]}", "redrw", "unknown origin 'redrw'", "initial or redraw or recreation"),
        ("patient: {state_in: [az]}", "az", "unknown state 'az'", "AZ"),
        ("patient: {age_below: 200}", "200", "age_below must be from 1 to 150", None),
        ("any: []", "[]", "any is an empty list", None),
        ("not: [order: {origin: redraw}]", "[order: {origin: redraw}]", "not: expected a condition, found a list", None),
        ("{}", "{}", "a condition has exactly one key, not 0", None),
        ("{kit: {left_warehouse: true}, order: {origin: redraw}}", "{", "a condition has exactly one key, not 2", None),
        ("kit_left", "kit_left", "when: expected a condition, found 'kit_left'", None),
        ("duplicate: {within: 3d, same: [user, user_id]}", "user_id", "unknown same 'user_id'", "user"),
        ("{[kit]: {left_warehouse: true}}", "[kit]", "a key must be a word, not a list", None),
    ],
)
def test_a_wrong_condition_is_underlined(condition: str, token: str, message: str, suggestion: str | None) -> None:
    mistake = mistakes_in(with_condition(condition), FACTS)[0]
    assert mistake.line == 8
    assert underlined(mistake).startswith(token)
    assert mistake.message.startswith(message)
    assert suggestion is None or str(mistake.suggestion).startswith(suggestion)
