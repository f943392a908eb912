"""What the budgets have to know of a request before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.llm import CHAT, EMBED, MEDIA, Wire
from agentguard.spend import Api, Call

if TYPE_CHECKING:
    from agentguard.llm import LlmCall

APIS = {Wire.CHAT: Api.CHAT, Wire.RESPONSES: Api.RESPONSES, Wire.MESSAGES: Api.MESSAGES}
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
# What an image by its address may come to at most, at the largest size that a provider takes.
_TOKENS_A_LINK = 3_000
_MOST_CHOICES = 128
_MOST_TOKENS = 10_000_000
_STANDARD = frozenset(("", "auto", "default", "standard", "standard_only"))
# Input that the body only names: nobody here can tell how large it is.
_UNSEEN = ("previous_response_id", "conversation", "prompt_id", "container")


def is_charged(call: LlmCall) -> bool:
    """Tell whether a request costs tokens."""
    return call.action in (CHAT, EMBED, MEDIA)


def quote_call(call: LlmCall, body: dict[str, Any], provider: str, size: int) -> Call:
    """Return a request as the budgets see it; what is malformed in it counts as left out."""
    api = APIS.get(call.wire, Api.EMBEDDINGS)
    parts = _Parts()
    parts.look(body.get("messages"))
    parts.look(body.get("input"))
    parts.look(body.get("system"))
    tier = body.get("service_tier")
    limits = [_count(body.get(name), _MOST_TOKENS) for name in _LIMITS]
    prompt = body.get("prompt")
    return Call(
        provider=provider,
        model=call.model,
        input_bytes=size,
        api=api,
        max_output_tokens=max((each for each in limits if each is not None), default=None),
        choices=max(_count(body.get("n"), _MOST_CHOICES) or 1, _count(body.get("best_of"), _MOST_CHOICES) or 1),
        tier=tier if isinstance(tier, str) and tier not in _STANDARD else "",
        extra_input_tokens=parts.links * _TOKENS_A_LINK,
        unseen_input=parts.files or bool(call.hosted) or isinstance(prompt, dict)
        or any(body.get(name) for name in _UNSEEN),
        writes_cache=parts.caches or bool(body.get("cache_control")),
        has_audio=parts.audio or bool(body.get("audio")),
        prompt=msgspec.json.encode([said.text for said in call.said]) if call.said else b"",
    )  # fmt: skip


class _Parts:
    """What stands in the messages besides text."""

    def __init__(self) -> None:
        self.links = 0
        self.files = self.caches = self.audio = False

    def look(self, value: Any, depth: int = 0) -> None:
        if depth > 6:  # noqa: PLR2004 - deeper than any message of theirs
            return
        if type(value) is list:
            for each in value:
                self.look(each, depth + 1)
        elif type(value) is dict:
            self._look_at(value)
            self.look(value.get("content"), depth + 1)

    def _look_at(self, part: dict[str, Any]) -> None:
        kind = part.get("type")
        if part.get("cache_control"):
            self.caches = True
        if kind in ("image_url", "input_image", "image"):
            self.links += 1
        elif kind == "input_audio":
            self.audio = True
        elif kind in ("file", "input_file", "item_reference", "document", "container_upload"):
            self.files = True


def _count(value: Any, most: int) -> int | None:
    return min(value, most) if type(value) is int and value > 0 else None
