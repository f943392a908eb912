"""The file that an import writes: what was inferred beside why, and the user's corrections kept.

Each line that was inferred ends in `# inferred: VALUE (why)`. A line whose value is another than the one named
there, or that has no such comment, was written by a person, and stays when the tools are imported again.
"""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import RegistryError
from agentguard.documents import parse
from agentguard.registry._actions import Declared, compile_each
from agentguard.registry._arguments import reaches
from agentguard.registry._fault import Fault
from agentguard.registry._load import declared_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentguard.core import Action, Argument, Label
    from agentguard.registry._tool import ImportedAction

HEAD = """\
# Imported from {source} by `agentguard actions import`. What was inferred stands beside its reason; correct what
# is wrong, `unsure` first: importing again keeps what you changed.
actions:
"""
_INFERRED = re.compile(r"# inferred: (?P<value>[^()]*) \(")
_FROM_TOOL = re.compile(r"# from the tool: (?P<digest>[0-9a-f]{8})")
# Fields that no import writes: whoever wrote them keeps them.
_OWN = (
    "resource_types", "prechecks", "required_privileges", "reversible", "compensating_action", "read_only_form",
)  # fmt: skip


class Merged(msgspec.Struct, frozen=True):
    """The text of the file, what in it is the user's, and which of its actions no tool stands for any more."""

    text: str
    kept: dict[str, tuple[str, ...]]
    gone: tuple[str, ...]


def write_actions(imported: Sequence[ImportedAction], *, source: str) -> str:
    """Return the text of an action file for `imported`; `source` says where the tools come from."""
    text = HEAD.format(source=_comment(source)) + "".join(_entry(each.action, each) for each in imported)
    return text if imported else text.replace("actions:\n", "actions: []\n")


def merge_actions(imported: Sequence[ImportedAction], text: str, *, file: str, source: str) -> Merged:
    """Return the file anew, with what a person changed in `text`, the file as it is.

    Raises:
        DocumentError: the file cannot be read.
        RegistryError: an action in it is declared wrongly.
    """
    document = parse(text, file=file)
    declared = list(declared_in(document))
    # Of several versions the newest is the tool's; the others stay as they are.
    newest = sorted(declared, key=lambda each: each.action.version)
    old = {each.action.name: each for each in newest}
    rest = [each for each in declared if old[each.action.name] is not each]
    lines = text.splitlines()
    parts, kept = [HEAD.format(source=_comment(source))], {}
    for each in imported:
        before = old.pop(each.action.name, None)
        if before is None:
            parts.append(_entry(each.action, each))
            continue
        action, own = _corrected(each, before, lines)
        parts.append(_entry(action, each))
        if own:
            kept[action.name] = own
    rest += old.values()
    parts += [_entry(each.action, None) for each in rest]
    merged = "".join(parts)
    try:
        compile_each(declared_in(parse(merged, file=file)))
    except RegistryError:
        # What is wrong stood there before, most likely: say so with the line that the user sees.
        compile_each(declared)
        raise
    return Merged(merged, kept, tuple(each.action.reference for each in rest))


def _corrected(new: ImportedAction, old: Declared, lines: list[str]) -> tuple[Action, tuple[str, ...]]:
    """Return the imported action with what a person changed, and the names of those fields."""
    before, action, own = old.action, new.action, []
    changes: dict[str, Any] = {}
    for name in _OWN:
        if getattr(before, name) != getattr(action, name):
            changes[name] = getattr(before, name)
            own.append(name)
    if before.version != action.version:
        changes["version"] = before.version
    changes["tags"] = tuple(dict.fromkeys((*action.tags, *(t for t in before.tags if t not in _OURS))))
    for name, value in (("description", before.description), ("params", before.params)):
        line = _line(old, lines, name)
        match = _FROM_TOOL.search(line)
        if value and (match is None or match["digest"] != _digest(value)):
            changes[name] = value
            own.append(name)
    for name in ("risk", "access"):
        value = getattr(before, name)
        if value is not None and _is_own(_line(old, lines, name), _said(value)):
            changes[name] = getattr(before, name)
            own.append(name)
    flow, changed = _flow(new, old, lines)
    changes["flow"], own = flow, [*own, *changed]
    params = changes.get("params", action.params)
    arguments = dict(action.arguments)
    for pointer, argument in before.arguments.items():
        if not reaches(before.params, pointer):
            raise Fault("is no parameter", "arguments", pointer, hint="see `params`").located(old.locate)
        if _is_own(_line(old, lines, "arguments", pointer), _said_argument(argument)) and reaches(
            params, pointer
        ):
            arguments[pointer] = argument
            own.append(pointer)
    changes["arguments"] = {p: a for p, a in arguments.items() if reaches(params, p)}
    return msgspec.structs.replace(action, **changes), tuple(own)


def _flow(new: ImportedAction, old: Declared, lines: list[str]) -> tuple[Any, list[str]]:
    before, now = old.action.flow, new.action.flow
    if before is None or now is None:
        return now, []
    changes: dict[str, Any] = {"clearance": before.clearance}
    own = ["flow.clearance"] if before.clearance is not None else []
    for name, said in (("sink", _said(before.sink)), ("source", _said_label(before.source))):
        if getattr(before, name) is not None and _is_own(_line(old, lines, "flow", name), said):
            changes[name] = getattr(before, name)
            own.append(f"flow.{name}")
    return msgspec.structs.replace(now, **changes), own


_OURS = frozenset(("imported", "read-only"))


def _line(old: Declared, lines: list[str], *field: str) -> str:
    """Return the line that a field stands in."""
    place = old.locate(field)
    return lines[place.line - 1] if place is not None and place.line is not None else ""


def _is_own(line: str, said: str) -> bool:
    """Return whether a person wrote the value `said` that stands in `line`."""
    match = _INFERRED.search(line)
    return match is None or match["value"] != said


def _entry(action: Action, imported: ImportedAction | None) -> str:
    because = imported.because if imported is not None else {}
    unsure = imported.unsure if imported is not None else ()
    new = imported.action if imported is not None else None
    lines = [
        f"  - name: {_json(action.name)}" + (f"  # {_comment(because['name'])}" if "name" in because else "")
    ]
    lines += [f"    # {_comment(note)}" for note in (imported.notes if imported is not None else ())]
    shipped = "  # an older version ships with the package" if new is not None and new.version > 1 else ""
    lines.append(f"    version: {action.version}{shipped}")
    lines.append(
        f"    description: {_json(action.description)}" + _from_tool(new.description if new else None)
    )
    lines.append(
        f"    risk: {_said(action.risk)}" + _inferred(_said(new.risk) if new else None, because.get("risk"))
    )
    if action.access is not None:
        why = because.get("access", "")
        why = f"unsure: {why}" if "access" in unsure else why
        lines.append(
            f"    access: {_said(action.access)}" + _inferred(_said(new.access) if new else None, why)
        )
    lines += _argument_lines(action.arguments, new.arguments if new else None, because, unsure)
    lines += _flow_lines(action, new, because)
    for name in _OWN:
        value = msgspec.to_builtins(getattr(action, name))
        if value:
            lines.append(f"    {name}: {_json(value)}")
    lines.append(f"    tags: {_json(list(action.tags))}")
    lines.append(f"    params: {_json(action.params)}" + _from_tool(new.params if new else None))
    return "\n".join(lines) + "\n\n"


def _argument_lines(
    arguments: Mapping[str, Argument],
    new: Mapping[str, Argument] | None,
    because: Mapping[str, str],
    unsure: Iterable[str],
) -> list[str]:
    if not arguments:
        return []
    lines = ["    arguments:"]
    for pointer, argument in arguments.items():
        kind = f", kind: {argument.kind}" if argument.kind else ""
        why = because.get(pointer, "")
        why = f"unsure: {why}" if pointer in unsure else why
        inferred = new.get(pointer) if new is not None else None
        comment = _inferred(_said_argument(inferred) if inferred is not None else None, why)
        lines.append(f"      {_json(pointer)}: {{role: {argument.role.value}{kind}}}{comment}")
    return lines


def _flow_lines(action: Action, new: Action | None, because: Mapping[str, str]) -> list[str]:
    flow = action.flow
    if flow is None:
        return []
    inferred = new.flow if new is not None else None
    lines = ["    flow:"]
    why = because.get("flow", "").partition("; ")
    if flow.sink is not None:
        comment = _inferred(_said(inferred.sink), why[0]) if inferred is not None else ""
        lines.append(f"      sink: {_said(flow.sink)}{comment}")
    if flow.source is not None:
        comment = _inferred(_said_label(inferred.source), why[2]) if inferred is not None else ""
        lines.append(f"      source: {_json(msgspec.to_builtins(flow.source))}{comment}")
    if flow.clearance is not None:
        lines.append(f"      clearance: {_said(flow.clearance)}")
    return lines if len(lines) > 1 else ["    flow: {}"]


def _said(value: Any) -> str:
    return "none" if value is None else str(value.value)


def _said_argument(argument: Argument) -> str:
    return f"{argument.role.value}, {argument.kind}" if argument.kind else argument.role.value


def _said_label(label: Label | None) -> str:
    if label is None:
        return "none"
    return " ".join(
        (label.integrity.value, label.confidentiality.value, *label.categories, *(label.readers or ()))
    )


def _inferred(said: str | None, why: str | None) -> str:
    return f"  # inferred: {said} ({_comment(why or '')})" if said is not None else ""


def _from_tool(value: Any) -> str:
    return f"  # from the tool: {_digest(value)}" if value is not None else ""


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:8]


def _comment(text: str) -> str:
    """Return hostile text as part of a comment: one line of printable characters."""
    return "".join(char if char.isprintable() else " " for char in text)[:400]


def _json(value: Any) -> str:
    """Return a value as JSON that YAML reads the same: no exponents, and nothing that does not print."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_json(str(key))}: {_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_json, value)) + "]"
    if isinstance(value, float):
        text = f"{Decimal(repr(value)):f}"
        return text if "." in text else f"{text}.0"
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(point: int) -> str:
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"  # noqa: PLR2004 - what four digits hold
