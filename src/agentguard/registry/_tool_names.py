"""Names of actions for tools: the same where it can be, and one that says where it comes from where not."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING

from agentguard.core import RegistryError, RequestError, normalise_action

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NAME = 120
TOOL_TAG = "tool:"

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9_.]+")
_JOINTS = re.compile(r"([-_.])[-_.]+")


def action_names(tools: Sequence[str]) -> list[str]:
    """Return the name of the action for each tool, in order; the same tools in any order get the same names.

    A name that an action can have stays as it is (`send_email`, `mail.send`); another is rewritten
    (`sendEmail` as `send-email`), and where two would meet, the rewritten one ends in six digits of the
    tool's own name's SHA-256. So a name is that of one tool, and the `tool:` tag says of which.

    Raises:
        RegistryError: a tool stands twice.
    """
    twice = [name for name, count in Counter(tools).items() if count > 1]
    if twice:
        raise RegistryError(
            f"the tool `{shown(twice[0])}` stands twice",
            hint="rename one; two tools of one name cannot be told apart",
        )
    made = [_rewritten(name) for name in tools]
    met = Counter(made)
    return [
        new if met[new] == 1 or new == name else f"{new}-{_digest(name)}"
        for name, new in zip(tools, made, strict=True)
    ]


def shown(name: str) -> str:
    """Return a tool's name as a tag or a message can hold it."""
    text = "".join(char if char.isprintable() and char != "`" else "?" for char in name)
    return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}…"


def _rewritten(name: str) -> str:
    if is_action_name(name):
        return name
    text = _OTHER.sub("-", _CAMEL.sub("-", name[: MAX_NAME * 2]).lower())
    text = _JOINTS.sub(r"\1", text).strip("-_.")
    if not text.isascii() or not text or len(text) > MAX_NAME:
        text = (
            f"{text[:MAX_NAME].strip('-_.')}-{_digest(name)}"
            if text.isascii() and text
            else f"tool-{_digest(name)}"
        )
    text = text if text[0].isalpha() else f"tool-{text}"
    return text if is_action_name(text) else f"tool-{_digest(name)}"


def is_action_name(name: str) -> bool:
    """Return whether an action can be called `name`."""
    try:
        return len(name) <= MAX_NAME and "@" not in normalise_action(name)
    except RequestError:
        return False


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]
