"""A notice as people read it: subject, text, HTML and chat, made from templates that a project can change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from jinja2 import BaseLoader, ChoiceLoader, DictLoader, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agentguard.core import Notice

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("agentguard.notify")

_PARTS = ("subject.txt", "text.txt", "html.html", "chat.txt")
_MAX_SUBJECT, _MAX_PART = 200, 20_000
_MAX_VALUE = 1_500


class Button(msgspec.Struct, frozen=True):
    """A link to decide with: it shows the approval, asks for a login, and votes once."""

    label: str
    url: str
    approves: bool


class Message(msgspec.Struct, frozen=True):
    """A notice, written out. `url` is the page that it is about, empty where there is none."""

    notice: Notice
    subject: str
    text: str
    html: str
    chat: str
    url: str = ""
    buttons: tuple[Button, ...] = ()


class Templates:
    """The shipped templates, and those in `folder` that take their place by name.

    One that cannot be used is said in the log, and the shipped one is used. Templates run in a sandbox.
    """

    def __init__(self, folder: Path | None = None) -> None:
        shipped = _shipped()
        self._shipped = _environment(DictLoader(shipped))
        self._own = None
        if folder is not None and folder.is_dir():
            self._own = _environment(ChoiceLoader([FileSystemLoader(folder), DictLoader(shipped)]))
        self._told: set[str] = set()

    def write(self, notice: Notice, *, base_url: str, buttons: tuple[Button, ...] = ()) -> Message:
        """Return the notice written out; links become absolute by `base_url`."""
        links = [(name, base_url + path) for name, path in notice.links]
        values: dict[str, object] = {
            "notice": notice,
            "severity": notice.severity.value,
            "title": _plain(notice.title),
            "fields": [(name, _plain(value)) for name, value in notice.fields],
            "links": links,
            "buttons": buttons,
        }
        subject, text, html, chat = (self._render(part, values) for part in _PARTS)
        url = links[0][1] if links else ""
        return Message(notice, " ".join(subject.split())[:_MAX_SUBJECT], text, html, chat, url, buttons)

    def problems(self) -> list[str]:
        """Return what is wrong with the project's own templates."""
        if self._own is None:
            return []
        found = []
        for part in _PARTS:
            try:
                self._own.get_template(part)
            except (TemplateError, OSError, UnicodeDecodeError) as error:
                found.append(f"template `{part}`: {error}")
        return found

    def _render(self, part: str, values: dict[str, object]) -> str:
        if self._own is not None:
            try:
                return self._own.get_template(part).render(values)[:_MAX_PART]
            except Exception as error:  # noqa: BLE001 - somebody's template must not keep people from being told
                if part not in self._told:
                    self._told.add(part)
                    log.warning("the template `%s` cannot be used: %s", part, error)
        return self._shipped.get_template(part).render(values)[:_MAX_PART]


def _environment(loader: BaseLoader) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        loader=loader,
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Slack's control characters; `&`, `<` and `>` alone (docs: "Escaping text").
    made.filters["chat"] = lambda text: (
        str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return made


def _shipped() -> dict[str, str]:
    from importlib import resources

    folder = resources.files("agentguard.notify") / "templates"
    return {part: (folder / part).read_text(encoding="utf-8") for part in _PARTS}


def _plain(text: str) -> str:
    """Return hostile text in one line without what cannot be seen; a reader must not be led astray by it."""
    kept = "".join(
        char if char.isprintable() else f"\\u{ord(char):04x}" if char not in "\r\n\t" else " "
        for char in text
    )
    return kept if len(kept) <= _MAX_VALUE else f"{kept[:_MAX_VALUE]}…"
