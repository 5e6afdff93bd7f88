"""The JSON Schema and the vocabulary: both say what the reader accepts."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import event, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from workers.core.anchors import ANCHORS
from workers.core.conditions import CONDITIONS
from workers.core.policy import Act, Policy
from workers.policy_cli import policy_app
from workers.policy_file import parse_policy
from workers.policy_schema import json_schema, look_up, vocabulary

EXAMPLES = Path(__file__).parents[2] / "examples"
SCHEMA = Draft7Validator(json_schema())


class Editor(yaml.SafeLoader):
    """Reads YAML as editors do, to whom `on` is a word."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as PyYAML has it
        first: kinds for first, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items() if first not in "oO"
    }  # fmt: skip


def as_data(name: str) -> Any:
    return yaml.load((EXAMPLES / name).read_text(encoding="utf-8"), Loader=Editor)


# --- the schema ------------------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(json_schema())


@pytest.mark.parametrize("name", ["minimal.yaml", "autocancel.yaml"])
def test_the_examples_fit_the_schema(name: str) -> None:
    assert list(SCHEMA.iter_errors(as_data(name))) == []


def test_an_editor_marks_the_same_seven_places() -> None:
    marked = sorted(
        "/".join(map(str, error.absolute_path)) for error in SCHEMA.iter_errors(as_data("broken.yaml"))
    )
    assert marked == [
        "psc_appointment",
        "rules/0",
        "rules/0/when/0/status/in",
        "rules/1/then/action",
        "rules/1/when/0",
        "rules/1/when/1/status/for",
        "rules/1/when/2/remaining/until",
    ]


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"kit": {"left_warehouse": True}, "order": {"origin": "redraw"}},
        {"order": {}},
        {"any": []},
        {"not": []},
        {"status": {"in": []}},
        {"status": {"in": ["ordered"], "for": ""}},
        {"seen": {"status": "ordered", "at_least": 0}},
    ],
)
def test_an_editor_marks_wrong_conditions(condition: dict[str, Any]) -> None:
    policy = as_data("minimal.yaml")
    policy["rules"][0]["when"] = [condition]
    assert not SCHEMA.is_valid(policy)


def test_every_key_is_described() -> None:
    def undescribed(schema: Any, path: str = "") -> Iterator[str]:
        for name, inner in schema.get("properties", {}).items():
            if not inner.get("description"):
                yield f"{path}/{name}"
            yield from undescribed(inner, f"{path}/{name}")

    assert list(undescribed(json_schema())) == []
    assert list(undescribed(json_schema()["definitions"]["condition"])) == []


FULL = as_data("autocancel.yaml")


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with every key or index of it."""
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield data, key
        yield from places(data[key])


anything: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, 1, -1, "", " ", "x", "30d", "5bd", "09:00", "ordered", "keep", [], {}, ["ordered"]]
)


@given(st.data())
def test_an_editor_never_marks_what_the_reader_accepts(data: st.DataObject) -> None:
    policy = copy.deepcopy(FULL)
    container, key = data.draw(st.sampled_from(list(places(policy))))
    if data.draw(st.booleans()):
        del container[key]
    else:
        container[key] = data.draw(anything)
    accepted = isinstance(parse_policy(json.dumps(policy), "autocancel.yaml"), Policy)
    event("accepted" if accepted else "refused")
    assert SCHEMA.is_valid(policy) or not accepted


def test_the_command_prints_the_schema() -> None:
    assert json.loads(CliRunner().invoke(policy_app, ["schema"]).output) == json_schema()


# --- the vocabulary --------------------------------------------------------------------------------------


def words(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(policy_app, ["words", *arguments], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def test_everything_that_can_be_said_is_in_the_vocabulary() -> None:
    everything = vocabulary()
    assert set(CONDITIONS) <= set(everything)
    assert [row.word for row in everything["conditions"].rows] == list(CONDITIONS)
    assert {row.word for row in everything["anchors"].rows} == {*ANCHORS, "signal:<name>"}
    assert {row.word for row in everything["actions"].rows} == set(Act)
    assert {"policy", "rule", "exemption", "time", "limits", "rule.limits"} <= set(everything)


def test_every_word_says_what_it_means_or_takes() -> None:
    assert [
        row for section in vocabulary().values() for row in section.rows if not (row.says or row.takes)
    ] == []


def test_a_condition_is_explained_with_its_keys() -> None:
    code, output = words("status")
    assert code == 0
    assert output.startswith("status: The order is in one of these statuses")
    assert "how long the unbroken stay must have lasted" in output
    assert "a list, each item a status; required" in output


def test_a_key_is_explained_wherever_it_stands() -> None:
    assert [section.name for section in look_up("psc_appointment")] == ["policy", "rule.then"]
    assert "one of skip, include; skip when left out" in words("backlog")[1]
    assert "America/New_York when left out" in words("time")[1]
    assert "true or false; false when left out" in words("act_any_time")[1]


def test_the_whole_vocabulary_is_printed_at_once() -> None:
    code, output = words()
    assert code == 0
    assert all(f"{name}: " in output for name in vocabulary())


def test_an_unknown_word_is_met_with_the_nearest() -> None:
    code, output = words("elapsd")
    assert code == 1
    assert output == "no word 'elapsd'; did you mean elapsed?\n"
