"""Which values a field takes where the type says so: for errors that name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec.inspect as mi

if TYPE_CHECKING:
    from collections.abc import Iterator


def expected_values(kind: Any, field: tuple[str | int, ...]) -> list[str]:
    """Return the values that `kind` allows at `field`; nothing where it is no enumeration."""
    found: list[str] = []
    for node in _below(mi.type_info(kind), field):
        if isinstance(node, mi.EnumType):
            found += [str(member.value) for member in node.cls]
        elif isinstance(node, mi.LiteralType):
            found += [str(value) for value in node.values]
    return found


def _below(node: mi.Type, field: tuple[str | int, ...]) -> Iterator[mi.Type]:
    if isinstance(node, mi.UnionType):
        for each in node.types:
            yield from _below(each, field)
    elif isinstance(node, mi.DictType):
        # The error does not say under which key of a map it happened, so the path has no step for it.
        yield from _below(node.value_type, field)
    elif not field:
        yield node
    elif isinstance(node, mi.StructType):
        for member in node.fields:
            if member.encode_name == field[0]:
                yield from _below(member.type, field[1:])
    elif isinstance(node, mi.ListType | mi.VarTupleType | mi.SetType | mi.FrozenSetType):
        yield from _below(node.item_type, field[1:])
