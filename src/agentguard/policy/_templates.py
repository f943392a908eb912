"""Ready-made policies: each one file, read as it ships, to be copied into a project and made its own."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import PolicyError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_MARK = "# "


class Template(msgspec.Struct, frozen=True):
    """A template: `summary` is its first line of comment, `text` the whole file."""

    name: str
    summary: str
    text: str


def templates() -> list[Template]:
    """Return all templates, by name."""
    return sorted(
        (_read(each) for each in _folder().iterdir() if each.name.endswith(".yaml")), key=lambda t: t.name
    )


def find_template(name: str) -> Template:
    """Return the template called `name`.

    Raises:
        PolicyError: there is none.
    """
    known = templates()
    for template in known:
        if template.name == name:
            return template
    raise PolicyError(f"there is no template `{name}`", hint="take " + ", ".join(each.name for each in known))


def _folder() -> Traversable:
    return resources.files("agentguard.policy") / "templates"


def _read(file: Traversable) -> Template:
    text = file.read_text(encoding="utf-8")
    summary = text.partition("\n")[0].removeprefix(_MARK)
    return Template(name=file.name.removesuffix(".yaml"), summary=summary, text=text)
