"""Reserves what a call may cost before it is sent, and books what it did."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any

from agentguard.clients.llm._media import api_of
from agentguard.core import SpendError
from agentguard.llm import EMBED, MEDIA, Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentguard.clients.llm._guard import LlmGuard
    from agentguard.llm import LlmCall
    from agentguard.spend import Admission, Api, Call, StreamUsage

_LOGGER = logging.getLogger("agentguard.pep")
_BYTES_A_TOKEN = 3
# What an image, a file or a sound costs that is only named: more than any of them is counted as.
_NAMED_TOKENS = 10_000
_NAMES = (b'"image_url"', b'"file_id"', b'"input_image"', b'"input_file"', b'"file_url"', b'"type":"url"')
_UNSEEN = ("previous_response_id", "conversation", "prompt_cache_retention", "container")


class Meter:
    """What one call has reserved, until it is booked or given back; each of the two is done once."""

    def __init__(self, guard: LlmGuard, call: LlmCall, admission: Admission) -> None:
        self._guard, self._call, self.admission = guard, call, admission
        self._is_open = admission.is_admitted
        self.usage: StreamUsage | None = None

    def watch(self) -> StreamUsage:
        """Return what adds up the events of the answer's stream."""
        from agentguard.spend import StreamUsage

        self.usage = StreamUsage(_api(self._call))
        return self.usage

    def settle(self, body: dict[str, Any] | None) -> None:
        """Book what a whole answer reports, or what was reserved where it reports nothing."""
        from agentguard.spend import read_report

        report = None if body is None else read_report(_api(self._call), body)
        self._end(lambda budgets: budgets.settle(self.admission, report))

    def settle_stream(self) -> None:
        """Book what a stream reported, or what it was seen to use where it was cut before its report."""
        assert self.usage is not None
        report = self.usage.report
        is_estimated = report is None
        if report is None:
            report = self.usage.so_far(-(-self._call.input_bytes // _BYTES_A_TOKEN))
        self._end(lambda budgets: budgets.settle(self.admission, report, estimated=is_estimated))

    def release(self) -> None:
        """Give back what was reserved: the call was not made, or is not charged."""
        self._end(lambda budgets: budgets.release(self.admission))

    def _end(self, book: Any) -> None:
        if not self._is_open or self._guard.budgets is None:
            return
        self._is_open = False
        try:
            book(self._guard.budgets)
        except SpendError as error:
            # The reservation stands, and is booked whole when it expires: nothing is lost to the budget.
            _LOGGER.error("a call is not booked: %s", error.message)  # noqa: TRY400 - its own words say it all


def reserve(guard: LlmGuard, call: LlmCall, files: Sequence[int] = ()) -> Meter | None:
    """Return what a call has reserved, or was refused; None where there are no budgets, or it costs nothing.

    `files` are the sizes of the files that it brings in a form.
    """
    if guard.budgets is None or (call.wire is Wire.NONE and call.action not in (EMBED, MEDIA)):
        return None
    asked = _asked_media(call, files) if call.action == MEDIA else _asked(call)
    return Meter(guard, call, guard.budgets.reserve(asked, guard.spender, attempt=secrets.token_hex(16)))


def _asked_media(call: LlmCall, files: Sequence[int]) -> Call:
    from agentguard.spend import media_call

    return media_call(
        call.provider,
        call.model,
        api_of(call),
        body_bytes=call.input_bytes,
        files=files,
        images=(call.body or {}).get("n"),
        prompt=call.content or b"",
    )


def _asked(call: LlmCall) -> Call:
    from agentguard.spend import Call

    body = call.body or {}
    content = call.content or b""
    limit, choices = call.params.get("max_output_tokens"), body.get("n")
    tier = body.get("service_tier")
    return Call(
        call.provider,
        call.model,
        call.input_bytes,
        _api(call),
        limit if type(limit) is int else None,
        choices=choices if type(choices) is int else 1,
        tier=tier
        if type(tier) is str and tier not in ("auto", "default", "standard", "standard_only")
        else "",
        extra_input_tokens=_NAMED_TOKENS * sum(content.count(name) for name in _NAMES),
        unseen_input=any(body.get(name) is not None for name in _UNSEEN) or type(body.get("prompt")) is dict,
        writes_cache=b'"cache_control"' in content,
        has_audio=b'"input_audio"' in content or "audio" in (body.get("modalities") or ()),
        prompt=content,
    )


def _api(call: LlmCall) -> Api:
    from agentguard.spend import Api

    if call.action == EMBED:
        return Api.EMBEDDINGS
    if call.action == MEDIA:
        return api_of(call)
    by_wire = {Wire.RESPONSES: Api.RESPONSES, Wire.MESSAGES: Api.MESSAGES}
    return by_wire.get(call.wire, Api.CHAT)
