"""What a request for images or sound counts as before it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.spend._call import Call
from agentguard.spend._usage import Api

if TYPE_CHECKING:
    from collections.abc import Sequence

# The most that one image comes to, given or made, in the largest size and the highest quality.
_TOKENS_AN_IMAGE = 9_000
# Sound at the lowest rate that is still speech: 6 kbit/s, and at most 20 tokens a second.
_BYTES_A_SOUND_TOKEN = 32
_MOST_SOUND_TOKENS = 16_384
_MOST_IMAGES = 128


def media_call(
    provider: str, model: str, api: Api, *, body_bytes: int, files: Sequence[int], images: Any, prompt: bytes
) -> Call:
    """Return the call of `Api.IMAGES` or `Api.AUDIO` that a request is, at the most that it can come to.

    `body_bytes` is the size of the body with the files in it, `files` the size of each, `images` how many images
    are wanted, as the request says it: a number, its digits, or something else, which counts as one.
    """
    given = sum(files)
    is_image = api is Api.IMAGES
    return Call(
        provider=provider,
        model=model,
        input_bytes=max(body_bytes - given, 0),
        api=api,
        max_output_tokens=_TOKENS_AN_IMAGE if is_image else _MOST_SOUND_TOKENS,
        choices=_count(images) if is_image else 1,
        extra_input_tokens=len(files) * _TOKENS_AN_IMAGE if is_image else -(-given // _BYTES_A_SOUND_TOKEN),
        has_image=is_image,
        has_audio=not is_image,
        prompt=prompt,
    )


def _count(value: Any) -> int:
    if type(value) is str and value.isascii() and value.isdigit():
        value = int(value[:9])
    return min(value, _MOST_IMAGES) if type(value) is int and value > 0 else 1
