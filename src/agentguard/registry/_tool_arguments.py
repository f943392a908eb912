"""What each argument of a tool is: target, payload or control, and its kind; and the facts that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Access, Argument, Role
from agentguard.registry import _tool_nouns as nouns
from agentguard.registry import _tool_verbs as verbs
from agentguard.registry._arguments import EACH, pointer_of
from agentguard.registry._tool_action import name_words
from agentguard.registry._tool_argument_words import role_of_name
from agentguard.registry._tool_words import is_plural, listed, sentences, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.registry._tool import Tool
    from agentguard.registry._tool_action import Reading

MAX_ARGUMENTS = 400

_T, _P, _C = Role.TARGET, Role.PAYLOAD, Role.CONTROL
_FORMATS = {
    "email": Argument(_T, "recipient"),
    "idn-email": Argument(_T, "recipient"),
    "uri": Argument(_T, "url"),
    "iri": Argument(_T, "url"),
    "uri-reference": Argument(_T, "url"),
    "hostname": Argument(_T, "host"),
    "idn-hostname": Argument(_T, "host"),
    "ipv4": Argument(_T, "host"),
    "ipv6": Argument(_T, "host"),
    "uuid": Argument(_T, "id"),
    "date": Argument(_P, "date"),
    "date-time": Argument(_P, "date"),
    "time": Argument(_P, "date"),
    "duration": Argument(_C),
}
_ON_THINGS = listed(
    """
    update edit change modify rename move share close open publish archive restore cancel approve reject
    """
)
_ARTICLES = listed(
    """
    a an the this your its new optional required full exact unique valid one target
    """
)
_DEEDS = frozenset(verbs.WRITE) - verbs.AMBIGUOUS
_LONG_TEXT = 512
_NUMBERS = listed("no nr num number")
# A number with one of these says how many, or where in a list.
_COUNTS = listed("max min maximum minimum total page per count of")


class Found(msgspec.Struct, frozen=True):
    """What one argument was found to be, and why. `facts` is a source of facts, or empty."""

    argument: Argument
    because: str
    facts: str = ""
    unsure: bool = False


class Leaf(msgspec.Struct, frozen=True):
    """One argument: its steps from the top, its schema, and whether it must be given."""

    steps: tuple[str, ...]
    schema: dict[str, Any]
    required: bool

    @property
    def pointer(self) -> str:
        """Its JSON pointer."""
        return pointer_of(*self.steps)

    @property
    def names(self) -> list[str]:
        """The names on the way to it, its own first."""
        return [step for step in reversed(self.steps) if step != EACH]


def leaves(schema: dict[str, Any], steps: tuple[str, ...] = (), *, required: bool = True) -> Iterator[Leaf]:
    """Yield the arguments of a schema without references: values and lists of values, not what holds them."""
    properties = schema.get("properties")
    items = schema.get("items")
    if isinstance(properties, dict) and properties:
        needed = schema.get("required", ())
        for name, below in properties.items():
            yield from leaves(_whole(below), (*steps, name), required=required and name in needed)
    elif (isinstance(items, dict) and _whole(items).get("properties")) or (
        isinstance(items, dict) and _whole(items).get("items")
    ):
        yield from leaves(_whole(items), (*steps, EACH), required=required)
    elif steps:
        yield Leaf(steps, schema, required)


def _whole(schema: Any) -> dict[str, Any]:
    """Return a schema with the branches of its choices laid over one another, to be read for what they say."""
    if not isinstance(schema, dict):
        return {}
    merged = dict(schema)
    for key in ("allOf", "anyOf", "oneOf"):
        for branch in schema.get(key, ()):
            for name, value in _whole(branch).items():
                if name == "properties" and isinstance(merged.get(name), dict):
                    merged[name] = {**value, **merged[name]}
                elif not (name == "type" and value == "null"):
                    merged.setdefault(name, value)
    return merged


def find_arguments(tool: Tool, schema: dict[str, Any], reading: Reading) -> dict[str, Found]:
    """Return what each argument of the tool is, by pointer: the first 400 of them."""
    found: dict[str, Found] = {}
    for leaf in leaves(schema):
        if len(found) >= MAX_ARGUMENTS:
            break
        found[leaf.pointer] = _find(leaf, tool, reading)
    if reading.access is Access.WRITE and not any(each.argument.role is _T for each in found.values()):
        found.update(_promoted(found, reading))
    return found


def _promoted(found: dict[str, Found], reading: Reading) -> dict[str, Found]:
    """Return what names the thing that is acted on, where nothing else does: `delete-page(title)`."""
    if reading.verb not in verbs.DESTRUCTIVE | _ON_THINGS:
        return {}
    for pointer, each in found.items():
        name = words(pointer)
        if len(name) == 1 and name[0] in nouns.TITLES and each.argument.role is _P:
            argument = Argument(_T, "name")
            return {
                pointer: msgspec.structs.replace(each, argument=argument, because="nothing else says on what")
            }
    return {}


def _find(leaf: Leaf, tool: Tool, reading: Reading) -> Found:
    schema = leaf.schema
    types = _types(schema)
    if types == {"boolean"}:
        return Found(Argument(_C), "a truth value")
    if "const" in schema:
        return Found(Argument(_C), "it has one value")
    named = _by_names(leaf, tool, reading, types)
    described = _by_description(leaf, reading, types)
    chosen = named
    formatted = _FORMATS.get(str(_inner(schema).get("format")))
    if formatted is not None and formatted.kind == "date" and named is not None and named.argument.role is _T:
        # A format is no word that means several things.
        return Found(_seen(formatted, reading), f"its format `{_inner(schema)['format']}`")
    if named is None or (
        named.argument.role is not _T
        and described is not None
        and described.argument.role is _T
        and _is_target_phrase(schema)
    ):
        # What a description says may make a payload a target, never a target a payload.
        if formatted is not None and named is None:
            chosen = Found(_seen(formatted, reading), f"its format `{_inner(schema)['format']}`")
        elif described is not None and (tool.vouched or described.argument.role is _T):
            chosen = described
    if chosen is None:
        chosen = _by_shape(leaf, reading, types)
    if types == {"object"} and chosen.argument.role is _C and reading.access is Access.WRITE:
        chosen = Found(Argument(_P), "an object that is stored")
    if "enum" in _inner(schema) and (chosen.argument.role is not _T or _chooses(leaf, reading)):
        chosen = Found(Argument(_C), "one of a few values")
    return msgspec.structs.replace(chosen, facts=_facts(leaf, tool, reading, chosen, types))


def _chooses(leaf: Leaf, reading: Reading) -> bool:
    """Return whether one of a few values says how, and not on what: an order to sort in, a role to give."""
    name = words(leaf.names[0])
    # Verbs are no names of things: `APPROVE` or `COMMENT`.
    values = _inner(leaf.schema)["enum"]
    verbal = isinstance(values, list) and any(
        set(words(str(each))[:1]) & _DEEDS for each in values[:MAX_ARGUMENTS]
    )
    return reading.access is Access.READ or verbal or bool({"role", "permission", "state"} & set(name[-1:]))


def _types(schema: dict[str, Any]) -> set[str]:
    kind = schema.get("type")
    kinds = {kind} if isinstance(kind, str) else set(kind) if isinstance(kind, list | tuple) else set()
    return kinds - {"null"}


def _inner(schema: dict[str, Any]) -> dict[str, Any]:
    items = schema.get("items")
    return _whole(items) if isinstance(items, dict) and "format" not in schema else schema


def _seen(argument: Argument, reading: Reading) -> Argument:
    """Return what the argument is to an action that only looks: dates and amounts there narrow the view."""
    if reading.access is Access.READ and argument.kind in ("date", "amount"):
        return Argument(_C)
    return argument


def _numbers(leaf: Leaf, name: str, reading: Reading, types: set[str]) -> bool:
    """Return whether an argument that a change needs is the number by which something goes: `ticketNo`, `nr`."""
    said = name_words(name)
    is_number = bool(said) and said[-1] in _NUMBERS and not _COUNTS.intersection(said)
    return (
        is_number and leaf.required and reading.access is not Access.READ and types <= {"integer", "string"}
    )


def _by_names(leaf: Leaf, tool: Tool, reading: Reading, types: set[str]) -> Found | None:
    for depth, name in enumerate(leaf.names):
        hit = role_of_name(name, tool, reading, types)
        if depth == 0 and (hit is None or hit[0].role is _C) and _numbers(leaf, name, reading, types):
            return Found(Argument(_T, "id"), f"`{name}` is the number of something")
        if hit is not None:
            argument, word = hit
            place = "its name" if depth == 0 else f"the name of `{name}` above it"
            return Found(_seen(argument, reading), f"`{word}` in {place}")
    return None


def _by_description(leaf: Leaf, reading: Reading, types: set[str]) -> Found | None:
    """Return what the first known word of its description says."""
    found = sentences(str(leaf.schema.get("description", "")))
    if not found:
        return None
    first = found[0]
    if first[0] in ("whether", "if", "true", "when") or (
        first[0] in nouns.BOUNDS and types & {"integer", "number"}
    ):
        return Found(Argument(_C), f"`{first[0]}` in its description")
    for phrase, kind in nouns.TARGET_PHRASES:
        body = [word for word in first if word not in _ARTICLES]
        if tuple(body[: len(phrase)]) == phrase:
            return Found(Argument(_T, kind), f"`{' '.join(phrase)}` in its description")
    for at, word in enumerate(first[:12]):
        if word in _ARTICLES or word in (
            "to",
            "from",
            "of",
            "for",
            "by",
            "in",
            "number",
            "list",
            "name",
            "code",
        ):
            if word in ("name", "number", "code") and at + 2 < len(first) and first[at + 1] == "of":
                return Found(
                    Argument(_T, "name" if word == "name" else "id"), f"`{word} of` in its description"
                )
            continue
        argument = nouns.NOUNS.get(word)
        pair = nouns.PAIRS.get(f"{word}_{first[at + 1]}") if at + 1 < len(first) else None
        if pair is not None or argument is not None:
            chosen = pair or argument
            assert chosen is not None
            return Found(_seen(chosen, reading), f"`{word}` in its description")
    return None


def _is_target_phrase(schema: dict[str, Any]) -> bool:
    found = sentences(str(schema.get("description", "")))
    body = [word for word in found[0] if word not in _ARTICLES] if found else []
    return any(tuple(body[: len(phrase)]) == phrase for phrase, _ in nouns.TARGET_PHRASES)


def _by_shape(leaf: Leaf, reading: Reading, types: set[str]) -> Found:
    """Return what the schema alone says; a text of which nothing is known is a target."""
    schema = leaf.schema
    if "enum" in schema:
        return Found(Argument(_C), "one of a few values")
    if schema.get("secret") is True:
        return Found(Argument(_P, "secret"), "its format `password`")
    if "contentEncoding" in schema:
        return Found(Argument(_P), "encoded content")
    if types and types <= {"number", "integer"}:
        bounded = "default" in schema or ("minimum" in schema and "maximum" in schema) or not leaf.required
        if bounded or reading.access is Access.READ:
            return Found(Argument(_C), "a number with bounds or a default")
        if types == {"integer"} and is_plural(leaf.names[0]):
            return Found(Argument(_P, "amount"), "a whole number of several things", unsure=True)
        if types == {"integer"}:
            return Found(Argument(_T), "a whole number that must be given may be an id", unsure=True)
        return Found(Argument(_P, "amount"), "a number that must be given", unsure=True)
    length = _inner(schema).get("maxLength")
    if isinstance(length, int) and length >= _LONG_TEXT:
        return Found(Argument(_P, "text"), f"a text of up to {length} characters", unsure=True)
    if isinstance(schema.get("default"), str) and not leaf.required:
        return Found(Argument(_C), "a text with a default", unsure=True)
    return Found(Argument(_T), "no word says what it is", unsure=True)


def _facts(leaf: Leaf, tool: Tool, reading: Reading, found: Found, types: set[str]) -> str:
    """Return the source of facts that the argument is, where its words leave no doubt."""
    own = {*words(leaf.names[0]), *words(str(leaf.schema.get("description", ""))[:80])}
    named = {*name_words(tool.name)}
    kind = found.argument.kind
    text = not types or types <= {"string", "array"}
    if (
        kind == "recipient"
        and text
        and (
            _inner(leaf.schema).get("format") == "email"
            or nouns.MAIL & own
            or ({"mail", "email"} & named and leaf.names[0].lower() in ("to", "recipient", "recipients"))
        )
    ):
        return "mail"
    if kind == "url" and text and {"url", "uri", "href", "webhook"} & own:
        return "url"
    if kind == "host" and text and {"host", "hostname", "domain", "ip", "fqdn", "server"} & own:
        return "host"
    if (
        kind == "path"
        and text
        and {"path", "file", "filepath", "filename", "dir", "directory", "folder"} & own
    ):
        return (
            "path:read"
            if reading.access is Access.READ or "attachment" in own or "source" in own
            else "path:write"
        )
    if kind == "command" and text:
        return _command_facts(own | named, types)
    if types <= {"integer"} and found.argument.role is _C and reading.access is Access.READ:
        return "rows" if types and {"limit", "max", "top", "count", "per_page", "size"} & own else ""
    return ""


def _command_facts(said: set[str], types: set[str]) -> str:
    if said & (nouns.SQL | {"database", "db"}):
        return "sql" if "array" not in types else ""
    if "array" in types:
        return "argv" if said & (nouns.SHELL | {"argv", "args"}) else ""
    return "shell" if said & nouns.SHELL else ""
