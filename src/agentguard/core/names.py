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
# The port that such a URL means when it names none (RFC 3986, section 6.2.3).
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}
# What a URL means the same by whether it is encoded or not (RFC 3986, section 6.2.2.2).
_NEEDLESSLY_ENCODED = re.compile(r"%(?:4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae]|3[0-9]|2d)", re.IGNORECASE)
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
    slashes = rest.startswith("//")
    if scheme in _HOST_SCHEMES and slashes is (scheme == "host"):
        # Clients read `https:example.com` and `https:/example.com` as `https://example.com`.
        raise _invalid("is no `host:name`" if slashes else "lacks `//` before the host")
    if rest.startswith("///") and scheme not in _HOST_SCHEMES:
        # file:///etc/shadow is file:/etc/shadow (RFC 8089, appendix B): one form, the short one.
        return f"{scheme}:", rest[2:]
    if not slashes and scheme not in _HOST_SCHEMES:
        return f"{scheme}:", rest
    rest = rest[2:] if slashes else rest
    end = _AUTHORITY_END.search(rest)
    authority, path = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    if scheme in _HOST_SCHEMES:
        authority = _normalise_authority(authority, _DEFAULT_PORTS.get(scheme))
    if scheme == "file":
        # file://localhost/etc/shadow is file:/etc/shadow too (RFC 8089, section 2); no other host is this one.
        if authority.lower() != "localhost" or not path.startswith("/"):
            raise _invalid("names a host or a relative path in a `file` id")
        return "file:", path
    if authority in ("", ".", ".."):
        raise _invalid("has no host")
    if scheme in _DEFAULT_PORTS and _NEEDLESSLY_ENCODED.search(path.partition("?")[0]):
        raise _invalid("encodes a letter, a digit or a mark that needs no encoding")
    return f"{scheme}:{'//' if slashes else ''}{authority}", path


def _normalise_authority(authority: str, default_port: str | None) -> str:
    if "@" in authority:
        raise _invalid("carries user information, which hides the host")
    host, colon, port = authority.lower().rpartition(":")
    if colon and not port and default_port:
        # `https://example.com:/` names no port (RFC 3986, section 3.2.3).
        port = default_port
    if not (colon and port.isascii() and port.isdigit()):
        host, colon, port = authority.lower(), "", ""
    host, port = host.rstrip("."), port.lstrip("0") or port
    if not host:
        raise _invalid("has no host")
    return host if port == default_port else f"{host}{colon}{port}"


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
