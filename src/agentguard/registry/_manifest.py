"""A SHA-256 manifest of a project's `actions/` folder, in the format of sha256sum(1).

`sha256sum --check MANIFEST.sha256` in that folder gives the same answer, but for files that are not listed.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

from agentguard.core import IntegrityError, Location, RegistryError
from agentguard.documents import find_documents

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST_NAME = "MANIFEST.sha256"

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<file>[^\\\n]+)")


def write_manifest(folder: Path) -> Path:
    """Write the manifest of the YAML and JSON files below `folder`, and return its path.

    Raises:
        RegistryError: a file cannot be read or has a name that the manifest cannot hold, or the manifest
            cannot be written.
    """
    path = folder / MANIFEST_NAME
    unfinished = folder / f".{MANIFEST_NAME}.{os.getpid()}"
    try:
        lines = [f"{digest}  {name}\n" for name, digest in sorted(_digests(folder).items())]
        unfinished.write_text("".join(lines), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise RegistryError(
            f"cannot make the manifest: {(error.strerror or str(error)).lower()}",
            location=Location(str(folder)),
        ) from None
    return path


def verify_manifest(folder: Path) -> list[str]:
    """Return each difference between `folder` and its manifest, one line a problem; nothing if all is well.

    Raises:
        IntegrityError: there is no manifest, or it cannot be read.
        RegistryError: a file of the folder cannot be read.
    """
    listed, problems = _read_manifest(folder / MANIFEST_NAME)
    try:
        present = _digests(folder)
    except OSError as error:
        raise RegistryError(
            f"cannot be read: {(error.strerror or str(error)).lower()}", location=Location(str(folder))
        ) from None
    for name in sorted(listed.keys() | present.keys()):
        if name not in present:
            problems.append(f"`{name}` is missing")
        elif name not in listed:
            problems.append(f"`{name}` is not listed in {MANIFEST_NAME}")
        elif listed[name] != present[name]:
            problems.append(f"`{name}` has changed")
    return problems


def _digests(folder: Path) -> dict[str, str]:
    digests: dict[str, str] = {}
    for path in find_documents(folder):
        name = path.relative_to(folder).as_posix()
        if not name.isprintable() or "\\" in name:
            raise RegistryError("has a name that a manifest cannot hold", location=Location(ascii(name)))
        digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def _read_manifest(path: Path) -> tuple[dict[str, str], list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise IntegrityError(
            "there is no manifest",
            location=Location(str(path)),
            hint="write one when the actions are reviewed",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"the manifest cannot be read: {type(error).__name__}", location=Location(str(path))
        ) from None
    listed: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None or match["file"] in listed:
            problems.append(f"{MANIFEST_NAME}:{number}: is no line of a manifest, or lists a file twice")
        else:
            listed[match["file"]] = match["digest"]
    return listed, problems
