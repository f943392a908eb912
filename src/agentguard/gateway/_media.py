"""Images, sound and files: what they may cost, and which words an agent gets to see in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.spend import Api, Call

if TYPE_CHECKING:
    from agentguard.gateway._reading import Reading
    from agentguard.llm import LlmCall

# The most that one image comes to, given or made, in the largest size and the highest quality.
_TOKENS_AN_IMAGE = 9_000
# Sound at the lowest rate that is still speech: 6 kbit/s, and at most 20 tokens a second.
_BYTES_A_SOUND_TOKEN = 32
_MOST_SOUND_TOKENS = 16_384
_MOST_IMAGES = 128
_MOST_TEXT = 128 * 1024
# Nobody reads words in these.
_WORDLESS = ("audio/", "image/", "video/")


def api_of(call: LlmCall) -> Api:
    """Return in which way a report of images or sound is to be read."""
    return Api.IMAGES if "images/" in str(call.params.get("kind", "")) else Api.AUDIO


def quote_media(reading: Reading, body: dict[str, Any], provider: str, size: int) -> Call:
    """Return a request for images or sound as the budgets see it."""
    call, api = reading.call, api_of(reading.call)
    files = [part.content for part in reading.form or () if part.filename is not None]
    given = sum(map(len, files))
    is_image = api is Api.IMAGES
    seen = len(files) * _TOKENS_AN_IMAGE if is_image else -(-given // _BYTES_A_SOUND_TOKEN)
    return Call(
        provider=provider,
        model=call.model,
        input_bytes=max(size - given, 0),
        api=api,
        max_output_tokens=_TOKENS_AN_IMAGE if is_image else _MOST_SOUND_TOKENS,
        choices=_count(body.get("n")) if is_image else 1,
        extra_input_tokens=seen,
        has_image=is_image,
        has_audio=not is_image,
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


def _count(value: Any) -> int:
    if type(value) is str and value.isascii() and value.isdigit():
        value = int(value[:9])
    return min(value, _MOST_IMAGES) if type(value) is int and value > 0 else 1
