"""Reading policies: what is right becomes a Policy, what is wrong is found at once and in its place."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from yaml.nodes import MappingNode, Node, SequenceNode

from workers.core.calendar import Duration
from workers.core.conditions import AnyOf, Condition, InStatus, Negated, OfOrder, Patient, StatusName
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


# --- what is right ---------------------------------------------------------------------------------------


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


def read_condition(text: str) -> Condition:
    return read(with_condition(text)).rules[0].when[0]


def with_condition(text: str) -> str:
    return SMALL.replace("status: {in: [awaiting_registration], for: 30d}", text)


def test_not_holds_one_condition() -> None:
    assert read_condition("not: {order: {lab_test: [lipids]}}") == Negated(
        OfOrder(lab_test=(Word("lipids"),))
    )


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


# --- what is wrong ---------------------------------------------------------------------------------------


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
        (
            "seen: {status: ordered, at_least: true}",
            "true",
            "at_least: expected a whole number, found true",
            None,
        ),
        (
            "seen: {status: ordered, at_least: [1]}",
            "[1]",
            "at_least: expected a whole number, found a list",
            None,
        ),
        ("seen: {}", "{}", "missing key 'status' in seen", None),
        ("status: {in: [ordered], for: }", " ", "for: expected a duration, found nothing", None),
        ("status: {in: []}", "[]", "in is an empty list", None),
        ("status: {in: [ordered], for: 30}", "30", "'30' is not a duration: the unit is missing", None),
        ("status: ordered", "ordered", "status: expected a mapping of in, for, found 'ordered'", None),
        ("status: {in: [with_custmer]}", "with_custmer", "unknown status 'with_custmer'", "with_customer"),
        ("status: {in: [appointment_pending]}", "appointment_pending", "no order of testkit is ever", None),
        ("appointment: {is: [booked]}", "booked", "unknown appointment status 'booked'", "none, pending"),
        ("elapsed: {since: order.create}", "order.create", "unknown anchor 'order.create'", "order.created"),
        (
            "elapsed: {since: order.created, at_least: 3d, at_most: 3d}",
            "3d",
            "never true: at_most must",
            None,
        ),
        ("remaining: {until: kit.ship_cutoff, at_least: 5bd, at_most: 2bd}", "2bd", "never true", None),
        ("clock: {from: 9, to: 25:00}", "9", "'9' is not a time of day", None),
        (
            "clock: {from: 09:00, to: 17:00, zone: America/NewYork}",
            "America/NewYork",
            "unknown zone",
            "America/New_York",
        ),
        ("clock: {from: 09:00, to: 17:00, days: workday}", "workday", "unknown days 'workday'", "workdays"),
        ("label: {any_of: [1]}", "1", "any_of: expected text, found 1", '"1"'),
        ('signal: {name: ""}', '""', "name is an empty text", None),
        ("order: {}", "{}", "this always holds; say at least one of origin, lab_test", None),
        ("order: {origin: [redrw]}", "redrw", "unknown origin 'redrw'", "initial or redraw or recreation"),
        ("patient: {state_in: [az]}", "az", "unknown state 'az'", "AZ"),
        ("patient: {age_below: 200}", "200", "age_below must be from 1 to 150", None),
        ("any: []", "[]", "any is an empty list", None),
        (
            "not: [order: {origin: redraw}]",
            "[order: {origin: redraw}]",
            "not: expected a condition, found a list",
            None,
        ),
        ("{}", "{}", "a condition has exactly one key, not 0", None),
        (
            "{kit: {left_warehouse: true}, order: {origin: redraw}}",
            "{",
            "a condition has exactly one key, not 2",
            None,
        ),
        ("kit_left", "kit_left", "when: expected a condition, found 'kit_left'", None),
        ("duplicate: {within: 3d, same: [user, user_id]}", "user_id", "unknown same 'user_id'", "user"),
        ("{[kit]: {left_warehouse: true}}", "[kit]", "a key must be a word, not a list", None),
    ],
)
def test_a_wrong_condition_is_underlined(
    condition: str, token: str, message: str, suggestion: str | None
) -> None:
    mistake = mistakes_in(with_condition(condition), FACTS)[0]
    assert mistake.line == 8
    assert underlined(mistake).startswith(token)
    assert mistake.message.startswith(message)
    assert suggestion is None or str(mistake.suggestion).startswith(suggestion)


@pytest.mark.parametrize(
    ("key", "token", "message", "suggestion"),
    [
        ("Rules: []", "Rules", "unknown key 'Rules' in the policy", "rules"),
        ("<<: {mode: off}", "<<", "merge keys are not part of the language", None),
        ("limits: {per_hour: 0}", "0", "per_hour must be from 1 to 1000000", None),
        ("limits: {per_day: -5}", "-5", "per_day must be from 1 to 1000000", None),
        ("limits: {share_of_open: 3}", "3", "'3' is not a share; write 3%", None),
        ("time: {zone: patient}", "patient", "time.zone is one zone; patients live in several", None),
        ("time: {workdays: []}", "[]", "workdays is an empty list", None),
        ("time: {closed: [2026-02-30]}", "2026-02-30", "closed: expected a date like 2026-11-27", None),
        ("mode: on", "on", "unknown mode 'on'", "off, shadow, review or enforce"),
        ("version: 1", "version", "the key 'version' appears twice in the policy", None),
    ],
)
def test_a_wrong_key_of_the_policy_is_underlined(
    key: str, token: str, message: str, suggestion: str | None
) -> None:
    mistake = mistakes_in(SMALL.replace("environment", f"{key}\nenvironment"))[0]
    assert (mistake.line, underlined(mistake), mistake.suggestion) == (3, token, suggestion)
    assert mistake.message.startswith(message)


@pytest.mark.parametrize(
    ("key", "token", "message", "suggestion"),
    [
        ("priority: high", "high", "priority: expected a whole number, found 'high'", None),
        ("name: again", "name", "the key 'name' appears twice in a rule", None),
        ("act_any_time: yes", "yes", "act_any_time: expected true or false, found 'yes'", None),
        ("notice: 1d 12h", "1d 12h", "'1d 12h' is not a duration", "1d12h"),
        ("notice:", " ", "notice: expected a duration, found nothing", None),
        ("include: [schedule]", "schedule", "unknown include 'schedule'", "scheduled"),
        ("unless: {order: {origin: redraw}}", "{order: {origin: redraw}}", "unless: expected a list", None),
    ],
)
def test_a_wrong_key_of_a_rule_is_underlined(
    key: str, token: str, message: str, suggestion: str | None
) -> None:
    mistake = mistakes_in(SMALL.replace("methods", f"{key}\n    methods"))[0]
    assert mistake.line == 6
    assert underlined(mistake).ljust(1) == token
    assert mistake.message.startswith(message)
    assert mistake.suggestion == suggestion


@pytest.mark.parametrize(
    ("right", "wrong", "token", "message"),
    [
        ("version: 1", "version: 2", "2", "unknown version 2"),
        ("version: 1", "version: true", "true", "unknown version true"),
        ("version: 1", 'version: "1"', '"1"', "unknown version '1'"),
        ("acme-care", "{}", "{}", "policy: expected text, found a mapping"),
        ("acme-care", "1.5", "1.5", "policy: expected text, found 1.5"),
        ("sandbox", "Sandbox", "Sandbox", "unknown environment 'Sandbox'"),
        ("environment: sandbox\n", "", "version", "missing key 'environment' in the policy"),
        ("    then: {action: cancel_order}\n", "", "name", "missing key 'then' in a rule"),
        ("[testkit]", "[]", "[]", "methods is an empty list"),
        ("[testkit]", "[test_kit]", "test_kit", "unknown method 'test_kit'"),
        (
            "cancel_order",
            "cancel_psc_appointment",
            "cancel_psc_appointment",
            "cancel_psc_appointment needs walk_in_test",
        ),
        (
            "cancel_order",
            "cancel_home_visit",
            "cancel_home_visit",
            "cancel_home_visit needs at_home_phlebotomy",
        ),
        ("cancel_order", "keep, psc_appointment: never", "never", "psc_appointment means nothing with keep"),
        ("status: {in", "status: [in", "}", "while parsing a flow sequence"),
    ],
)
def test_a_wrong_value_is_underlined(right: str, wrong: str, token: str, message: str) -> None:
    mistake = mistakes_in(SMALL.replace(right, wrong))[0]
    assert underlined(mistake) == token
    assert mistake.message.startswith(message)


@pytest.mark.parametrize(
    ("until", "right"),
    [
        ("2026-12-05T00:00:00Z", True),
        ("2026-12-05T00:00:00-07:00", True),
        ("2026-12-05T00:00:00", False),
        ("2026-12-05", False),
        ("0001-01-01T00:00:00+23:59", False),
    ],
)
def test_an_exemption_ends_at_an_instant_with_a_zone(until: str, right: bool) -> None:
    exempt = (
        f"exemptions: [{{name: storm, reason: snow, until: '{until}', if: [order: {{origin: redraw}}]}}]\n"
    )
    assert isinstance(parse_policy(exempt + SMALL, ""), Policy) is right


def test_a_misspelt_key_does_not_hide_the_mistakes_below_it() -> None:
    found = mistakes_in(SMALL.replace("when:", "wehn:").replace("30d", "30 d"))
    assert [(underlined(it), it.suggestion) for it in found] == [("wehn", "when"), ("30 d", "30d")]


def test_mistakes_of_all_rules_are_reported() -> None:
    rule = SMALL.partition("rules:\n")[2]
    text = SMALL + rule.replace("kit-", "lab-").replace("testkit", "test") + rule.replace("30d", "x")
    assert [underlined(it) for it in mistakes_in(text)] == ["test", "kit-never-registered", "x"]


def test_a_name_belongs_to_one_rule_even_after_it_was_changed() -> None:
    rule = SMALL.partition("rules:\n")[2].replace("kit-never-registered", "kit-forgotten")
    renamed = rule.replace("    methods", "    renamed_from: kit-never-registered\n    methods")
    read(SMALL + rule)
    read(SMALL.replace("kit-never-registered", "kit-lost") + renamed)
    (mistake,) = mistakes_in(SMALL + renamed)
    assert (mistake.line, mistake.message) == (11, "the name 'kit-never-registered' is taken")


def test_a_policy_cannot_ask_for_facts_that_are_not_kept() -> None:
    assert [(it.line, it.message) for it in mistakes_in(FULL, kept=frozenset({"passthrough", "state"}))] == [
        (83, "needs birth_date, which is not kept unless AUTOCANCEL_KEEP_BIRTH_DATE is true"),
        (84, "needs birth_date, which is not kept unless AUTOCANCEL_KEEP_BIRTH_DATE is true"),
    ]


def test_nobody_reads_more_than_some_hundred_mistakes() -> None:
    found = mistakes_in("".join(f"key{number}: 1\n" for number in range(5_000)))
    assert len(found) <= 201
    assert found[-1].message == "too many mistakes to go on"


# --- what is no policy at all ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("# nothing yet\n", "an empty file"),
        ("---\n", "an empty file"),
        (SMALL + "---\n" + SMALL, "a second document"),
        (SMALL.replace("    methods", "\tmethods"), "a tab"),
        (SMALL.replace("acme", "a\0me"), "a control character, U+0000"),
        (SMALL.replace("acme-care", '"a\\0me"'), "a control character in a text"),
        (SMALL.replace("acme-care", '"\\uD800"'), "a control character in a text"),
        (SMALL.replace("acme-care", '"\\UFFFFFFFF"'), "an escape or a number that YAML cannot hold"),
        (SMALL.replace("acme-care", "!!python/name:os.system"), "tags such as"),
        (SMALL.replace("acme-care", "! acme"), "tags such as"),
        ("\ufeff" + SMALL, "begins with a byte order mark"),
        (SMALL.encode("utf-16"), "UTF-16"),
        (SMALL.replace("acme", "café").encode("latin-1"), "not UTF-8: byte 0xe9"),
        ("#" * 300_000, "larger than 256 kB"),
        ("[" * 200_000, "nested more than 40 levels deep"),
        ("{a: " * 60_000, "nested more than 40 levels deep"),
        ("- " * 120_000, "nested more than 40 levels deep"),
        ("a: &a [*a]", "*a stands inside its own anchor"),
        ("a: *b", "found undefined alias"),
        ("a: &a 1\nb: [" + "*a, " * 500 + "]", "too many values or aliases"),
        ("a: [" + "1," * 100_000 + "]", "too many values or aliases"),
    ],
)
def test_a_text_that_is_no_policy_is_one_clear_mistake(text: str | bytes, message: str) -> None:
    (mistake,) = mistakes_in(text)
    assert mistake.message.startswith(message)


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    names = "abcdefghijklmnop"
    lines = [f"{name}: &{name} [{', '.join([f'*{old}'] * 9)}]" for old, name in pairwise(names)]
    (mistake,) = mistakes_in("\n".join(["a: &a [x, x, x]", *lines]))
    assert mistake.message == "too many values or aliases"


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), ""),
    ):
        match load_policy(path):
            case Mistakes(items=(mistake,)):
                assert mistake.code == "unreadable"
                assert reason in mistake.message
            case _:
                pytest.fail(f"read {path!r}")


# --- whatever is written ---------------------------------------------------------------------------------


def assert_places_are_inside(text: str, result: Policy | Mistakes) -> None:
    lines = text.split("\n")
    for it in result.items if isinstance(result, Mistakes) else ():
        assert 1 <= it.line <= len(lines)
        assert it.excerpt == lines[it.line - 1]
        assert 1 <= it.column < it.end_column <= len(it.excerpt) + 2
        assert it.message
        assert str(it)


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    assert_places_are_inside(text, parse_policy(text, "autocancel.yaml"))


@given(st.binary())
def test_no_bytes_are_too_strange(content: bytes) -> None:
    result = parse_policy(content, "autocancel.yaml")
    assert_places_are_inside(content.decode(errors="replace"), result)


yaml_pieces = st.sampled_from(
    [*"[]{},:-?*&!|>'\"#%@`<~= \n\t", ": ", "- ", "? ", "a", "1", "*a", "&a ", "<<", "\r", "\x85", "\u2028"]
)


@given(
    st.lists(yaml_pieces | st.sampled_from(["rules", "when", "status", "any", "name", "30d"])).map("".join)
)
def test_nothing_that_looks_like_yaml_is_too_strange(text: str) -> None:
    assert_places_are_inside(text, parse_policy(text, "autocancel.yaml"))


@given(st.data())
def test_a_damaged_policy_is_read_or_reported(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(FULL) - 1))
    length = data.draw(st.integers(0, 3))
    damaged = FULL[:at] + data.draw(yaml_pieces | st.just("")) + FULL[at + length :]
    assert_places_are_inside(damaged, parse_policy(damaged, "autocancel.yaml"))


def keys_below(node: Node) -> Iterator[tuple[int, int]]:
    """Where every key of a text begins and ends."""
    match node:
        case MappingNode(value=pairs):
            for key, value in pairs:
                yield key.start_mark.index, key.end_mark.index
                yield from keys_below(value)
        case SequenceNode(value=items):
            for item in items:
                yield from keys_below(item)


KEYS = sorted(keys_below(yaml.compose(FULL, Loader=yaml.SafeLoader) or pytest.fail("no keys")))


@given(
    st.sampled_from(KEYS),
    st.integers(0, 30),
    st.sampled_from(["drop", "double", "swap", "capital", "append"]),
)
def test_a_typo_in_any_key_is_reported(key: tuple[int, int], at: int, how: str) -> None:
    """It can never make a rule say less than it did, which could make it act on more."""
    start, end = key
    word = FULL[start:end]
    wrong = misspelt(word, at % len(word), how)
    result = parse_policy(FULL[:start] + wrong + FULL[end:], "autocancel.yaml")
    assert isinstance(result, Mistakes) or wrong == word


def misspelt(word: str, at: int, how: str) -> str:
    before, letter, after = word[:at], word[at], word[at + 1 :]
    match how:
        case "drop":
            return before + after
        case "double":
            return before + letter * 2 + after
        case "swap":
            return before + after[:1] + letter + after[1:]
        case "capital":
            return before + letter.upper() + after
        case _:
            return word + "s"


# --- what `policy check` prints --------------------------------------------------------------------------


def check(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(policy_app, ["check", *arguments])
    return done.exit_code, done.output


def test_people_see_the_line_a_caret_and_what_was_meant() -> None:
    code, output = check(str(EXAMPLES / "broken.yaml"))
    assert code == 1
    assert output.splitlines()[-5:] == [
        f"{EXAMPLES / 'broken.yaml'}:28:20: unknown action 'cancel_ordr'",
        "        then: {action: cancel_ordr}",
        "                       ^^^^^^^^^^^",
        "    did you mean cancel_order?",
        "7 mistakes",
    ]


def test_the_middle_of_a_long_line_is_shown() -> None:
    (mistake,) = mistakes_in("version: 1\npolicy: [" + "a, " * 200 + "!b]")
    _, excerpt, carets, *_ = str(mistake).split("\n")
    assert excerpt[carets.index("^") :].startswith("!b")
    assert len(excerpt) < 200


def test_a_terminal_is_not_made_to_obey_a_policy() -> None:
    (mistake,) = mistakes_in("policy: \x1b[31m\r")
    assert "\x1b" in mistake.excerpt
    assert str(mistake).splitlines()[1] == "    policy:  [31m "


def test_programs_get_json() -> None:
    code, output = check(str(EXAMPLES / "broken.yaml"), "--format", "json")
    found = json.loads(output)
    assert code == 1
    assert len(found) == 7
    assert found[0] == {
        "file": str(EXAMPLES / "broken.yaml"),
        "severity": "error",
        "line": 11,
        "column": 18,
        "end_column": 27,
        "message": "unknown psc_appointment 'sometimes'",
        "suggestion": "never or always",
        "code": "wrong-value",
        "excerpt": "psc_appointment: sometimes",
    }


def test_github_gets_annotations(tmp_path: Path) -> None:
    path = tmp_path / "100%, mine.yaml"
    path.write_text(SMALL.replace("30d", "30%"), encoding="utf-8")
    code, output = check(str(path), "--format", "github")
    assert code == 1
    assert output.startswith(
        f"::error file={tmp_path}/100%25%2C mine.yaml,line=8,col=52,endColumn=54::'30%25' is"
    )


def test_warnings_do_not_fail_a_check() -> None:
    code, output = check(str(EXAMPLES / "autocancel.yaml"))
    assert code == 0
    assert "warning: cancels home visits that are no longer refunded" in output
    assert check(str(EXAMPLES / "minimal.yaml")) == (0, "no warnings\n")


def test_a_file_that_is_not_there_is_not_merely_wrong(tmp_path: Path) -> None:
    code, output = check(str(tmp_path / "none.yaml"))
    assert code == 2
    assert "cannot read: No such file or directory" in output


def test_the_facts_to_be_kept_are_those_of_the_settings() -> None:
    assert check(str(EXAMPLES / "autocancel.yaml"), "--keep", "birth_date,state,passthrough")[0] == 0
    assert check(str(EXAMPLES / "autocancel.yaml"), "--keep", "")[0] == 1
    assert check(str(EXAMPLES / "autocancel.yaml"), "--keep", "birthdate")[0] == 2
