"""The catalogue of actions that ships with the package, compiled from `catalogue/actions/*.yaml`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from agentguard.core import Action, IntegrityError, Location
from agentguard.registry._catalogue_digest import CATALOGUE_SHA256

CATALOGUE = Path(__file__).with_name("catalogue.json")


def read_catalogue() -> list[Action]:
    """Return the catalogue's actions, which were checked when they were compiled.

    Raises:
        IntegrityError: the file is not the one that was compiled with this package.
    """
    problems = verify_catalogue()
    if problems:
        raise IntegrityError(problems[0], location=Location(CATALOGUE.name), hint="install the package again")
    return msgspec.json.decode(CATALOGUE.read_bytes(), type=list[Action])


def verify_catalogue() -> list[str]:
    """Return what is wrong with the shipped catalogue's file, one line a problem; nothing if all is well."""
    try:
        content = CATALOGUE.read_bytes()
    except OSError as error:
        return [f"the shipped catalogue cannot be read: {(error.strerror or str(error)).lower()}"]
    if hashlib.sha256(content).hexdigest() != CATALOGUE_SHA256:
        return ["the shipped catalogue was changed after it was compiled"]
    return []
