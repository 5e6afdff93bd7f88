"""What a policy may say, made from the types that hold it: its keys, a JSON Schema for editors, a vocabulary.

Nothing is written down twice: the reader in policy_file.py goes by the same keys.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from workers.core.conditions import Condition

# Whole numbers, by the key that holds one; any other is a count.
WHOLE_NUMBERS = {
    "per_hour": range(1, 1_000_001),
    "per_day": range(1, 1_000_001),
    "at_least": range(1, 1_001),
    "age_below": range(1, 151),
    "priority": range(-1_000_000, 1_000_001),
}
COUNT = range(1_000_001)


@dataclass(frozen=True)
class Key:
    """One key of a mapping: its spelling in YAML, the field it fills, what it holds, what it means."""

    name: str
    field: str
    kind: Any
    says: str
    required: bool
    default: Any


@cache
def keys_of(cls: type) -> dict[str, Key]:
    """The keys of the mapping that is read into `cls`, in the order of its fields."""
    hints = get_type_hints(cls, include_extras=True)
    keys = (_key(field, hints[field.name]) for field in fields(cls))
    return {key.name: key for key in keys}


def _key(field: Field[Any], hint: Any) -> Key:
    kind, *says = get_args(hint) if get_origin(hint) is Annotated else (hint, "")
    required = field.default is MISSING and field.default_factory is MISSING
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return Key(field.name.rstrip("_"), field.name, kind, says[0], required, default)


def bare_key(cls: type) -> Key | None:
    """The only key of a class that is written without it: `any` takes its list as it is."""
    key, *others = keys_of(cls).values()
    return None if others or key.says else key


def options(kind: Any) -> tuple[Any, ...]:
    """The members of a union but for None, which nobody writes: a key is left out instead."""
    members = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    return tuple(member for member in members if member is not NoneType)


def is_mapping(kind: Any) -> bool:
    """Whether a kind is written as a mapping, as conditions are, too."""
    return is_dataclass(kind) and not hasattr(kind, "parse")


def choices(kind: Any) -> tuple[Any, ...]:
    """All values of a kind that has few, as they are written."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(member.value for member in kind)
    return tuple(getattr(kind, "words", ()))


def noun(cls: type) -> str:
    """What to call a value of a class: `AppointmentStatus` is an appointment status."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", cls.__name__).lower().removesuffix(" name")


def item_name(kind: Any, name: str) -> str:
    """What to call an item of the list `name`: `rules` holds rules, the lists of a condition mere values."""
    if not is_mapping(kind) or kind is Condition:
        return name
    return f"{'an' if noun(kind)[0] in 'aeiou' else 'a'} {noun(kind)}"


PLAIN = {
    bool: "true or false",
    int: "a whole number",
    str: "text",
    date: "a date like 2026-11-27",
    datetime: "an instant with its zone, like 2026-12-05T00:00:00Z",
}


def spelled(kind: Any) -> str:
    """What is expected where a kind stands, in words."""
    return " or ".join(_spelled(option) for option in options(kind))


def _spelled(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a list, each item {spelled(get_args(kind)[0])}"
    if kind in PLAIN:
        return PLAIN[kind]
    if kind is Condition:
        return "a condition"
    if is_mapping(kind):
        return f"a mapping of {', '.join(keys_of(kind))}"
    if few := choices(kind):
        return f"one of {', '.join(map(str, few))}" if len(few) > 1 else str(few[0])
    return f"a {noun(kind)}" + (f" like {kind.example}" if hasattr(kind, "example") else "")


# --- JSON Schema ------------------------------------------------------------------------------------------

PATTERNS = {
    Duration: r"(?=.)([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?|[0-9]+bd",
    str: r"[\s\S]*\S[\s\S]*",
    date: r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    datetime: r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})",
}

Schema = dict[str, Any]


def json_schema() -> Schema:
    """What editors need to complete and check a policy, as JSON Schema (draft 7).

    A file that it admits may still contradict itself; only policy_file.py knows everything.
    """
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Autocancel policy",
        **_mapping_schema(Policy),
        "definitions": {"condition": _condition_schema()},
    }


def _mapping_schema(cls: type) -> Schema:
    keys = keys_of(cls).values()
    return {
        "type": "object",
        "description": _summary(cls),
        "properties": {key.name: _property(key) for key in keys},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }


def _condition_schema() -> Schema:
    return {
        "type": "object",
        "properties": {name: _body_schema(cls) for name, cls in CONDITIONS.items()},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


def _body_schema(cls: type) -> Schema:
    key = bare_key(cls)
    if key is not None:
        return _property(key) | {"description": _summary(cls)}
    return _mapping_schema(cls) | {"minProperties": 1}


def _property(key: Key) -> Schema:
    few = [_schema(kind, key) for kind in options(key.kind)]
    schema = few[0] if len(few) == 1 else {"anyOf": few}
    if key.says:
        schema = {"description": key.says, **schema}
    return schema if _written(key.default) is None else {**schema, "default": _written(key.default)}


def _schema(kind: Any, key: Key) -> Schema:
    if get_origin(kind) is tuple:
        return _list_schema(get_args(kind)[0], key)
    if kind is Condition:
        return {"$ref": "#/definitions/condition"}
    if is_mapping(kind):
        return _mapping_schema(kind)
    if kind is bool:
        return {"type": "boolean"}
    if kind is int:
        allowed = WHOLE_NUMBERS.get(key.name, COUNT)
        return {"type": "integer", "minimum": allowed[0], "maximum": allowed[-1]}
    if few := choices(kind):
    ...
