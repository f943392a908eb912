"""The inventory: which resources and principals there are, and how much each resource matters."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import (
    Glob,
    Principal,
    RegistryError,
    RequestError,
    Resource,
    Sensitivity,
    normalise_resource_id,
    resource_type_of,
)
from agentguard.registry._fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentguard.registry._fault import Field

MAX_CACHED = 10_000
MAX_PRINCIPAL_ID = 200
_UNKNOWN_WEIGHT = 4
_WORD = re.compile(r"[^\s*]+")


class ResourceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A resource as declared. `id` may be a pattern: `*` stays within a segment, `**` crosses.

    Without `type` the type is read from the id; without `sensitivity` it counts as critical.
    """

    id: str
    type: str = ""
    environment: str = ""
    sensitivity: Sensitivity | None = None
    owner: str = ""
    labels: dict[str, str] = {}

    @property
    def weight(self) -> int:
        """The sensitivity as 1 to 4; an unknown one weighs as much as critical."""
        return _UNKNOWN_WEIGHT if self.sensitivity is None else self.sensitivity.weight


class Inventory:
    """What there is. Safe to share between threads.

    `resources` are the entries as declared, with normalised ids; `principals` are found by id.
    """

    __slots__ = ("_cache", "_exact", "_lengths", "_patterns", "principals", "resources")

    def __init__(self, resources: Iterable[ResourceEntry], principals: Mapping[str, Principal]) -> None:
        self.resources = list(resources)
        self.principals: Mapping[str, Principal] = MappingProxyType(dict(principals))
        self._exact: dict[str, Resource] = {}
        self._patterns: dict[str, list[tuple[Glob, ResourceEntry]]] = {}
        for entry in self.resources:
            if "*" in entry.id:
                glob = Glob(entry.id)
                self._patterns.setdefault(glob.prefix, []).append((glob, entry))
            else:
                self._exact[entry.id] = _resource(entry.id, entry)
        for same_prefix in self._patterns.values():
            same_prefix.sort(key=lambda each: (-each[1].weight, each[1].id))
        self._lengths = sorted({len(prefix) for prefix in self._patterns}, reverse=True)
        self._cache: dict[str, Resource] = {}

    @classmethod
    def build(cls, resources: Iterable[ResourceEntry], principals: Iterable[Principal]) -> Inventory:
        """Return the inventory of these.

        Raises:
            RegistryError: an id has no normal form, or is declared twice.
        """
        entries = list(resources)
        people = list(principals)
        try:
            return assemble(entries, people)
        except Fault as fault:
            kind, index = fault.field[0], fault.field[1]
            assert isinstance(index, int)
            wrong = entries[index].id if kind == "resources" else people[index].id
            raise RegistryError(f"`{wrong}`: {fault.message}", hint=fault.hint) from None

    def resolve(self, resource_id: str) -> Resource:
        """Return what is known of `resource_id`, which is normalised already.

        The exact entry counts; else the matching pattern with the longest literal prefix, of equal ones the
        most sensitive; else the resource is not listed.
        """
        found = self._exact.get(resource_id)
        if found is None:
            found = self._cache.get(resource_id)
            if found is None:
                found = self._match(resource_id)
        return found

    def _match(self, resource_id: str) -> Resource:
        found = Resource(id=resource_id, type=resource_type_of(resource_id))
        entry = self._best(resource_id)
        if entry is not None:
            found = _resource(resource_id, entry)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[resource_id] = found
        return found

    def _best(self, resource_id: str) -> ResourceEntry | None:
        for length in self._lengths:
            for glob, entry in self._patterns.get(resource_id[:length], ()):
                if glob.matches(resource_id):
                    return entry
        return None


def assemble(resources: Iterable[ResourceEntry], principals: Iterable[Principal]) -> Inventory:
    """Return the inventory of these.

    Raises:
        Fault: one is wrong; its field begins with `resources` or `principals` and its index.
    """
    entries: dict[str, ResourceEntry] = {}
    for index, entry in enumerate(resources):
        try:
            normal = normalise_resource_id(entry.id)
        except RequestError as error:
            raise Fault(error.message, "resources", index, "id", hint=error.hint) from None
        if normal in entries:
            raise Fault(f"resource `{normal}` is declared twice", "resources", index, "id")
        entries[normal] = msgspec.structs.replace(entry, id=normal)
    people: dict[str, Principal] = {}
    for index, principal in enumerate(principals):
        _check_principal(principal, index)
        if principal.id in people:
            raise Fault(f"principal `{principal.id}` is declared twice", "principals", index, "id")
        people[principal.id] = principal
    return Inventory(entries.values(), people)


def _check_principal(principal: Principal, index: int) -> None:
    named: list[tuple[str, Field]] = [(principal.id, ("id",))]
    named += [(role, ("roles", at)) for at, role in enumerate(principal.roles)]
    named += [(group, ("groups", at)) for at, group in enumerate(principal.groups)]
    for text, field in named:
        if len(text) > MAX_PRINCIPAL_ID or not text.isprintable() or _WORD.fullmatch(text) is None:
            raise Fault(
                f"must be 1 to {MAX_PRINCIPAL_ID} printable characters without white space or `*`",
                "principals",
                index,
                *field,
            )
    if principal.on_behalf_of:
        raise Fault("cannot be declared: delegation comes from a token", "principals", index, "on_behalf_of")


def _resource(resource_id: str, entry: ResourceEntry) -> Resource:
    return Resource(
        id=resource_id,
        type=entry.type or resource_type_of(resource_id),
        environment=entry.environment,
        sensitivity=entry.sensitivity,
        owner=entry.owner,
        labels=entry.labels,
        listed=True,
    )
