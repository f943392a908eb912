"""Resource templates, as in `mail/{to}`: values fill places in an id and cannot change its structure."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from agentguard.core import ConfigError, RequestError, normalise_resource_id

if TYPE_CHECKING:
    from collections.abc import Collection

# `/` and `\` make segments, `?` and `#` end them in a URI.
_STRUCTURE = frozenset("/\\?#")
# These make schemes, users, hosts and ports.
_URI_STRUCTURE = _STRUCTURE | frozenset(":@[]")
_HINT = "write plain names of parameters, as in `mail/{to}`"


class ResourceTemplate:
    """A resource id with names of parameters in braces; `{{` and `}}` are braces.

    Raises:
        ConfigError: a field is no plain name of one of `names`, or the text around them makes no resource id.
    """

    def __init__(self, text: str, *, names: Collection[str]) -> None:
        try:
            self._parts = [part[:2] for part in string.Formatter().parse(text) if _is_plain(*part[1:])]
        except (ValueError, TypeError):
            raise ConfigError(f"resource `{text}` is no template", hint=_HINT) from None
        unknown = sorted({name for _, name in self._parts if name is not None} - set(names))
        if unknown:
            raise ConfigError(f"resource `{text}` names `{unknown[0]}`, which is no parameter", hint=_HINT)
        literal = "".join(literal for literal, _ in self._parts)
        # Where a value could be read as part of a scheme, a host or a port.
        starts_open = bool(self._parts) and "/" not in self._parts[0][0]
        self._forbidden = _URI_STRUCTURE if ":" in literal or starts_open else _STRUCTURE
        try:
            self.render(dict.fromkeys(names, "x"))
        except RequestError as error:
            raise ConfigError(f"resource `{text}`: {error.message}", hint=error.hint) from None

    def render(self, values: dict[str, Any]) -> str:
        """Return the normalised id with the values filled in.

        Raises:
            RequestError: a value is missing, is neither text nor a whole number, is empty or has a character
                that could change the structure; or the whole is no resource id.
        """
        filled = "".join(
            literal + ("" if name is None else self._value(name, values.get(name)))
            for literal, name in self._parts
        )
        return normalise_resource_id(filled)

    def _value(self, name: str, value: Any) -> str:
        if type(value) is int:
            return str(value)
        if type(value) is not str or not value:
            raise _invalid(f"parameter `{name}` names the resource and is empty or no text")
        if not self._forbidden.isdisjoint(value) or not value.isprintable() or value in (".", ".."):
            raise _invalid(f"parameter `{name}` has a character that would change what the resource is")
        return value


def _invalid(message: str) -> RequestError:
    return RequestError(message, code="resource_invalid")


def _is_plain(name: str | None, spec: str | None, conversion: str | None) -> bool:
    if name is not None and (not name.isidentifier() or spec or conversion):
        raise ValueError(name)
    return True
