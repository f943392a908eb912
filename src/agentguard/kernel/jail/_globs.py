"""Globs of rules as what a kernel can hold: a file, a tree, or the files that match now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Glob

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_MATCHES = 1_000
_MAX_LOOKED_AT = 20_000


class Shape(msgspec.Struct, frozen=True):
    """What a pattern comes to: paths, and whether they are all that it will ever match (`exact`)."""

    paths: tuple[str, ...]
    exact: bool


def shape_of(pattern: str, *, forbids: bool) -> Shape:
    """Return what a pattern over absolute paths comes to.

    A tree (`/a/**`) and a file are exact. Of any other pattern the files that match now are taken. A folder that is
    named itself, and not what is beneath it, counts as a tree where the rule forbids, and as nothing where it permits:
    a kernel's rule about a folder is always about all beneath it.
    """
    if "*" not in pattern:
        if not forbids and Path(pattern).is_dir():
            return Shape((), exact=False)
        return Shape((pattern,), exact=True)
    tree = pattern.removesuffix("/**")
    if tree != pattern and "*" not in tree:
        return Shape((tree or "/",), exact=True)
    if pattern == "**":
        return Shape(("/",), exact=True)
    return Shape(tuple(_matches(pattern)), exact=False)


def _matches(pattern: str) -> Iterator[str]:
    glob = Glob(pattern)
    folder = glob.prefix.rpartition("/")[0] or "/"
    deep = "/" in pattern[len(glob.prefix) :] or "**" in pattern
    looked_at = found = 0
    for place, folders, files in os.walk(folder):
        for name in (*files, *folders):
            path = f"{place.rstrip('/')}/{name}"
            looked_at += 1
            if looked_at > _MAX_LOOKED_AT or found >= _MAX_MATCHES:
                return
            if glob.matches(path):
                found += 1
                yield path
        if not deep:
            return
