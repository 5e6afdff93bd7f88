"""Reads a policy: YAML text in, a `Policy` or all its mistakes out, each with its place in the text.

What a file may hold is said by the annotations in core/policy.py and core/conditions.py.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import SequenceMatcher
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin
from zoneinfo import available_timezones

from yaml import SafeLoader
from yaml.error import MarkedYAMLError
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from workers.core.conditions import CONDITIONS, Condition, StatusName
from workers.core.policy import Policy, Rule
from workers.core.status import Method, names_of
from workers.core.words import Word, Zone
from workers.policy_lint import Finding, wrong_with
from workers.policy_schema import (
    COUNT,
    PATTERNS,
    WHOLE_NUMBERS,
    Key,
    bare_key,
    choices,
    is_mapping,
    item_name,
    keys_of,
    noun,
    options,
    spelled,
)

T = TypeVar("T")

FACTS = frozenset({"birth_date", "state", "passthrough"})  # of patients; kept only where settings allow

MOST_BYTES = 256 * 1024
MOST_NODES = 20_000  # with every alias written out
MOST_ALIASES = 200
DEEPEST = 40  # levels of lists and mappings; `any` in `any` takes two
LONGEST_WORD = 200  # of anything but plain text
MOST_MISTAKES = 200  # nobody reads more, and looking for what was meant takes time
MOST_LISTED = 25  # words to choose from
WIDEST_EXCERPT = 160  # characters of a line


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong at one place of a file. Lines and columns count from 1; `end_column` is just behind.

    `suggestion` is what was probably meant, ready to be written; `excerpt` is the line it stands on.
    """

    line: int
    column: int
    end_column: int
    message: str
    suggestion: str | None
    code: str
    excerpt: str

    def __str__(self) -> str:
        """The message, the line, a caret below what is wrong, and what may be right."""
        if not self.excerpt.strip():
            return self.message
        cut = max(0, self.column - WIDEST_EXCERPT // 2)
        shown = self.excerpt[cut : cut + WIDEST_EXCERPT]
        excerpt = "".join(char if char.isprintable() else " " for char in shown)  # nothing a terminal obeys
        carets = "^" * (min(self.end_column, cut + WIDEST_EXCERPT) - self.column)
        lines = [self.message, f"    {excerpt}", f"    {' ' * (self.column - 1 - cut)}{carets}"]
        return "\n".join(lines + [f"    did you mean {self.suggestion}?"] * bool(self.suggestion))


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Why there is no policy: everything that is wrong with the file, in its order."""

    source: str
    items: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy with the text it was read from and the SHA-256 of that text in hex."""

    policy: Policy
    text: str
    hash: str


def load_policy(path: Path, kept: frozenset[str] = FACTS) -> Loaded | Mistakes:
    """Read a policy file; `kept` are the facts about patients that the settings allow to be kept.

    A file that cannot be opened is one mistake with the code `unreadable`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path that cannot be one
        reason = getattr(error, "strerror", None) or str(error)
        return Mistakes(str(path), (Mistake(1, 1, 2, f"cannot read: {reason}", None, "unreadable", ""),))
    policy = parse_policy(content, str(path), kept)
    if isinstance(policy, Mistakes):
        return policy
    return Loaded(policy, content.decode(), hashlib.sha256(content).hexdigest())


def parse_policy(text: str | bytes, source: str, kept: frozenset[str] = FACTS) -> Policy | Mistakes:
    """Read a policy from its text; `source` is the name that mistakes are reported under. Raises nothing."""
    return parse(Policy, text, source, kept)


def parse(cls: type[T], text: str | bytes, source: str, kept: frozenset[str] = FACTS) -> T | Mistakes:
    """Read a file that holds one `cls`, a dataclass whose annotations say what it may hold."""
    page = Page(text if isinstance(text, str) else text.decode(errors="replace"))
    try:
        _check_encoding(text)
        reader = _Reader(_compose(page.text), kept)
    except _NoTree as error:
        return Mistakes(source, (page.mistake(error.span, Finding((), "yaml", str(error))),))
    value = reader.read_file(cls)
    if not reader.found:
        assert isinstance(value, cls)
        return value
    once = dict.fromkeys(reader.found)  # an alias is read, and reported, at each use
    found = sorted(once, key=itemgetter(0))
    return Mistakes(source, tuple(page.mistake(span, finding) for span, finding in found))


def locate(text: str, findings: Iterable[Finding]) -> tuple[Mistake, ...]:
    """Where in the text of a good policy each finding stands, in the order of the text."""
    page, root = Page(text), _compose(text)
    found = ((_span(_follow(root, finding.path)), finding) for finding in findings)
    return tuple(page.mistake(span, finding) for span, finding in sorted(found, key=itemgetter(0)))


# --- places ----------------------------------------------------------------------------------------------

Span = tuple[int, int]  # from the first character to just behind the last, as offsets into the text


class Page:
    """A text, to be pointed at."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines[:-1]:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def mistake(self, span: Span, finding: Finding) -> Mistake:
        # What is missing at the end of a text is shown behind its last word.
        start = min(span[0], len(self.text.rstrip()))
        number = bisect_right(self._starts, start) - 1
        line, offset = self._lines[number], self._starts[number]
        column = start - offset + 1
        end = max(min(span[1] - offset, len(line)) + 1, column + 1)
        return Mistake(number + 1, column, end, finding.message, finding.suggestion, finding.code, line)


def _span(node: Node) -> Span:
    """The token to underline for a node: all of it, or the first key of a block."""
    start, end = node.start_mark, node.end_mark
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        return _span(node.value[0][0])
    if isinstance(node, SequenceNode) and not node.flow_style:
        return start.index, start.index + 1
    return start.index, end.index if end.line == start.line else start.index + 1


def _child(node: Node, key: str | int) -> Node | None:
    match node:
        case MappingNode():
            return next((value for name, value in node.value if name.value == key), None)
        case SequenceNode() if isinstance(key, int):
            child: Node = node.value[key]
            return child
    return None


def _follow(node: Node, path: tuple[str | int, ...]) -> Node:
    """The node that a path leads to, as far as it goes."""
    for key in path:
        node = _child(node, key) or node
    return node


# --- YAML 1.2, without tags, merge keys and bombs --------------------------------------------------------


class _NoTree(Exception):
    """The text is no YAML that we read; it says why, and where."""

    def __init__(self, message: str, span: Span = (0, 1)) -> None:
        super().__init__(message)
        self.span = span


_STR, _BOOL, _INT, _FLOAT, _NULL = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "int", "float", "null")
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class _Tree(SafeLoader):
    """PyYAML with the scalars of YAML 1.2, without tags, and with bounds to what it composes."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  PyYAML's own way; those of YAML 1.1 take NO for false

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = self._aliases = self._depth = 0
        self._sizes: dict[str, int] = {}

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._nodes
        self._nodes += 1
        self._depth += 1
        if isinstance(event, AliasEvent):
            self._aliases += 1
            self._nodes += self._size(event)
        elif event.tag is not None:
            raise _refused(f"tags such as {event.tag[:40]!r} are not part of the language", event)
        if self._depth > DEEPEST:
            raise _refused(f"nested more than {DEEPEST} levels deep", event)
        if self._nodes > MOST_NODES or self._aliases > MOST_ALIASES:
            raise _refused("too many values or aliases", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, ScalarNode) and _CONTROL.search(node.value):
            raise _refused("a control character in a text", event)
        if event.anchor and not isinstance(event, AliasEvent):
            self._sizes[event.anchor] = self._nodes - before
        return node

    def _size(self, alias: Any) -> int:
        """How many nodes an alias stands for."""
        if alias.anchor in self.anchors and alias.anchor not in self._sizes:
            raise _refused(f"*{alias.anchor} stands inside its own anchor", alias)
        return self._sizes.get(alias.anchor, 0)


def _refused(message: str, event: Any) -> _NoTree:
    return _NoTree(message, (event.start_mark.index, event.end_mark.index))


for _tag, _spelling, _first in (
    (_BOOL, r"true|false", "tf"),
    (_NULL, r"null|~|", ["n", "~", ""]),
    (_INT, r"[-+]?[0-9]{1,15}", "-+0123456789"),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Tree.add_implicit_resolver(_tag, re.compile(rf"(?:{_spelling})\Z"), list(_first))


def _check_encoding(text: str | bytes) -> None:
    content = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    if len(content) > MOST_BYTES:
        raise _NoTree(f"larger than {MOST_BYTES // 1024} kB")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _NoTree("UTF-16; save it as UTF-8")
    if content.startswith(b"\xef\xbb\xbf"):
        raise _NoTree("begins with a byte order mark; save it as UTF-8 without one")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        at = len(content[: error.start].decode(errors="replace"))
        raise _NoTree(f"not UTF-8: byte 0x{content[error.start]:02x}", (at, at + 1)) from error


def _compose(text: str) -> Node:
    """The tree of a text; raises _NoTree."""
    tree = None
    try:
        tree = _Tree(text)
        root = tree.get_single_node()
    except ReaderError as error:
        at = error.position
        raise _NoTree(f"a control character, U+{ord(text[at]):04X}", (at, at + 1)) from error
    except MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        raise _NoTree(_in_words(error), (mark.index, mark.index + 1)) from error
    except (ValueError, OverflowError) as error:  # PyYAML on "\UFFFFFFFF", or on %YAML 1.999…
        at = tree.get_mark().index if tree else 0
        raise _NoTree("an escape or a number that YAML cannot hold", (at, at + 1)) from error
    if root is None or root.tag == _NULL:
        raise _NoTree("an empty file")
    return root


def _in_words(error: MarkedYAMLError) -> str:
    problem = error.problem or "unreadable"
    if r"'\t'" in problem:
        return "a tab; YAML is indented with spaces"
    if "another document" in problem:
        return "a second document; a file holds one policy"
    context = error.context or ""
    return f"{context}: {problem}" if context.startswith("while") else context or problem


# --- from nodes to values --------------------------------------------------------------------------------


class _Broken:
    """Stands for a value that could not be read. Its mistake is on the list."""


BROKEN = _Broken()


class _Enough(Exception):
    """So many mistakes that there is no point in going on."""


class _Reader:
    """Reads nodes into values and goes on after each mistake."""

    def __init__(self, root: Node, kept: frozenset[str]) -> None:
        self.found: list[tuple[Span, Finding]] = []
        self._root = root
        self._kept = kept
        self._statuses: list[tuple[str, Node]] = []  # of the rule being read

    def read_file(self, cls: type) -> Any:
        """The value of the whole file, if nothing is `found`."""
        try:
            for section in ("rules", "exemptions", "tests"):
                self._check_names(_child(self._root, section))
            return self._read(cls, self._root, f"the {noun(cls)}")
        except _Enough:
            self.found.append((self.found[-1][0], Finding((), "too-many", "too many mistakes to go on")))
            return BROKEN

    def _report(self, at: Node, code: str, message: str, suggestion: str | None = None) -> _Broken:
        self.found.append((_span(at), Finding((), code, message, suggestion)))
        if len(self.found) == MOST_MISTAKES:
            raise _Enough
        return BROKEN

    def _unexpected(self, kind: Any, node: Node, name: str) -> _Broken:
        return self._report(node, "wrong-kind", f"{name}: expected {spelled(kind)}, found {_shown(node)}")

    def _read(self, kind: Any, node: Node, name: str) -> Any:
        """The value of a node that stands under `name`, or BROKEN."""
        kind = _meant(options(kind), node)
        if get_origin(kind) is tuple:
            return self._list(get_args(kind)[0], node, name)
        if kind is Condition:
            return self._condition(node, name)
        if is_mapping(kind):
            return self._mapping(kind, node, name)
        return self._scalar(kind, node, name)

    def _list(self, kind: Any, node: Node, name: str) -> Any:
        if isinstance(node, ScalarNode) and node.tag != _NULL and not is_mapping(kind):
            items = [node]  # `origin: redraw` for `origin: [redraw]`
        elif isinstance(node, SequenceNode):
            items = node.value
        else:
            return self._unexpected(tuple[kind, ...], node, name)
        values = tuple([self._read(kind, item, item_name(kind, name)) for item in items])
        return BROKEN if BROKEN in values else values

    def _scalar(self, kind: Any, node: Node, name: str) -> Any:
        if not isinstance(node, ScalarNode) or node.tag == _NULL:
            return self._unexpected(kind, node, name)
        try:
            value = _value(kind, node, name)
        except _Wrong as wrong:
            return self._report(node, "wrong-value", str(wrong), wrong.suggestion)
        if isinstance(value, StatusName):
            self._statuses.append((str(value), node))
        return value

    # --- mappings

    def _mapping(self, cls: type, node: Node, name: str) -> Any:
        if not isinstance(node, MappingNode):
            return self._unexpected(cls, node, name)
        if cls is Rule:
            self._statuses.clear()
        keys = keys_of(cls)
        nodes = self._nodes(node, keys, "key", f" in {name}")
        missing = [key.name for key in keys.values() if key.required and key.name not in nodes]
        for key in missing:
            self._report(node, "missing-key", f"missing key {key!r} in {name}")
        values = {key: self._field(keys[key], value, key) for key, value in nodes.items()}
        said = {key: value for key, value in values.items() if value is not BROKEN}
        self._judge(cls, node, said)
        if missing or len(said) < len(values):
            return BROKEN
        return cls(**{keys[key].field: value for key, value in said.items()})

    def _nodes(self, node: MappingNode, words: Collection[str], what: str, where: str) -> dict[str, Node]:
        """The values of a mapping by key.

        A misspelt key counts as what it probably means, so that the mistakes below it are found too.
        """
        known: dict[str, Node] = {}
        unknown: list[tuple[Node, Node]] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.value not in words:
                unknown.append((key, value))
            elif key.value in known:
                self._report(key, "duplicate", f"the key {key.value!r} appears twice{where}")
            else:
                known[key.value] = value
        for key, value in unknown:
            meant = self._unknown(key, words, what, where)
            if meant is not None:
                known.setdefault(meant, value)
        return known

    def _unknown(self, key: Node, words: Collection[str], what: str, where: str) -> str | None:
        """Reports a key; returns the one that it probably stands for."""
        if not isinstance(key, ScalarNode):
            self._report(key, "wrong-kind", f"a key must be a word, not {_shown(key)}")
            return None
        if key.value == "<<":
            self._report(key, "unknown-key", "merge keys are not part of the language")
            return None
        meant = suggestion(key.value, words)
        self._report(key, f"unknown-{what}", f"unknown {what} {_quoted(key.value)}{where}", meant)
        return meant if meant in words else None

    def _field(self, key: Key, node: Node, name: str) -> Any:
        value = self._read(key.kind, node, name)
        if value == () and key.default != ():
            return self._report(node, "wrong-value", f"{name} is an empty list")
        return value

    def _judge(self, cls: type, node: MappingNode, said: dict[str, Any]) -> None:
        """What is wrong although each value is right."""
        for finding in wrong_with(cls, said):
            self._report(_follow(node, finding.path), finding.code, finding.message, finding.suggestion)
        if cls is Rule and "methods" in said:
            self._check_statuses(said["methods"])
        keys = keys_of(cls).values()
        if issubclass(cls, Condition) and not node.value and not any(key.required for key in keys):
            few = ", ".join(key.name for key in keys)
            self._report(node, "always-true", f"this always holds; say at least one of {few}")

    # --- conditions

    def _condition(self, node: Node, name: str) -> Any:
        if not isinstance(node, MappingNode):
            return self._unexpected(Condition, node, name)
        nodes = self._nodes(node, CONDITIONS, "condition", "")
        if len(node.value) != 1:
            self._report(node, "wrong-kind", f"a condition has exactly one key, not {len(node.value)}")
        found = [self._named(CONDITIONS[key], value, key) for key, value in nodes.items()]
        for condition in found:
            self._check_facts(condition, node)
        return found[0] if len(found) == 1 else BROKEN

    def _named(self, cls: type, node: Node, name: str) -> Any:
        key = bare_key(cls)
        if key is None:
            return self._mapping(cls, node, name)
        value = self._field(key, node, name)
        return value if value is BROKEN else cls(value)

    def _check_facts(self, condition: Condition | _Broken, node: Node) -> None:
        if isinstance(condition, Condition):
            for fact in sorted(condition.missing_facts() - self._kept):
                message = f"needs {fact}, which is not kept unless AUTOCANCEL_KEEP_{fact.upper()} is true"
                self._report(node, "not-kept", message)

    # --- what only the whole can tell

    def _check_statuses(self, methods: tuple[Method, ...]) -> None:
        names = sorted({name for method in methods for name in names_of(method)})
        for status, node in self._statuses:
            if status not in names:
                message = f"no order of {' or '.join(methods)} is ever {_quoted(status)}"
                self._report(node, "unreachable-status", message, suggestion(status, names))

    def _check_names(self, section: Node | None) -> None:
        """A name, also one that a rule had before, belongs to one rule: its history goes by it."""
        items = section.value if isinstance(section, SequenceNode) else []
        taken: set[str] = set()
        for key in ("name", "renamed_from"):
            for name in (_child(item, key) for item in items):
                if isinstance(name, ScalarNode):
                    if name.value in taken:
                        self._report(name, "duplicate", f"the name {_quoted(name.value)} is taken")
                    taken.add(name.value)


def _meant(kinds: tuple[Any, ...], node: Node) -> Any:
    """Which member of a union a node is written as."""
    return next((kind for kind in kinds if isinstance(node, _written_as(kind))), kinds[0])


def _written_as(kind: Any) -> type[Node]:
    if get_origin(kind) is tuple:
        return SequenceNode
    return MappingNode if is_mapping(kind) or kind is Condition else ScalarNode


# --- scalars ---------------------------------------------------------------------------------------------


class _Wrong(ValueError):
    """A scalar that its kind does not admit."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


def _value(kind: Any, node: ScalarNode, name: str) -> Any:
    """The value of a scalar that is not null; raises _Wrong."""
    if kind is str:
        return _text(node, name)
    if len(node.value) > LONGEST_WORD:
        raise _Wrong(f"{name}: too long to be {spelled(kind)}")
    if hasattr(kind, "parse"):
        return _parsed(kind, _text(node, name) if issubclass(kind, Word) else node.value)
    if few := choices(kind):
        return _chosen(kind, few, node, name)
    value = _PLAIN[kind](node)
    if value is None:
        raise _Wrong(f"{name}: expected {spelled(kind)}, found {_shown(node)}")
    if kind is int and value not in (allowed := WHOLE_NUMBERS.get(name, COUNT)):
        raise _Wrong(f"{name} must be from {allowed[0]} to {allowed[-1]}")
    return value


def _text(node: ScalarNode, name: str) -> str:
    if node.tag != _STR:
        raise _Wrong(f"{name}: expected text, found {_shown(node)}", f'"{node.value}"')
    if not node.value.strip():
        raise _Wrong(f"{name} is an empty text")
    return str(node.value)


def _parsed(kind: Any, text: str) -> Any:
    try:
        return kind.parse(text)
    except ValueError as error:
        words = available_timezones() if kind is Zone else choices(kind)
        if words:
            raise _Wrong(f"unknown {noun(kind)} {_quoted(text)}", suggestion(text, words)) from error
        problem, _, advice = str(error).partition("write ")
        if advice == getattr(kind, "example", "") or not _parses(kind, advice):
            raise _Wrong(str(error)) from error
        raise _Wrong(problem.rstrip(" :;"), advice) from error


def _parses(kind: Any, text: str) -> bool:
    try:
        kind.parse(text)
    except ValueError:
        return False
    return True


def _chosen(kind: Any, few: tuple[Any, ...], node: ScalarNode, name: str) -> Any:
    for choice in few:
        if node.value == str(choice) and (node.tag == _STR) == isinstance(choice, str):
            return kind(choice) if isinstance(kind, type) else choice
    raise _Wrong(f"unknown {name} {_shown(node)}", suggestion(node.value, map(str, few)))


def _date(node: ScalarNode) -> date | None:
    try:
        return date.fromisoformat(node.value) if re.fullmatch(PATTERNS[date], node.value) else None
    except ValueError:
        return None


def _instant(node: ScalarNode) -> datetime | None:
    try:
        if re.fullmatch(PATTERNS[datetime], node.value):
            return datetime.fromisoformat(node.value).astimezone(UTC)
    except (ValueError, OverflowError):  # 30 February; the year 1 east of Greenwich
        pass
    return None


_PLAIN: dict[Any, Callable[[ScalarNode], Any]] = {
    bool: lambda node: node.value == "true" if node.tag == _BOOL else None,
    int: lambda node: int(node.value) if node.tag == _INT else None,
    date: _date,
    datetime: _instant,
}


# --- words -----------------------------------------------------------------------------------------------


def suggestion(text: str, words: Iterable[str]) -> str | None:
    """What was probably meant: one word, a few when none stands out, or all there are to choose from."""
    text = text[:LONGEST_WORD].lower()
    likeness = {word: SequenceMatcher(None, text, word.lower()).ratio() for word in words}
    least = max(0.6, max(likeness.values()) - 0.2)
    close = sorted((word for word in likeness if likeness[word] >= least), key=lambda word: -likeness[word])
    few = close[:3] or (list(likeness) if len(likeness) <= MOST_LISTED else [])
    return " or ".join(filter(None, (", ".join(few[:-1]), *few[-1:]))) or None


def _shown(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return {_NULL: "nothing", _STR: _quoted(node.value)}.get(node.tag) or _cut(node.value)
    return "a list" if isinstance(node, SequenceNode) else "a mapping"


def _quoted(text: str) -> str:
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
