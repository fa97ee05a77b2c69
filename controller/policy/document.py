"""Policy text as plain values, each with its place in the file.

YAML 1.2 without its dangers: no tags that build objects, no aliases that multiply, no key given twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from controller.policy.problems import DocumentError, KeyPath, Problem, dotted

MAX_BYTES = 1 << 20
"""A policy of 1000 deployments, commented, is a tenth of this."""
MAX_DEPTH = 20
MAX_VALUES = 200_000
"""Values after aliases are followed."""

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

_PREFIX = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({f"{_PREFIX}str", f"{_PREFIX}timestamp"})
_NUMBER_TAGS = frozenset({f"{_PREFIX}{kind}" for kind in ("int", "float", "bool", "null")})
_MERGE_TAG = f"{_PREFIX}merge"


@dataclass(frozen=True, slots=True)
class Place:
    """A line and a column, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its values, and where each key (or list item) stands."""

    values: dict[str, Plain]
    places: Mapping[KeyPath, Place]

    def place(self, path: KeyPath) -> Place:
        """Return where ``path`` stands, or its nearest parent that is in the file."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def read_document(data: bytes) -> Document:
    """Parse one YAML mapping.

    Raises:
        DocumentError: it is too large, no text, no YAML, no mapping, or not safe to read.

    """
    text = _decode(data)
    root = _compose(text)
    if root is None:
        _fail(Place(1, 1), "", "the file is empty", "write at least version, and one entry under deployments")
    if not isinstance(root, MappingNode):
        _fail(_place(root), "", f"the file is {_kind(root)}", "a policy is a mapping that begins with `version: 1`")
    reader = _NodeReader()
    values = reader.mapping(root, ())
    if reader.problems:
        raise DocumentError(reader.problems)
    return Document(values, {(): _place(root), **reader.places})


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        _fail(None, "", f"the file is larger than {MAX_BYTES // 1024} KiB", "a policy is a short YAML file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        column = exc.start - data.rfind(b"\n", 0, exc.start)
        _fail(Place(line, column), "", "the file is not UTF-8 text", "a policy is a YAML text file, saved as UTF-8")
    return text


def _compose(text: str) -> Node | None:
    yaml = YAML(typ="safe", pure=True)
    try:
        node: Node | None = yaml.compose(text)
    except ReaderError as exc:
        before = text[: exc.position]
        place = Place(before.count("\n") + 1, exc.position - before.rfind("\n"))
        _fail(place, "", f"the character {text[exc.position]!a} is not allowed in YAML", "a policy is a YAML text file")
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise DocumentError([_syntax_problem(exc, text, place)]) from exc
    except (YAMLError, ValueError) as exc:
        _fail(Place(1, 1), "", f"invalid YAML ({exc})", "compare it with the example in docs/policy.md")
    except RecursionError:
        _fail_depth(None, ())
    return node


def _syntax_problem(exc: MarkedYAMLError, text: str, place: Place) -> Problem:
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        column = indent.index("\t") + 1
        return Problem(place.line, column, "", "a tab in the indentation", "indent with spaces only")
    said = ", ".join(str(part) for part in (exc.context, exc.problem) if part)
    if "single document" in said:
        return Problem(place.line, place.column, "", "a second document begins", "keep one document, without `---`")
    return Problem(place.line, place.column, "", f"invalid YAML: {said}", "check indentation, colons and quotes here")


@dataclass(slots=True)
class _NodeReader:
    """Turns nodes into plain values and remembers where they were."""

    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    seen: int = 0
    constructor: SafeConstructor = field(default_factory=lambda: YAML(typ="safe", pure=True).constructor)

    def value(self, node: Node, path: KeyPath) -> Plain:
        self.seen += 1
        if self.seen > MAX_VALUES:
            _fail(
                _place(node),
                dotted(path),
                f"more than {MAX_VALUES} values once aliases are followed",
                "use fewer aliases (*name)",
            )
        if len(path) > MAX_DEPTH:
            _fail_depth(_place(node), path)
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return self._sequence(node, path)
        return self._scalar(node, path)

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Plain]:
        self._refuse_tag(node, path, f"{_PREFIX}map")
        merged: dict[str, Plain] = {}
        for source in self._merge_sources(node, path):
            values = self.value(source, path)
            merged = {**values, **merged} if isinstance(values, dict) else merged
        own: dict[str, Plain] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None or key_node.tag == _MERGE_TAG:
                continue
            here = (*path, key)
            if key in own:
                first = self.places[here]
                self._problem(key_node, here, f"is given twice (first on line {first.line})", "keep one of the two")
                continue
            self.places[here] = _place(key_node)
            own[key] = self.value(value_node, here)
        return {**merged, **own}

    def _merge_sources(self, node: MappingNode, path: KeyPath) -> Iterator[MappingNode]:
        for _, merged in (entry for entry in node.value if entry[0].tag == _MERGE_TAG):
            for source in merged.value if isinstance(merged, SequenceNode) else [merged]:
                if isinstance(source, MappingNode):
                    yield source
                else:
                    self._problem(source, path, f"`<<` merges {_kind(source)}", "name a mapping: `<<: *name`")

    def _sequence(self, node: SequenceNode, path: KeyPath) -> list[Plain]:
        self._refuse_tag(node, path, f"{_PREFIX}seq")
        items: list[Plain] = []
        for index, item in enumerate(node.value):
            here = (*path, index)
            self.places[here] = _place(item)
            items.append(self.value(item, here))
        return items

    def _scalar(self, node: Node, path: KeyPath) -> Plain:
        if node.tag in _TEXT_TAGS:
            return str(node.value)
        if node.tag not in _NUMBER_TAGS:
            self._refuse_tag(node, path, f"{_PREFIX}str")
            return str(node.value)
        try:
            number: Plain = self.constructor.construct_object(node)
        except (YAMLError, ValueError):
            self._problem(node, path, "is not a readable number", "write a number, or put text in quotes")
            return None
        return number

    def _key(self, node: Node, path: KeyPath) -> str | None:
        if isinstance(node, ScalarNode):
            return str(node.value)
        self._problem(node, path, f"{_kind(node)} stands where a key should", "write `key: value`")
        return None

    def _refuse_tag(self, node: Node, path: KeyPath, usual: str) -> None:
        if node.tag != usual:
            shown = str(node.tag).replace(_PREFIX, "!!")
            self._problem(node, path, f"has the tag {shown}", "leave the tag out; values are plain YAML")

    def _problem(self, node: Node, path: KeyPath, wrong: str, right: str) -> None:
        place = _place(node)
        self.problems.append(Problem(place.line, place.column, dotted(path), wrong, right))


def _place(node: Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _kind(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    return f"the plain value {str(node.value)[:40]!r}"


def _fail_depth(place: Place | None, path: KeyPath) -> NoReturn:
    _fail(place, dotted(path[:3]), f"values are nested more than {MAX_DEPTH} levels deep", "a policy needs 5 levels")


def _fail(place: Place | None, where: str, wrong: str, right: str) -> NoReturn:
    line, column = (place.line, place.column) if place else (0, 0)
    raise DocumentError([Problem(line, column, where, wrong, right)])
