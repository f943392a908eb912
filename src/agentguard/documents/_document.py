"""A parsed file: its value, the line of each part of it, and conversion to a typed struct."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from agentguard.core import DocumentError, Location
from agentguard.documents._expected import expected_values
from agentguard.documents._json import load_json, parse_json
from agentguard.documents._yaml import load_yaml, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

T = TypeVar("T")
Field = tuple[str | int, ...]

MAX_BYTES = 16 * 1024 * 1024
SUFFIXES = frozenset((".yaml", ".yml", ".json"))

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`(?P<path>\$.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
# `[...]` stands for some key of a map; there is no step for what is not known.
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Document:
    """One file's value, with the 1-based line of every part of it."""

    file: str
    value: Any
    lines: Mapping[Field, int]

    def convert(self, kind: type[T]) -> T:
        """Return the value as a `kind`.

        Raises:
            DocumentError: it has another shape; says where and what was expected.
        """
        try:
            return msgspec.convert(self.value, kind)
        except msgspec.ValidationError as error:
            raise self._shape_error(str(error), kind) from None

    def location(self, *field: str | int) -> Location:
        """Return where `field` stands: its own line, or that of the nearest part above it."""
        for end in range(len(field), -1, -1):
            line = self.lines.get(field[:end])
            if line is not None:
                return Location(self.file, line, dotted(field) or None)
        return Location(self.file, None, dotted(field) or None)

    def error(self, message: str, *field: str | int, hint: str | None = None) -> DocumentError:
        """Return a DocumentError about `field`."""
        return DocumentError(message, location=self.location(*field), hint=hint)

    def _shape_error(self, text: str, kind: type[T]) -> DocumentError:
        match = _WHERE.match(text)
        assert match is not None
        path = match["path"] or "$"
        field: Field = tuple(name or int(index) for name, index in _STEP.findall(path))
        unknown = _UNKNOWN.match(text)
        if unknown:
            return self.error(f"unknown key `{unknown['field']}`", *field, unknown["field"])
        what = match["what"]
        values = expected_values(kind, field) if "enum value" in what else []
        if values:
            return self.error("must be one of " + ", ".join(f"`{value}`" for value in values), *field)
        return self.error(what[:1].lower() + what[1:], *field)


def dotted(field: Field) -> str:
    """Return `rules[0].effect` for ("rules", 0, "effect")."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in field).lstrip(".")


def parse(text: str, *, file: str) -> Document:
    """Return the document in `text`; `file` names it in errors and says by its suffix whether it is JSON.

    Raises:
        DocumentError: the text cannot be read, or can be read in two ways.
    """
    reader = parse_json if file.endswith(".json") else parse_yaml
    value, lines = reader(text, file)
    return Document(file=file, value=value, lines=lines)


def parse_foreign(text: str, *, file: str) -> Any:
    """Return the value in a text that another program wrote: JSON or YAML, whichever it is, without lines.

    Raises:
        DocumentError: the text is neither, or has a duplicate key.
    """
    return load_json(text, file) if text.lstrip()[:1] in ("{", "[") else load_yaml(text, file)


def read(path: Path, *, name: str | None = None) -> Document:
    """Return the document in the file at `path`, called `name` in errors.

    Raises:
        DocumentError: there is no such file, or it cannot be read (over 16 MiB, not UTF-8, not strict YAML).
    """
    name = name or str(path)
    return parse(read_text(path, name=name), file=name)


def read_text(path: Path, *, name: str | None = None) -> str:
    """Return the text of the file at `path`, called `name` in errors.

    Raises:
        DocumentError: there is no such file, or it cannot be read (over 16 MiB, not UTF-8).
    """
    name = name or str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DocumentError(f"cannot be read: {reason}", location=Location(name)) from None
    if len(data) > MAX_BYTES:
        raise DocumentError("is larger than 16 MiB", location=Location(name), hint="split it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError("is not UTF-8", location=Location(name, line)) from None


def find_documents(folder: Path) -> list[Path]:
    """Return the YAML and JSON files below `folder`, sorted; hidden files and folders are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
