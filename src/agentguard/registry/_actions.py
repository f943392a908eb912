"""The action registry: what is declared, checked once and looked up by reference."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Action, Location, RegistryError, RequestError, action_reference, normalise_action
from agentguard.registry._arguments import check_arguments
from agentguard.registry._fault import Fault
from agentguard.registry._reasons import explain
from agentguard.registry._schema import check_schema, complete, validator
from agentguard.registry._secrets import Paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import jsonschema_rs

    from agentguard.registry._fault import Field, Locate

MAX_VERSION = 999_999
_RESOURCE_TYPE = re.compile(r"[a-z][a-z0-9+-]*", re.ASCII)
_LISTS = ("resource_types", "prechecks", "required_privileges", "tags")


class CompiledAction:
    """An action ready to be asked for. Read-only; safe to share between threads.

    `secret_paths` are the paths of parameters marked `secret: true`, `*` standing for each item of an array
    or a map; `param_names` are the declared top-level parameters.
    """

    __slots__ = ("_validator", "action", "param_names", "reference", "risk_weight", "secret_paths")

    def __init__(self, action: Action) -> None:
        paths = Paths(action.params)
        self.action = action
        self.reference = action.reference
        self.risk_weight = action.risk.weight
        self.secret_paths = paths.secret
        self.param_names = paths.names
        # Made on first use: a command that asks for one action does not pay for all of them.
        self._validator: jsonschema_rs.Draft202012Validator | None = None

    def check(self, params: dict[str, Any]) -> str | None:
        """Return None if `params` are valid, or else why not: one line, never with a parameter's value."""
        compiled = self._validator
        if compiled is None:
            compiled = self._validator = validator(self.action.params)
        try:
            if compiled.is_valid(params):
                return None
            return explain(self, params, next(compiled.iter_errors(params)))
        except (ValueError, RecursionError):
            return "the parameters hold a value that JSON cannot carry"

    def __repr__(self) -> str:
        return f"CompiledAction({self.reference!r})"


@dataclass(frozen=True, slots=True)
class Declared:
    """An action as written, and how to say where. A trusted one was checked when it was compiled."""

    action: Action
    locate: Locate
    trusted: bool = False


class ActionRegistry:
    """All declared actions. Immutable once built, so it can be shared between threads.

    `digest` is the SHA-256 of the content, the same whatever the order in which files were read.
    """

    __slots__ = ("_by_reference", "_sorted", "digest")

    def __init__(self, compiled: Iterable[CompiledAction]) -> None:
        self._sorted = tuple(sorted(compiled, key=lambda each: (each.action.name, each.action.version)))
        self._by_reference = {each.reference: each for each in self._sorted}
        # In order of version, so the newest is the one that stays.
        self._by_reference.update((each.action.name, each) for each in self._sorted)
        content = msgspec.json.encode([each.action for each in self._sorted], order="sorted")
        self.digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

    @classmethod
    def build(
        cls, actions: Iterable[Action], *, sources: Mapping[str, Location] | None = None
    ) -> ActionRegistry:
        """Return the registry of `actions`; `sources` says by `name@version` where each was declared.

        Raises:
            RegistryError: an action is declared wrongly or twice, or refers to one that is not declared.
        """
        known = sources or {}
        return assemble(
            Declared(action, _locate_in(known.get(action.reference), action.reference)) for action in actions
        )

    def resolve(self, reference: str) -> CompiledAction | None:
        """Return the action `name` (its newest version) or `name@version`; None when it is not declared."""
        return self._by_reference.get(reference)

    def names(self) -> list[str]:
        """Return the names of all actions, sorted, without versions."""
        return sorted({each.action.name for each in self._sorted})

    def __iter__(self) -> Iterator[Action]:
        return iter([each.action for each in self._sorted])

    def __len__(self) -> int:
        return len(self._sorted)


def assemble(declared: Iterable[Declared]) -> ActionRegistry:
    """Return the registry of what was declared.

    Raises:
        RegistryError: an action is declared wrongly or twice, or refers to one that is not declared.
    """
    compiled = compile_each(declared)
    for action, each in compiled.values():
        try:
            if not each.trusted:
                _check_references(action.action, compiled)
        except Fault as fault:
            raise fault.located(each.locate) from None
    return ActionRegistry(action for action, _ in compiled.values())


def compile_each(declared: Iterable[Declared]) -> dict[str, tuple[CompiledAction, Declared]]:
    """Return what was declared by `name@version`; what it refers to may be declared elsewhere.

    Raises:
        RegistryError: an action is declared wrongly or twice.
    """
    compiled: dict[str, tuple[CompiledAction, Declared]] = {}
    for each in declared:
        try:
            reference = each.action.reference
            if reference in compiled:
                raise _twice(reference, each, compiled[reference][1])
            compiled[reference] = (_compile(each), each)
        except Fault as fault:
            raise fault.located(each.locate) from None
    return compiled


def _compile(declared: Declared) -> CompiledAction:
    if declared.trusted:
        return CompiledAction(declared.action)
    action = declared.action
    _check_head(action)
    try:
        params = complete(action.params)
        check_schema(params)
        compiled = CompiledAction(msgspec.structs.replace(action, params=params))
        _check_examples(compiled)
    except Fault as fault:
        raise Fault(fault.message, "params", *fault.field, hint=fault.hint) from None
    check_arguments(compiled.action)
    return compiled


def _check_examples(compiled: CompiledAction) -> None:
    for index, example in enumerate(compiled.action.params.get("examples", ())):
        reason = compiled.check(example)
        if reason is not None:
            raise Fault(f"is no valid example: {reason}", "examples", index)


def _check_head(action: Action) -> None:
    try:
        if "@" in normalise_action(action.name):
            raise Fault("must not hold a version", "name", hint="write it under `version`")
    except RequestError:
        raise Fault("must be `kebab-case` or `domain.verb`", "name") from None
    if not 1 <= action.version <= MAX_VERSION:
        raise Fault(f"must be 1 to {MAX_VERSION}", "version")
    if not action.description.strip():
        raise Fault("must say what the action does", "description")
    for key in _LISTS:
        entries: tuple[str, ...] = getattr(action, key)
        for index, entry in enumerate(entries):
            if not entry.strip() or not entry.isprintable():
                raise Fault("must be printable and not empty", key, index)
            if entry in entries[:index]:
                raise Fault(f"`{entry}` stands twice", key, index)
    for index, entry in enumerate(action.resource_types):
        if _RESOURCE_TYPE.fullmatch(entry) is None:
            raise Fault("must be a type or a URI scheme, as `deployment` or `https`", "resource_types", index)
    if action.compensating_action is not None and not action.reversible:
        raise Fault("has a compensating action and is not reversible", "reversible", hint="set it to true")


def _check_references(action: Action, compiled: Mapping[str, tuple[CompiledAction, Declared]]) -> None:
    for key in ("compensating_action", "read_only_form"):
        reference = getattr(action, key)
        if reference is not None and reference not in compiled:
            hint = None if "@" in reference else f"write the version, as `{action_reference(reference, 1)}`"
            raise Fault(f"must name a declared action as `name@version`, not `{reference}`", key, hint=hint)
    if action.read_only_form is None:
        return
    if action.read_only_form == action.reference:
        raise Fault("is the action itself", "read_only_form", hint="leave it out of one that only reads")
    form = compiled[action.read_only_form][0].action
    for name in form.params.get("required", ()):
        if name not in action.params["properties"]:
            raise Fault(f"`{form.reference}` requires `{name}`, which is no parameter here", "read_only_form")


def _twice(reference: str, second: Declared, first: Declared) -> RegistryError:
    place = second.locate(("name",))
    if first.trusted or second.trusted:
        return RegistryError(
            f"`{reference}` is in the catalogue that ships with the package",
            location=place,
            hint="give yours another name or a higher version, or leave the catalogue out",
        )
    return RegistryError(
        f"`{reference}` is declared twice", location=place, hint=f"see {first.locate(('name',))}"
    )


def _locate_in(source: Location | None, reference: str) -> Locate:
    """Return how to name a field of an action of which only the action's own place is known."""

    def locate(field: Field) -> Location:
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in field).lstrip(".")
        if source is None:
            return Location(f"action `{reference}`", field=name or None)
        above = source.field
        return Location(source.file, source.line, ".".join(filter(None, (above, name))) or None)

    return locate
