"""Parameter schemas that others wrote, made into the strict part of JSON Schema that is understood here.

What has another spelling is rewritten (`nullable`, `definitions`, `$ref`, old dialects). What cannot be kept is
left out and said: the parameter then takes more values than its author meant.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from agentguard.registry._schema import ONE, PLAIN, check_schema, complete, follow
from agentguard.registry._tool_names import shown
from agentguard.registry._tool_words import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.registry._fault import Field

MAX_NODES = 4_000
MAX_STEPS = 24
MAX_TEXT = 500
MAX_VALUES = 1_000
MAX_BRANCHES = 100
# RFC 3339 wants a zone in each of them; tools that declare them take `2026-01-31T10:00` all the same.
_UNENFORCED = frozenset(("date-time", "time", "duration"))
_VALUES = frozenset(("description", "required", "enum", "const", "default"))

_KEPT_FORMATS = listed(
    """
    date date-time time duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference iri
    iri-reference uuid uri-template json-pointer relative-json-pointer regex
    """
)
# Formats of OpenAPI and others that say something to a reader and nothing to the validator.
_SAID_FORMATS = listed(
    """
    int32 int64 uint32 uint64 float double byte binary password decimal string url char base64
    """
)
_SILENT = listed(
    """
    $schema $id id $anchor $comment title example examples xml externalDocs discriminator nullable
    strict definitions $defs readOnly writeOnly deprecated secret facts format pattern additionalItems
    $vocabulary $dynamicAnchor components
    """
)
_MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
_SIZES = listed(
    """
    minLength maxLength minItems maxItems minProperties maxProperties minContains maxContains
    """
)


def import_schema(schema: Any, root: Any = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the schema of a tool's parameters as it is kept here, and what was changed in it.

    References within `root` (the schema itself, if not given) are written out. A schema that cannot be used
    at all gives one that takes any value of each parameter that it names.
    """
    reader = _Reader(schema if root is None else root)
    made = reader.read({} if schema is None else schema, (), ())
    params = made if isinstance(made, dict) else {}
    params.pop("description", None)
    if params.get("type", "object") != "object" or not isinstance(params.get("properties", {}), dict):
        reader.note((), "the parameters are no object: any are taken")
        params = {"additionalProperties": True}
    params = _flat(params)
    try:
        params = complete(params)
        check_schema(params)
    except Exception as error:  # noqa: BLE001 - other people's schemas: what is wrong with one is said of it
        message = getattr(error, "message", type(error).__name__)
        reader.note(
            (), f"the schema cannot be used ({str(message)[:200]}): any value of each parameter is taken"
        )
        params = complete(
            {"properties": {name: {} for name in params.get("properties", {}) if _is_name(name)}}
        )
    return params, tuple(reader.notes)


def enforceable(schema: Any) -> Any:
    """Return a schema without the formats of dates and times, which few who write tools mean to the letter."""
    if isinstance(schema, list):
        return [enforceable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    loose = isinstance(schema.get("format"), str) and schema["format"] in _UNENFORCED
    return {
        key: value if key in ("enum", "default", "const") else enforceable(value)
        for key, value in schema.items()
        if not (loose and key == "format")
    }


def _flat(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters whose properties stand below `allOf` with all of them at the top."""
    branches = params.get("allOf", [])
    if "properties" in params or not all(
        isinstance(each, dict) and "properties" in each for each in branches
    ):
        return params
    properties: dict[str, Any] = {}
    required: list[str] = []
    for each in branches:
        properties.update(each["properties"])
        required += [name for name in each.get("required", ()) if name not in required]
    rest = {key: value for key, value in params.items() if key != "allOf"}
    return {**rest, "properties": properties, **({"required": required} if required else {})}


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 100 and name.isprintable() and "`" not in name  # noqa: PLR2004 - as in _schema


class _Reader:
    """Rewrites one schema; at most 4,000 schemas are looked at, 24 steps deep."""

    def __init__(self, root: Any) -> None:
        self.notes: list[str] = []
        self._root = root
        self._left = MAX_NODES

    def note(self, field: Field, text: str) -> None:
        place = ".".join(str(step) for step in field if step not in ("properties", "items"))
        line = f"{place}: {text}" if place else text
        if line not in self.notes and len(self.notes) < 50:  # noqa: PLR2004 - enough to see what is going on
            self.notes.append(line)

    def read(self, schema: Any, field: Field, through: tuple[str, ...]) -> Any:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            self.note(field, "is no schema: any value is taken")
            return {}
        self._left -= 1
        if self._left < 0 or len(field) > MAX_STEPS:
            self.note(field[:3], "is too large or too deep: any value is taken")
            return {}
        reference = schema.get("$ref")
        if reference is not None:
            return self._referred(reference, schema, field, through)
        return self._keywords(schema, field, through)

    def _referred(
        self, reference: Any, schema: dict[str, Any], field: Field, through: tuple[str, ...]
    ) -> Any:
        found = self._target(reference)
        if found is None:
            self.note(field, f"`$ref` to `{shown(str(reference)[:100])}` is not followed: any value is taken")
            return {}
        if reference in through:
            self.note(field, f"`{shown(reference[:100])}` refers to itself: any value is taken there")
            return {}
        made = self.read(found, field, (*through, reference))
        if isinstance(made, dict) and isinstance(schema.get("description"), str):
            return {**made, "description": _short(schema["description"])}
        return made

    def _target(self, reference: Any) -> Any:
        """Return what a local reference leads to; nothing where it leads elsewhere or nowhere."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        try:
            return self._root if reference == "#" else follow(self._root, reference)
        except KeyError:
            return None

    def _keywords(self, schema: dict[str, Any], field: Field, through: tuple[str, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in schema.items():
            self._keyword(made, str(key), value, field, through)
        self._dialect(made, schema, field)
        return made

    def _keyword(
        self, made: dict[str, Any], key: str, value: Any, field: Field, through: tuple[str, ...]
    ) -> None:
        if key == "properties" and isinstance(value, dict):
            made[key] = self._named(value, (*field, key), through)
        elif key in ("patternProperties", "dependentSchemas") and isinstance(value, dict):
            self._patterns(made, key, value, field, through)
        elif key == "items" and isinstance(value, list):
            made["prefixItems"] = self._each(value, (*field, key), through)
        elif key in _MANY and isinstance(value, list) and value:
            made[key] = self._each(value, (*field, key), through)
        elif key in ONE:
            made[key] = self.read(value, (*field, key), through)
        elif key == "type":
            self._type(made, value, field)
        elif key in _VALUES:
            self._value(made, key, value, field)
        elif key in PLAIN and key not in _SILENT:
            self._plain(made, key, value, field)
        elif key not in _SILENT and not key.startswith("x-"):
            self.note(field, f"`{shown(key[:60])}` is not understood and left out")

    def _each(self, value: list[Any], field: Field, through: tuple[str, ...]) -> list[Any]:
        return [self.read(each, (*field, at), through) for at, each in enumerate(value[:MAX_BRANCHES])]

    def _patterns(
        self, made: dict[str, Any], key: str, value: dict[str, Any], field: Field, through: tuple[str, ...]
    ) -> None:
        kept = {name: each for name, each in value.items() if key != "patternProperties" or _is_pattern(name)}
        if len(kept) < len(value):
            self.note(field, "a pattern of names cannot be used: other names are taken too")
            made["additionalProperties"] = True
        made[key] = {name: self.read(each, (*field, key, name), through) for name, each in kept.items()}

    def _value(self, made: dict[str, Any], key: str, value: Any, field: Field) -> None:
        """Keep what is said of values: a description, an enumeration, which must be there."""
        if key == "description":
            made[key] = _short(str(value))
        elif key == "required":
            if isinstance(value, list) and all(isinstance(each, str) for each in value):
                made[key] = list(dict.fromkeys(value))
        elif key == "enum":
            if isinstance(value, list) and 0 < len(value) <= MAX_VALUES and _is_flat(value):
                made[key] = [each for at, each in enumerate(value) if each not in value[:at]]
            else:
                self.note(field, "its `enum` is too long or holds more than plain values: any value is taken")
        elif _is_flat([value]):
            made[key] = value
        elif key == "const":
            self.note(field, "`const` holds more than one value: any value is taken")

    def _named(self, value: dict[str, Any], field: Field, through: tuple[str, ...]) -> dict[str, Any]:
        made = {}
        for name, each in value.items():
            if _is_name(str(name)):
                made[str(name)] = self.read(each, (*field, str(name)), through)
            else:
                self.note(field, "a parameter's name is not printable or too long: it is refused")
        return made

    def _type(self, made: dict[str, Any], value: Any, field: Field) -> None:
        known = ("array", "boolean", "integer", "null", "number", "object", "string")
        if isinstance(value, str) and value.lower() in known:
            made["type"] = value.lower()
        elif isinstance(value, list) and value and all(each in known for each in value):
            made["type"] = list(dict.fromkeys(value))
        elif value not in ("any", None):
            self.note(field, f"the type `{str(value)[:60]}` is not known: any value is taken")

    def _plain(self, made: dict[str, Any], key: str, value: Any, field: Field) -> None:
        if key in ("exclusiveMinimum", "exclusiveMaximum") and isinstance(value, bool):
            return
        number = _is_number(value) and not isinstance(value, bool)
        if key in _SIZES and not (number and value == int(value) and value >= 0):
            self.note(field, f"`{key}` is no number of things and left out")
        elif (
            key not in ("uniqueItems", "dependentRequired", "contentEncoding", "contentMediaType")
            and not number
        ):
            self.note(field, f"`{key}` is no number and left out")
        else:
            made[key] = value

    def _dialect(self, made: dict[str, Any], schema: Mapping[str, Any], field: Field) -> None:
        """Rewrite what older dialects and OpenAPI 3.0 spell otherwise."""
        for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if schema.get(key) is True and bound in made:
                made[key] = made.pop(bound)
        if schema.get("nullable") is True:
            if isinstance(made.get("type"), str):
                made["type"] = [made["type"], "null"]
            if isinstance(made.get("enum"), list) and None not in made["enum"]:
                made["enum"] = [*made["enum"], None]
        pattern, form = schema.get("pattern"), schema.get("format")
        if isinstance(pattern, str):
            if _is_pattern(pattern):
                made["pattern"] = pattern
            else:
                self.note(field, "its pattern needs look-around or is none, and is left out")
        form = str(form)[:60] if form is not None else None
        if form in _KEPT_FORMATS:
            made["format"] = form
        elif form is not None and form not in _SAID_FORMATS:
            self.note(field, f"the format `{shown(form)}` is not known and left out")
        if form == "password":
            made["secret"] = True
        elif form in ("byte", "base64", "binary"):
            made["contentEncoding"] = "base64" if form != "binary" else "binary"


def _short(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: MAX_TEXT * 4]).split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def _is_flat(values: list[Any]) -> bool:
    return all(
        each is None or (isinstance(each, str) and len(each) <= MAX_TEXT) or _is_number(each)
        for each in values
    )


def _is_number(value: Any) -> bool:
    """Return whether `value` is a truth value or a number that JSON and YAML carry."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, float) and math.isfinite(value)


_LOOK = re.compile(r"\(\?<?[=!]|\\[1-9]|\\k<")
_LINEAR = jsonschema_rs.RegexOptions()


def _is_pattern(pattern: str) -> bool:
    if len(pattern) > MAX_TEXT or _LOOK.search(pattern):
        return False
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=_LINEAR, offline=True)
    except ValueError:
        return False
    return True
