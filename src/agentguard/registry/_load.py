"""From a project's files to a registry and an inventory; errors name file, line and field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Action, Location, Principal, PrincipalKind
from agentguard.documents import find_documents, read
from agentguard.registry._actions import ActionRegistry, Declared, assemble
from agentguard.registry._catalogue import CATALOGUE, read_catalogue
from agentguard.registry._fault import Fault
from agentguard.registry._inventory import Inventory, ResourceEntry
from agentguard.registry._inventory import assemble as assemble_inventory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agentguard.documents import Document
    from agentguard.registry._fault import Field, Locate


class _ActionsFile(msgspec.Struct, forbid_unknown_fields=True):
    actions: list[Action]


class _PrincipalEntry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    kind: PrincipalKind = PrincipalKind.AGENT
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class _InventoryFile(msgspec.Struct, forbid_unknown_fields=True):
    resources: list[ResourceEntry] = []
    principals: list[_PrincipalEntry] = []


def load_actions(paths: Iterable[Path], *, catalogue: bool = True) -> ActionRegistry:
    """Return the registry of the actions in `paths` (files, or folders of them) and of the catalogue.

    Raises:
        DocumentError: a file cannot be read or has another shape.
        RegistryError: an action is declared wrongly, twice, or under the reference of a shipped one.
        IntegrityError: the shipped catalogue was changed.
    """
    declared = (
        [Declared(action, _in_catalogue, trusted=True) for action in read_catalogue()] if catalogue else []
    )
    for path in _files(paths):
        declared += declared_in(read(path))
    return assemble(declared)


def load_inventory(paths: Iterable[Path]) -> Inventory:
    """Return the inventory in `paths` (files, or folders of them).

    Raises:
        DocumentError: a file cannot be read or has another shape.
        RegistryError: an entry is declared wrongly or twice.
    """
    resources: list[ResourceEntry] = []
    principals: list[Principal] = []
    origins: dict[str, list[tuple[Document, int]]] = {"resources": [], "principals": []}
    for path in _files(paths):
        document = read(path)
        content = document.convert(_InventoryFile)
        resources += content.resources
        principals += [Principal(each.id, each.kind, each.roles, each.groups) for each in content.principals]
        origins["resources"] += [(document, index) for index in range(len(content.resources))]
        origins["principals"] += [(document, index) for index in range(len(content.principals))]

    def locate(field: Field) -> Location:
        kind, at, *rest = field
        document, index = origins[str(kind)][int(at)]
        return document.location(kind, index, *rest)

    try:
        return assemble_inventory(resources, principals)
    except Fault as fault:
        raise fault.located(locate) from None


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from find_documents(path)
        else:
            yield path


def declared_in(document: Document) -> list[Declared]:
    """Return the actions that one file declares.

    Raises:
        DocumentError: the file has another shape.
    """
    value: Any = document.value
    if isinstance(value, dict) and "actions" not in value and "name" in value:
        return [Declared(document.convert(Action), _in_document(document, ()))]
    actions = document.convert(_ActionsFile).actions
    return [Declared(each, _in_document(document, ("actions", at))) for at, each in enumerate(actions)]


def _in_document(document: Document, above: Field) -> Locate:
    return lambda field: document.location(*above, *field)


def _in_catalogue(field: Field) -> Location:
    return Location(CATALOGUE.name, field=str(field[0]) if field else None)
