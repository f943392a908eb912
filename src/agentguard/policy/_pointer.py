"""JSON pointers as rules name parameters by them."""

from __future__ import annotations

import re

from agentguard.core import PolicyError

_BAD_ESCAPE = re.compile(r"~(?![01])")


def pointer(name: str) -> tuple[str, ...]:
    """Return the steps of a parameter's name, or of a JSON pointer (RFC 6901) where it starts with `/`.

    Raises:
        PolicyError: a pointer has a `~` that escapes nothing.
    """
    if not name.startswith("/"):
        return (name,)
    if _BAD_ESCAPE.search(name):
        raise PolicyError(f"path `{name}` is no JSON pointer", hint="write `~` as `~0` and `/` as `~1`")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in name[1:].split("/"))
