"""YAML without its traps: one meaning a text, or none.

YAML 1.1 reads `22:00` as 1320, `no` as false, `0777` as 511 and `1_0` as 10; a duplicate key silently wins;
an alias can blow a small file up. A policy must not depend on knowing that, so all of it is refused.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import yaml

from agentguard.core import DocumentError, Location

if TYPE_CHECKING:
    from collections.abc import Mapping

Field = tuple[str | int, ...]

MAX_DEPTH = 64

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
# What the core schema of YAML 1.2 (section 10.3.2) reads as a number and YAML 1.1 may read as a text.
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_WORDS = {"true": True, "false": False}
_NULLS = frozenset(("null", "~", ""))


def parse_yaml(text: str, file: str) -> tuple[Any, Mapping[Field, int]]:
    """Return the value of one YAML document and the line of each part of it.

    Raises:
        DocumentError: the text is no YAML, or uses what two readers could read in two ways.
    """
    root = compose(text, file)
    if root is None:
        return None, {(): 1}
    reader = _Reader(file)
    return reader.value(root, ()), reader.lines


def compose(text: str, file: str) -> yaml.Node | None:
    """Return the root node of the one document in `text`, or None when it is empty."""
    try:
        loader = _LOADER(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "is no YAML"
        line = mark.line + 1 if mark is not None else None
        raise DocumentError(str(problem), location=Location(file, line)) from None
    except (RecursionError, ValueError) as error:
        raise DocumentError(f"is no YAML: {type(error).__name__}", location=Location(file)) from None
    return node


def load_yaml(text: str, file: str) -> Any:
    """Return the value of YAML that another program wrote: keys are texts, and what is read in two ways is text.

    Raises:
        DocumentError: the text is no YAML, has an alias or a duplicate key, or is too deep.
    """
    root = compose(text, file)
    return None if root is None else _Lenient(file).value(root, ())


class _Reader:
    """Turns nodes into values; one pass, each node at most once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Field, int] = {}
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, field: Field) -> Any:
        if id(node) in self._seen:
            raise self._refuse(node, field, "is an alias", "write the value out")
        self._seen.add(id(node))
        if len(field) > MAX_DEPTH:
            raise self._refuse(node, field, "is nested too deeply", None)
        self.lines[field] = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, field)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, field, "seq")
            return [self.value(item, (*field, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.MappingNode)
        self._check_tag(node, field, "map")
        return self._mapping(node, field)

    def _mapping(self, node: yaml.MappingNode, field: Field) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refuse(key_node, field, "a key is no text", None)
            if key_node.tag == _PREFIX + "merge":
                raise self._refuse(key_node, field, "uses a merge key", "write the keys out")
            key = self._key(key_node, field)
            if not isinstance(key, str):
                raise self._refuse(key_node, field, f"key `{key_node.value}` is no text", "quote it")
            if key in result:
                raise self._refuse(key_node, (*field, key), f"duplicate key `{key}`", None)
            if id(key_node) in self._seen:
                raise self._refuse(key_node, field, "a key is an alias", "write it out")
            self._seen.add(id(key_node))
            result[key] = self.value(value_node, (*field, key))
            # A problem with a key's value is best shown at the key.
            self.lines[(*field, key)] = key_node.start_mark.line + 1
        return result

    def _key(self, node: yaml.ScalarNode, field: Field) -> Any:
        return self._scalar(node, field)

    def _scalar(self, node: yaml.ScalarNode, field: Field) -> Any:
        text = node.value
        if node.style:
            self._check_tag(node, field, "str")
            return text
        tag = node.tag.removeprefix(_PREFIX)
        if tag in ("str", "timestamp", "value") and _NUMBER.fullmatch(text) is None:
            return text
        if tag == "null" and text in _NULLS:
            return None
        if tag == "bool" and text in _WORDS:
            return _WORDS[text]
        if tag == "int" and _INT.fullmatch(text):
            return self._integer(node, text, field)
        if tag == "float" and _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        if tag in ("int", "float") and _SEXAGESIMAL.fullmatch(text):
            raise self._refuse(node, field, f"`{text}` is a sexagesimal number to some readers", "quote it")
        if tag in ("str", "null", "bool", "int", "float"):
            raise self._refuse(
                node,
                field,
                f"`{text}` is read differently by different readers",
                "quote it, or write its digits out" if tag == "str" else "quote it, or spell it as JSON does",
            )
        raise self._refuse(node, field, f"has the tag `{node.tag}`", "remove the tag")

    def _integer(self, node: yaml.Node, text: str, field: Field) -> int:
        if len(text) > 19 and not -(2**63) <= int(text[:40]) < 2**63:  # noqa: PLR2004 - digits of 2**63
            raise self._refuse(node, field, "is beyond 64 bits", "quote it")
        return int(text)

    def _check_tag(self, node: yaml.Node, field: Field, expected: str) -> None:
        if node.tag != _PREFIX + expected:
            raise self._refuse(node, field, f"has the tag `{node.tag}`", "remove the tag")

    def _refuse(self, node: yaml.Node, field: Field, message: str, hint: str | None) -> DocumentError:
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in field).lstrip(".")
        location = Location(self.file, node.start_mark.line + 1, name or None)
        return DocumentError(message, location=location, hint=hint)


class _Lenient(_Reader):
    """Reads what nobody here wrote: `200:` is a key, and `22:00` a text."""

    def _key(self, node: yaml.ScalarNode, field: Field) -> Any:
        del field
        return node.value

    def _scalar(self, node: yaml.ScalarNode, field: Field) -> Any:
        try:
            return super()._scalar(node, field)
        except DocumentError:
            return node.value
