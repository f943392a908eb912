"""Words of a command line, expanded as far as they are constant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agentguard.facts._budget import MAX_BYTES, UnparsedError, budget

if TYPE_CHECKING:
    from collections.abc import Callable

# What is only known when the line runs, and where an unquoted expansion splits a word.
UNKNOWN = "\ue000"
SPLIT = "\ue001"

KNOWN = {
    "IFS": " \t\n",
    "HOME": "~",
    "PWD": ".",
    "SHELL": "bash",
    "BASH": "bash",
    "0": "bash",
    "HISTFILE": "~/.bash_history",
    "TMPDIR": "/tmp",  # noqa: S108 - the default
}
_FIRST_CHARS = {"HOME": "/", "PATH": "/", "PWD": "/", "SHELL": "/", "OLDPWD": "/"}
_ESCAPE = re.compile(r"\\(\n|.)", re.DOTALL)
_IN_STRING = re.compile(r'\\([$`"\\\n])')
_ANSI = re.compile(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[0-7]{1,3}|.)", re.DOTALL)
_PLAIN = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "E": "\x1b",
    "f": "\f",
    "v": "\v",
}
_SLICE = re.compile(r"\$\{(\w+):\s*(-?[0-9]{1,4})(?::([0-9]{1,4}))?\}")
_DEFAULT = re.compile(r"\$\{(\w+)(:?[-=])([^${}]*)\}")
_BRACES = re.compile(r"([^{}]*)\{([^{}]*,[^{}]*)\}([^{}]*)")


class Words:
    """Expands the nodes of one line. `output` says what a command substitution prints, where that is constant."""

    def __init__(self, source: str, output: Callable[[Any], str | None]) -> None:
        self._source = source
        self._output = output
        self.variables: dict[str, str] = {}

    def assign(self, name: str, value: str) -> None:
        """Note an assignment; a second one of another value makes the variable unknown."""
        known = self.variables.get(name)
        self.variables[name] = value if known is None or known == value else UNKNOWN

    def text(self, node: Any) -> str:
        """Return the source of a node."""
        return self._source[node.start_byte : node.end_byte]

    def expand(self, node: Any) -> list[str]:
        """Return the words that an argument becomes, each with `UNKNOWN` for what is not constant."""
        whole = self.value(node)
        words = [word for word in whole.split(SPLIT) if word or SPLIT not in whole]
        return [each for word in words for each in _braces(word)]

    def value(self, node: Any, *, quoted: bool = False) -> str:
        """Return the text of a node after expansion; `SPLIT` where an unquoted one would be split."""
        budget.spend()
        kind = node.type
        if kind in ("word", "command_name") and not node.named_children:
            return _ESCAPE.sub(lambda m: "" if m[1] == "\n" else m[1], self.text(node))
        if kind == "raw_string":
            return self.text(node)[1:-1]
        if kind == "ansi_c_string":
            return _ANSI.sub(_ansi, self.text(node)[2:-1])
        if kind in ("string", "translated_string"):
            return self._string(node)
        if kind in ("simple_expansion", "expansion"):
            found = self._variable(self.text(node))
            return found if quoted else re.sub(r"[ \t\n]+", SPLIT, found)
        if kind == "command_substitution":
            printed = self._output(node)
            if printed is None:
                return UNKNOWN
            return printed.rstrip("\n") if quoted else re.sub(r"[ \t\n]+", SPLIT, printed.strip())
        if kind in ("process_substitution", "arithmetic_expansion"):
            return UNKNOWN
        if kind in ("concatenation", "command_name", "brace_expression", "word"):
            return self._joined(node, quoted=quoted)
        return self.text(node)

    def _joined(self, node: Any, *, quoted: bool) -> str:
        """Join the children of a node with the text between them."""
        parts, at = [], node.start_byte
        for child in node.named_children:
            parts += [
                _ESCAPE.sub(r"\1", self._between(at, child.start_byte)),
                self.value(child, quoted=quoted),
            ]
            at = child.end_byte
        return _bounded((*parts, self._between(at, node.end_byte)))

    def _string(self, node: Any) -> str:
        start = self.text(node).index('"') + 1
        parts, at = [], node.start_byte + start
        for child in node.named_children:
            # White space between two expansions belongs to no child.
            parts.append(self._between(at, child.start_byte))
            inner = self.text(child) if child.type == "string_content" else self.value(child, quoted=True)
            parts.append(
                _IN_STRING.sub(lambda m: "" if m[1] == "\n" else m[1], inner)
                if child.type == "string_content"
                else inner
            )
            at = child.end_byte
        return _bounded((*parts, self._between(at, node.end_byte - 1)))

    def _between(self, start: int, end: int) -> str:
        return self._source[start:end]

    def _variable(self, text: str) -> str:
        name = text.strip("${}")
        if name in self.variables:
            return self.variables[name]
        if name in KNOWN:
            return KNOWN[name]
        part = _SLICE.fullmatch(text)
        if part:
            at, length = int(part[2]), int(part[3] or 4096)
            value = self.variables.get(
                part[1], _FIRST_CHARS.get(part[1], UNKNOWN) if (at, length) == (0, 1) else UNKNOWN
            )
            return value if value == UNKNOWN else value[at:][:length]
        default = _DEFAULT.fullmatch(text)
        if default:
            return self.variables.get(default[1], default[3])
        return "" if name in ("@", "*") else UNKNOWN


def _bounded(parts: tuple[str, ...]) -> str:
    """Join parts; a variable that doubles itself again and again is refused."""
    if sum(map(len, parts)) > MAX_BYTES:
        raise UnparsedError("grows beyond what can be read")
    return "".join(parts)


def _ansi(match: re.Match[str]) -> str:
    code = match[1]
    try:
        if code[0] in "xuU" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code[0] in "01234567":
            return chr(int(code, 8))
    except (ValueError, OverflowError):
        return UNKNOWN
    return _PLAIN.get(code, code)


def _braces(word: str) -> list[str]:
    match = _BRACES.fullmatch(word)
    if match is None:
        return [word]
    return [f"{match[1]}{each}{match[3]}" for each in match[2].split(",")][:64]


def ansi(text: str) -> str:
    """Return a text with its backslash escapes read, as `echo -e` and `printf` do."""
    return _ANSI.sub(_ansi, text)
