"""Images, sound and files: what they may cost, and which words an agent gets to see in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.spend import Api, media_call

if TYPE_CHECKING:
    from agentguard.gateway._reading import Reading
    from agentguard.llm import LlmCall
    from agentguard.spend import Call

_MOST_TEXT = 128 * 1024
# Nobody reads words in these.
_WORDLESS = ("audio/", "image/", "video/")


def api_of(call: LlmCall) -> Api:
    """Return in which way a report of images or sound is to be read."""
    return Api.IMAGES if "images/" in str(call.params.get("kind", "")) else Api.AUDIO


def quote_media(reading: Reading, body: dict[str, Any], provider: str, size: int) -> Call:
    """Return a request for images or sound as the budgets see it."""
    call = reading.call
    return media_call(
        provider,
        call.model,
        api_of(call),
        body_bytes=size,
        files=[len(part.content) for part in reading.form or () if part.filename is not None],
        images=body.get("n"),
        prompt=msgspec.json.encode([said.text for said in call.said]) if call.said else b"",
    )


def words_in(content_type: str, content: bytes) -> list[str]:
    """Return the texts of an answer that is no conversation: all of it, if it is text; what is none has no words."""
    if content_type.startswith(_WORDLESS):
        return []
    try:
        # A cut in the middle of a character is no reason to see none.
        return [content[:_MOST_TEXT].decode(errors="ignore" if len(content) > _MOST_TEXT else "strict")]
    except UnicodeDecodeError:
        return []
