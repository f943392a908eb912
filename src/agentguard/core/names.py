"""Names of actions and ids of resources, in the one spelling that rules are matched against.

Two spellings of one thing are how a deny rule is walked round, so an id is either brought to its one form
or refused; nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata

from agentguard.core.errors import RequestError

MAX_ID_LENGTH = 2048

_ACTION = re.compile(r"[a-z][a-z0-9]*(?:[-_.][a-z0-9]+)*(?:@[1-9][0-9]{0,5})?", re.ASCII)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+-]*):(?!$)", re.ASCII)
# Schemes whose next part is a host name, which is the same in any case and with a dot at its end.
_HOST_SCHEMES = frozenset(("http", "https", "ws", "wss", "host", "ftp"))
_AUTHORITY_END = re.compile(r"[/?#]")


def normalise_action(reference: str) -> str:
    """Return `reference` (`restart-deployment`, `file.read`, `file.read@2`) if it is well formed.

    Raises:
        RequestError: it is not (`action_invalid`).
    """
    if type(reference) is not str or len(reference) > 200 or _ACTION.fullmatch(reference) is None:  # noqa: PLR2004
        raise RequestError("an action is named `kebab-case` or `domain.verb`", code="action_invalid")
    return reference


def action_reference(name: str, version: int) -> str:
    """Return `name@version`."""
    return f"{name}@{version}"


def normalise_resource_id(text: str) -> str:
    """Return the one form of a resource id: `type/...` or a URI.

    NFC; scheme and host in lower case; no empty, `.` or `..` segment, however it is encoded; no control
    character, white space at the ends or backslash; at most 2,048 characters.

    Raises:
        RequestError: it has no such form (`resource_invalid`).
    """
    if type(text) is not str or not text or len(text) > MAX_ID_LENGTH:
        raise _invalid("is empty, too long or no text")
    if not text.isascii():
        text = _normalise_unicode(text)
    if not text.isprintable() or "\\" in text or text[0] == " " or text[-1] == " ":
        raise _invalid("has a control character, a backslash, or white space at an end")
    scheme = _SCHEME.match(text)
    if scheme is None:
        head, path = "", text
    else:
        head, path = _split_uri(scheme.group(1).lower(), text[scheme.end() :])
    _check_segments(path, absolute=bool(head))
    return head + path


def resource_type_of(resource_id: str) -> str:
    """Return the type that a normalised id names: its scheme, or its first segment."""
    scheme = _SCHEME.match(resource_id)
    return scheme.group(1) if scheme else resource_id.partition("/")[0]


def _invalid(why: str) -> RequestError:
    return RequestError(
        f"resource id {why}", code="resource_invalid", hint="write it as `type/name` or as a URI"
    )


def _normalise_unicode(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for char in text):
        raise _invalid("has an invisible or unassigned character")
    return text


def _split_uri(scheme: str, rest: str) -> tuple[str, str]:
    """Split what follows the scheme into its authority, normalised and kept with the scheme, and its path."""
    slashes = ""
    if rest.startswith("//"):
        if rest.startswith("///"):
            # file:///etc/shadow is file:/etc/shadow (RFC 8089, appendix B): one form, the short one.
            return f"{scheme}:", rest[2:]
        slashes, rest = "//", rest[2:]
    elif scheme not in _HOST_SCHEMES:
        return f"{scheme}:", rest
    end = _AUTHORITY_END.search(rest)
    authority, path = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    if scheme in _HOST_SCHEMES:
        authority = _normalise_authority(authority)
    if not authority:
        raise _invalid("has no host")
    return f"{scheme}:{slashes}{authority}", path


def _normalise_authority(authority: str) -> str:
    if "@" in authority:
        raise _invalid("carries user information, which hides the host")
    host, colon, port = authority.lower().rpartition(":")
    if not colon or not port.isdigit():
        host, colon, port = authority.lower(), "", ""
    return f"{host.rstrip('.')}{colon}{port}"


def _check_segments(path: str, *, absolute: bool) -> None:
    path = path.partition("?")[0].partition("#")[0] if absolute else path
    if "%" in path and re.search(r"%(2e|2f|5c|00)", path, re.IGNORECASE):
        raise _invalid("has an encoded dot, slash, backslash or null")
    segments = path.split("/")
    last = len(segments) - 1
    for index, segment in enumerate(segments):
        # A slash at the start belongs to an absolute URI; one at the end names a folder.
        empty_is_fine = (index == 0 and absolute) or (index == last and index > 0)
        if (not segment and not empty_is_fine) or segment in (".", ".."):
            raise _invalid("has an empty, `.` or `..` segment")
