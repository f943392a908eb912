"""Forms with files (`multipart/form-data`, RFC 7578), read so strictly that no other reader can read them differently."""

from __future__ import annotations

import re
import secrets

import msgspec

_BOUNDARY = re.compile(
    r"""multipart/form-data;\s*boundary=(?:"([\w'()+,./:=? -]{1,70})"|([\w'+.-]{1,70}))\s*""", re.ASCII
)
_DISPOSITION = re.compile(
    r'form-data;[ ]*name="([^"\\\r\n\x00-\x1f]{1,200})"(?:;[ ]*filename="([^"\r\n\x00-\x1f]{0,500})")?[ ]*'
)
_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(?:;[ ]*[\w-]{1,50}=[\w.+-]{1,100})?", re.ASCII)
_MOST_PARTS = 256
_MOST_HEADER_BYTES = 4096


class FormError(Exception):
    """A body is no form, or could be read in two ways; the text says why."""


class FormPart(msgspec.Struct, frozen=True):
    """One field; `filename` is None where it is no file."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str = ""


def read_form(content_type: str, body: bytes) -> list[FormPart]:
    """Return the parts of a form.

    Raises:
        FormError: it is none, or two readers could read it differently.
    """
    found = _BOUNDARY.fullmatch(content_type)
    if found is None:
        raise FormError("the content type is no `multipart/form-data` with a boundary")
    delimiter = b"--" + (found[1] or found[2]).encode()
    if not body.startswith(delimiter + b"\r\n"):
        raise FormError("the form does not begin with its boundary")
    *parts, last = (b"\r\n" + body).split(b"\r\n" + delimiter)[1:]
    if last not in (b"--", b"--\r\n"):
        raise FormError("the form does not end with its boundary")
    if len(parts) > _MOST_PARTS:
        raise FormError(f"the form has more than {_MOST_PARTS} parts")
    return [_part(each) for each in parts]


def write_form(parts: list[FormPart]) -> tuple[str, bytes]:
    """Return the content type and the body of a form, written anew."""
    while any((boundary := f"agentguard-{secrets.token_hex(16)}").encode() in each.content for each in parts):
        pass
    lines: list[bytes] = []
    for part in parts:
        file = "" if part.filename is None else f'; filename="{part.filename}"'
        lines.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name}"{file}\r\n'.encode())
        if part.content_type:
            lines.append(f"Content-Type: {part.content_type}\r\n".encode())
        lines += [b"\r\n", part.content, b"\r\n"]
    lines.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(lines)


def fields_of(parts: list[FormPart]) -> dict[str, str]:
    """Return the fields that are no files.

    Raises:
        FormError: one stands there twice, differs from another in case alone, or is no text.
    """
    fields: dict[str, str] = {}
    seen: set[str] = set()
    for part in parts:
        if part.filename is not None or part.name.endswith("[]"):
            continue
        if part.name.lower() in seen:
            raise FormError("the form has a field twice")
        seen.add(part.name.lower())
        try:
            fields[part.name] = part.content.decode()
        except UnicodeDecodeError:
            raise FormError("the form has a field that is no text") from None
    return fields


def _part(raw: bytes) -> FormPart:
    head, separator, content = raw.partition(b"\r\n\r\n")
    if not separator or not head.startswith(b"\r\n") or len(head) > _MOST_HEADER_BYTES:
        raise FormError("the form has a part without headers")
    try:
        lines = head[2:].decode().split("\r\n")
    except UnicodeDecodeError:
        raise FormError("the form has a header that is no text") from None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name.lower() in headers:
            raise FormError("the form has a header that is none, or stands there twice")
        headers[name.lower()] = value.strip(" ")
    disposition = _DISPOSITION.fullmatch(headers.pop("content-disposition", ""))
    kind = headers.pop("content-type", "")
    encoding = headers.pop("content-transfer-encoding", "binary")
    headers.pop("content-length", None)
    if (
        disposition is None
        or headers
        or encoding not in ("binary", "8bit")
        or (kind and not _TYPE.fullmatch(kind))
    ):
        raise FormError("the form has a part whose headers could be read in two ways")
    return FormPart(disposition[1], content, disposition[2], kind)
