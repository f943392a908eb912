"""Requests for images and sound, which come as forms too, and the words in their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.llm import MEDIA, FormError, FormPart, LlmCall, fields_of, read_call, read_form, write_form

if TYPE_CHECKING:
    from agentguard.spend import Api

# A form is held in memory while it is looked at. OpenAI itself takes 50 MB an image and 25 MB of sound.
_MOST_FORM_BYTES = 256 * 1024 * 1024
_MOST_TEXT = 128 * 1024
# Nobody reads words in these.
_WORDLESS = ("audio/", "image/", "video/")


def form_of(request: Any) -> list[FormPart] | None:
    """Return the parts of a request's form; None where it has none that nobody could read differently.

    It is in memory from then on: what is sent is what was read.
    """
    kind = request.headers.get("content-type", "")
    size = request.headers.get("content-length", "")
    if not kind.lower().startswith("multipart/") or not size.isdigit() or int(size) > _MOST_FORM_BYTES:
        return None
    try:
        return read_form(kind, request.read())
    except (FormError, AssertionError, TypeError, RuntimeError, OSError, ValueError):
        # A file that cannot be read, or only by the event loop.
        return None


def read_media(request: Any, call: LlmCall, path: str, provider: str) -> tuple[LlmCall, list[int]]:
    """Return the call that a form for images or sound is, and the sizes of its files; another one stays as it is."""
    form = form_of(request) if call.action == MEDIA and call.body is None else None
    if form is None:
        return call, []
    try:
        fields = fields_of(form)
    except FormError:
        return call, []
    size = len(request.content)
    read = read_call(
        request.method, request.url.host, path, msgspec.json.encode(fields), is_json=True, provider=provider
    )
    read = msgspec.structs.replace(read, params={**read.params, "input_bytes": size}, input_bytes=size)
    return read, [len(part.content) for part in form if part.filename is not None]


def written_form(request: Any, body: dict[str, Any]) -> tuple[str, bytes] | None:
    """Return the content type and the bytes of a request's form with other fields; None where it is no form."""
    form = form_of(request)
    if form is None:
        return None
    parts = [
        msgspec.structs.replace(part, content=str(body[part.name]).encode())
        if part.filename is None and part.name in body
        else part
        for part in form
    ]
    return write_form(parts)


def api_of(call: LlmCall) -> Api:
    """Return in which way a report of images or sound is to be read."""
    from agentguard.spend import Api

    return Api.IMAGES if "images/" in str(call.params.get("kind", "")) else Api.AUDIO


def words_in(response: Any) -> str | None:
    """Return the text of an answer that is no conversation; None where it has no words."""
    if response.headers.get("content-type", "").lower().startswith(_WORDLESS):
        return None
    content: bytes = response.content
    try:
        # A cut in the middle of a character is no reason to see none.
        return content[:_MOST_TEXT].decode(errors="ignore" if len(content) > _MOST_TEXT else "strict")
    except UnicodeDecodeError:
        return None
