"""What a policy may say, made from the types that hold it: its keys, a JSON Schema for editors, a vocabulary.

Nothing is written down twice: the reader in policy_file.py goes by the same keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from workers.core.anchors import ANCHORS
from workers.core.calendar import Duration
from workers.core.conditions import CONDITIONS, Condition
from workers.core.policy import Act, Policy
from workers.core.status import Method, names_of

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
    if isinstance(kind, type) and issubclass(kind, Enum):
        return noun(kind)
    return an(noun(kind)) if is_mapping(kind) and kind is not Condition else name


def an(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


MOST_SPELLED = 8  # words to choose from; of more only the kind is named

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
    if hasattr(kind, "example"):
        return f"{an(noun(kind))} like {kind.example}"
    if is_mapping(kind):
        keys = keys_of(kind)
        return "a mapping" + (f" of {', '.join(keys)}" if len(keys) <= MOST_SPELLED else "")
    if 0 < len(few := choices(kind)) <= MOST_SPELLED:
        return f"one of {', '.join(map(str, few))}" if len(few) > 1 else str(few[0])
    return an(noun(kind))


# --- JSON Schema -----------------------------------------------------------------------------------------

Schema = dict[str, Any]

PATTERNS = {
    Duration: "([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?|[0-9]+bd",
    date: "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    datetime: "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})",
}


def json_schema() -> Schema:
    """What editors need to complete and check a policy, as JSON Schema (draft 7).

    A file that it admits may still contradict itself: policy_file.py has the last word.
    """
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Autocancel policy",
        **_mapping(Policy),
        "definitions": {"condition": _condition()},
    }


def _mapping(cls: type) -> Schema:
    keys = keys_of(cls).values()
    return {
        "type": "object",
        "description": _summary(cls),
        "properties": {key.name: _property(key) for key in keys},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }


def _condition() -> Schema:
    return {
        "type": "object",
        "properties": {name: _body(cls) for name, cls in CONDITIONS.items()},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


def _body(cls: type) -> Schema:
    key = bare_key(cls)
    if key is not None:
        return {**_property(key), "description": _summary(cls)}
    return {**_mapping(cls), "minProperties": 1}


def _property(key: Key) -> Schema:
    few = [_schema(kind, key) for kind in options(key.kind)]
    schema = few[0] if len(few) == 1 else {"anyOf": few}
    default = {} if (written := _written(key.default)) is None else {"default": written}
    return {**schema, "description": key.says, **default}


def _schema(kind: Any, key: Key) -> Schema:
    if get_origin(kind) is tuple:
        return _list(get_args(kind)[0], key)
    if kind is Condition:
        return {"$ref": "#/definitions/condition"}
    if is_mapping(kind):
        return _mapping(kind)
    if kind is bool:
        return {"type": "boolean"}
    if kind is int:
        allowed = WHOLE_NUMBERS.get(key.name, COUNT)
        return {"type": "integer", "minimum": allowed[0], "maximum": allowed[-1]}
    if pattern := getattr(kind, "pattern", PATTERNS.get(kind)):
        return {"type": "string", "minLength": 1, "pattern": f"^({pattern})$"}
    if few := choices(kind):
        return {"enum": list(few)}
    return {"type": "string", "pattern": r"\S"}


def _list(kind: Any, key: Key) -> Schema:
    item = _schema(kind, key)
    several = {"type": "array", "items": item, "minItems": 0 if key.default == () else 1}
    return several if is_mapping(kind) else {"anyOf": [several, item]}


def _written(value: Any) -> Any:
    """A default as it would stand in a file; None for a mapping, whose keys have their own, and for none."""
    if value is MISSING or value is None or is_mapping(type(value)):
        return None
    if isinstance(value, tuple):
        return list(map(_written, value))
    return value if isinstance(value, bool | int) else str(value)


def _summary(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split())


# --- the vocabulary --------------------------------------------------------------------------------------

ACTIONS: dict[str, str] = {
    Act.CANCEL_ORDER: "the order, and its PSC slot as psc_appointment says",
    Act.CANCEL_PSC: "the slot at a patient service centre alone",
    Act.CANCEL_HOME_VISIT: "the home visit alone, while it is refunded",
    Act.KEEP: "nothing; rules of the same or a lower priority must not act either",
}
DURATIONS = {
    "10s, 90m, 24h": "exact time",
    "14d, 2w": "calendar days in time.zone: the same time by the clock, over changes of the clock too",
    "1d12h": "days first, then exact time",
    "5bd": "business days, never combined; on a day off they begin at 00:00 of the next business day",
}


@dataclass(frozen=True)
class Row:
    """A word, what is to be written for it, and what it means."""

    word: str
    takes: str
    says: str


@dataclass(frozen=True)
class Section:
    """Words that stand together under one name."""

    name: str
    says: str
    rows: tuple[Row, ...]


def vocabulary() -> dict[str, Section]:
    """Everything that a policy can say: its mappings, then conditions, then the words used in them."""
    mappings: dict[type, str] = {}
    for name, cls in _mappings(Policy, "policy"):
        mappings.setdefault(cls, name)
    sections = [
        *(_keys(name, cls) for cls, name in mappings.items()),
        *(_keys(name, cls) for name, cls in CONDITIONS.items()),
        _words(
            "conditions",
            "What `when`, `unless` and `if` list: mappings of one key each.",
            {name: _summary(cls) for name, cls in CONDITIONS.items()},
        ),
        _words(
            "anchors",
            "What `elapsed` and `remaining` measure from.",
            {name: says for name, (says, _) in ANCHORS.items()}
            | {"signal:<name>": "when the platform posted that signal"},
        ),
        _words(
            "statuses",
            "What the orders of each method can be.",
            {method: ", ".join(names_of(method)) for method in Method},
        ),
        _words("durations", "How long; none is 0m.", DURATIONS),
        _words("actions", "What `then` does.", ACTIONS),
    ]
    return {section.name: section for section in sections}


def _keys(name: str, cls: type) -> Section:
    bare = bare_key(cls)
    if bare is not None:
        return Section(name, _summary(cls), (Row(name, _takes(bare), ""),))
    rows = (Row(key.name, _takes(key), key.says) for key in keys_of(cls).values())
    return Section(name, _summary(cls), tuple(rows))


def _words(name: str, says: str, words: Mapping[str, str]) -> Section:
    return Section(name, says, tuple(Row(word, "", what) for word, what in words.items()))


def look_up(name: str) -> tuple[Section, ...]:
    """The section of a name, or the places at which a word may stand; empty if nobody knows it."""
    everything = vocabulary()
    if name in everything:
        return (everything[name],)
    return tuple(
        Section(section.name, section.says, rows)
        for section in everything.values()
        if (rows := tuple(row for row in section.rows if row.word == name))
    )


def _mappings(cls: type, name: str) -> Iterator[tuple[str, type]]:
    """A mapping and those inside it, by the names to look them up under."""
    yield name, cls
    prefix = "" if cls is Policy else f"{name}."
    for key in keys_of(cls).values():
        for kind in options(key.kind):
            listed = get_origin(kind) is tuple
            inner = get_args(kind)[0] if listed else kind
            if is_mapping(inner) and inner is not Condition:
                yield from _mappings(inner, noun(inner) if listed else prefix + key.name)


def _takes(key: Key) -> str:
    if key.required:
        return f"{spelled(key.kind)}; required"
    match _written(key.default):
        case None | []:
            return spelled(key.kind)
        case bool(default):
            return f"{spelled(key.kind)}; {str(default).lower()} when left out"
        case list(items):
            return f"{spelled(key.kind)}; {', '.join(items)} when left out"
        case default:
            return f"{spelled(key.kind)}; {default} when left out"
