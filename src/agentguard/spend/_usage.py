"""What a call used, by the provider's own report, whole or event by event.

Reports are read, not believed: what is no count between 0 and 2**40 is no report, and whoever settles then
counts the call as estimated.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from agentguard.core import Usage

_MOST = 2**40
_BYTES_A_TOKEN = 3
# Text of more than so many bytes a token is in no language.
_MOST_BYTES_A_TOKEN = 16
_STANDARD = frozenset(("", "auto", "default", "standard"))


class Api(enum.Enum):
    """Which API a report is from; Azure's are the same as OpenAI's."""

    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"
    IMAGES = "images"
    AUDIO = "audio"


class Report(msgspec.Struct, frozen=True):
    """What a provider says that a call used. `tier` is empty for the standard one: `batch`, `flex`, `priority`."""

    usage: Usage
    model: str = ""
    tier: str = ""


def read_report(api: Api, body: Any) -> Report | None:
    """Return the report in a whole answer (the parsed JSON body), None if it has none that can be read."""
    if not isinstance(body, Mapping) or not isinstance(body.get("usage"), Mapping):
        return None
    reported = body["usage"]
    try:
        usage = _READ[api](reported)
        if api is Api.RESPONSES:
            usage = _with_searches(usage, body.get("output"))
    except _UnreadableError:
        return None
    return Report(usage, _text(body.get("model")), _tier(body, reported))


class StreamUsage:
    """Adds up what the events of one stream say; `report` is the provider's own word, once it is complete."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._reported: dict[str, Any] = {}
        self._model = ""
        self._tier = ""
        self._complete: Report | None = None
        self.output_bytes = 0

    def feed(self, event: Any) -> None:
        """Take in one event: the parsed JSON after `data:`. Anything else is ignored."""
        if not isinstance(event, Mapping):
            return
        self.output_bytes += _text_bytes(event)
        if self._api is Api.MESSAGES:
            self._feed_messages(event)
        elif self._api is Api.RESPONSES:
            if isinstance(event.get("response"), Mapping):
                self._complete = read_report(self._api, event["response"]) or self._complete
        else:
            self._model = _text(event.get("model")) or self._model
            self._complete = read_report(self._api, event) or self._complete

    @property
    def report(self) -> Report | None:
        """What the provider reported, None until it did."""
        return self._complete

    def exceeds(self, output_tokens: int) -> bool:
        """Tell whether the answer has surely more tokens than were reserved for it, whatever is reported."""
        reported = self._complete.usage.output_tokens if self._complete is not None else 0
        return reported > output_tokens or self.output_bytes > output_tokens * _MOST_BYTES_A_TOKEN

    def so_far(self, input_tokens: int) -> Report:
        """Return what a stream used that was cut: what was reported, and an estimate of the rest.

        `input_tokens` is the estimate that was made before the call.
        """
        if self._complete is not None:
            return self._complete
        written = -(-self.output_bytes // _BYTES_A_TOKEN)
        try:
            usage = _messages(self._reported) if self._reported else Usage(input_tokens=input_tokens)
        except _UnreadableError:
            usage = Usage(input_tokens=input_tokens)
        usage = msgspec.structs.replace(usage, output_tokens=max(usage.output_tokens, written))
        return Report(usage, self._model, self._tier)

    def _feed_messages(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        message = (
            event.get("message") if kind == "message_start" else event if kind == "message_delta" else None
        )
        if not isinstance(message, Mapping):
            return
        self._model = _text(message.get("model")) or self._model
        usage = message.get("usage")
        if isinstance(usage, Mapping):
            # What comes later is cumulative and replaces what came before.
            self._reported |= {name: value for name, value in usage.items() if value is not None}
            self._tier = _tier(message, usage) or self._tier
        if kind == "message_delta":
            self._complete = self._messages_report()

    def _messages_report(self) -> Report | None:
        try:
            return Report(_messages(self._reported), self._model, self._tier)
        except _UnreadableError:
            return None


class _UnreadableError(Exception):
    """A report that is none; never leaves this module."""


def _chat(usage: Mapping[str, Any]) -> Usage:
    given, answered = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return Usage(
        input_tokens=_count(usage, "prompt_tokens", needed=True),
        cache_read_tokens=_count(given, "cached_tokens"),
        cache_write_tokens=_count(given, "cache_write_tokens"),
        input_audio_tokens=_count(given, "audio_tokens"),
        input_image_tokens=_count(given, "image_tokens"),
        output_tokens=_count(usage, "completion_tokens"),
        output_reasoning_tokens=_count(answered, "reasoning_tokens"),
        output_audio_tokens=_count(answered, "audio_tokens"),
        output_image_tokens=_count(answered, "image_tokens"),
    )


def _responses(usage: Mapping[str, Any]) -> Usage:
    given, answered = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    return Usage(
        input_tokens=_count(usage, "input_tokens", needed=True),
        cache_read_tokens=_count(given, "cached_tokens"),
        cache_write_tokens=_count(given, "cache_write_tokens"),
        input_audio_tokens=_count(given, "audio_tokens"),
        input_image_tokens=_count(given, "image_tokens"),
        output_tokens=_count(usage, "output_tokens"),
        output_reasoning_tokens=_count(answered, "reasoning_tokens"),
        output_audio_tokens=_count(answered, "audio_tokens"),
        output_image_tokens=_count(answered, "image_tokens"),
    )


def _messages(usage: Mapping[str, Any]) -> Usage:
    # Here `input_tokens` is what the cache neither gave nor took.
    read = _count(usage, "cache_read_input_tokens")
    by_age = usage.get("cache_creation")
    written_1h = _count(by_age, "ephemeral_1h_input_tokens")
    written = max(
        _count(usage, "cache_creation_input_tokens"),
        written_1h + _count(by_age, "ephemeral_5m_input_tokens"),
    )
    return Usage(
        input_tokens=_count(usage, "input_tokens", needed=True) + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        output_tokens=_count(usage, "output_tokens"),
        web_searches=_count(usage.get("server_tool_use"), "web_search_requests"),
    )


def _images(usage: Mapping[str, Any]) -> Usage:
    read = _media(usage)
    # Where nothing says what the answer was, it was images.
    told = isinstance(usage.get("output_tokens_details"), Mapping)
    return read if told else msgspec.structs.replace(read, output_image_tokens=read.output_tokens)


def _media(usage: Mapping[str, Any]) -> Usage:
    # A report by the second (`duration`) has no tokens, and is none.
    given, answered = (
        usage.get("input_tokens_details") or usage.get("input_token_details"),
        usage.get("output_tokens_details"),
    )
    return Usage(
        input_tokens=_count(usage, "input_tokens", needed=True),
        input_audio_tokens=_count(given, "audio_tokens"),
        input_image_tokens=_count(given, "image_tokens"),
        output_tokens=_count(usage, "output_tokens"),
        output_audio_tokens=_count(answered, "audio_tokens"),
        output_image_tokens=_count(answered, "image_tokens"),
    )


_READ = {
    Api.CHAT: _chat,
    Api.RESPONSES: _responses,
    Api.EMBEDDINGS: _chat,
    Api.MESSAGES: _messages,
    Api.IMAGES: _images,
    Api.AUDIO: _media,
}


def _count(within: Any, name: str, *, needed: bool = False) -> int:
    # To ask whether it is a mapping costs more than the rest.
    is_read = type(within) is dict or isinstance(within, Mapping)
    value = within.get(name) if is_read else None
    if value is None and not needed:
        return 0
    if type(value) is not int or not 0 <= value <= _MOST:
        raise _UnreadableError
    return value


def _with_searches(usage: Usage, output: Any) -> Usage:
    kinds = (
        [each.get("type") for each in output if isinstance(each, Mapping)] if isinstance(output, list) else []
    )
    web, files = kinds.count("web_search_call"), kinds.count("file_search_call")
    if not web and not files:
        return usage
    return msgspec.structs.replace(usage, web_searches=web, file_searches=files)


def _tier(body: Mapping[str, Any], usage: Mapping[str, Any]) -> str:
    for tier in (usage.get("speed"), usage.get("service_tier"), body.get("service_tier")):
        if isinstance(tier, str) and tier not in _STANDARD:
            return tier
    return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _text_bytes(event: Mapping[str, Any]) -> int:
    """Return how many bytes of answer an event carries: every text below `delta`, its own or its choices'."""
    choices = event.get("choices")
    parts = choices if isinstance(choices, list) else [event]
    return sum(_bytes_of(part.get("delta")) for part in parts if isinstance(part, Mapping))


def _bytes_of(value: Any, depth: int = 0) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if depth > 8:  # noqa: PLR2004 - far deeper than any event of theirs
        return 0
    if isinstance(value, Mapping):
        return sum(
            _bytes_of(inner, depth + 1) for name, inner in value.items() if name not in ("role", "type")
        )
    if isinstance(value, list):
        return sum(_bytes_of(inner, depth + 1) for inner in value)
    return 0
