"""Relays an upstream's answer: whole or as a stream, its tool calls decided, its usage read on the side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import ExecutionError
from agentguard.enforcement import carry_out
from agentguard.gateway._dial import answer_headers
from agentguard.gateway._media import api_of, words_in
from agentguard.gateway._proposed import judge
from agentguard.gateway._quote import APIS
from agentguard.gateway._refusal import RefusalError
from agentguard.gateway._wire import SilentError, WireError
from agentguard.llm import API, MEDIA, Answer, AnswerStream, SseSplitter, UnreadableError, Wire
from agentguard.spend import Api, Report, StreamUsage, read_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.gateway._exchange import Caller, Exchange
    from agentguard.gateway._later import Part
    from agentguard.gateway._proposed import Tools
    from agentguard.gateway._reply import Reply
    from agentguard.gateway._seen import Seen
    from agentguard.llm import LlmCall

_EVENTS = "text/event-stream"
_MAX_ERROR_BYTES = 1024 * 1024
_OK, _REDIRECT, _CLIENT_ERROR, _NO_STATUS = 200, 300, 400, 600
# No token is so long on average: a provider that sends more than this for each has not kept to the limit.
_MOST_BYTES_A_TOKEN = 32
_SLACK_BYTES = 64 * 1024
_BYTES_A_TOKEN = 3
_MASKED = b"[key]"
_JSON = "application/json"
_MOST_SEEN = 128 * 1024


class Relay:
    """Hands the answer of one exchange on to the agent."""

    def __init__(
        self,
        exchange: Exchange,
        reply: Reply,
        *,
        call: LlmCall,
        caller: Caller,
        tools: Tools,
        seen: Seen,
        later: Part | None,
        max_bytes: int,
    ) -> None:
        self._exchange = exchange
        self._reply = reply
        self._call = call
        self._caller = caller
        self._tools = tools
        self._seen = seen
        self._later = later
        self._max_bytes = max_bytes
        self._key = exchange.upstream.key.encode()
        self._usage: StreamUsage | None = None
        self._report: Report | None = None

    async def run(self) -> None:
        """Relay the answer, and close the exchange.

        Raises:
            RefusalError: the agent must not get it, or not the rest of it.
        """
        response = self._exchange.response
        if not _OK <= response.status < _NO_STATUS:
            await self._exchange.close(succeeded=False, detail=f"status {response.status}")
            raise self._refusal("upstream_invalid", "it answered with a status that there is not")
        if response.status >= _CLIENT_ERROR:
            await self._error()
        elif not _OK <= response.status < _REDIRECT:
            await self._exchange.close(succeeded=False, is_free=True, detail=f"status {response.status}")
            raise self._refusal("upstream_redirect", "it sent the call elsewhere, which is not followed")
        elif response.content_type == _EVENTS and self._call.action == MEDIA and self._call.is_stream:
            await self._media()
        elif response.content_type == _EVENTS:
            await self._stream()
        else:
            await self._whole()

    async def give_up(self, detail: str) -> None:
        """Close the exchange of an answer that ends here: booked is what came so far, or what was reserved."""
        report, usage = self._report, self._usage
        if usage is not None:
            report = usage.so_far(-(-self._call.input_bytes // _BYTES_A_TOKEN))
        # A whole answer that the agent did not take was billed by the provider's own report.
        is_estimated = self._report is None
        await self._exchange.close(succeeded=False, report=report, is_estimated=is_estimated, detail=detail)

    async def _error(self) -> None:
        status = self._exchange.response.status
        await self._exchange.close(succeeded=False, is_free=True, detail=f"status {status}")
        body = await self._read(_MAX_ERROR_BYTES)
        await self._reply.whole(status, self._headers(), self._clean(body))

    async def _whole(self) -> None:
        content = await self._read(self._max_bytes)
        wire = self._call.wire
        try:
            if self._call.action in (MEDIA, API) and wire is Wire.NONE:
                report, content = await self._bare(content)
            else:
                report, content = self._plain(content) if wire is Wire.NONE else await self._answer(content)
        except UnreadableError as error:
            raise self._refusal("upstream_invalid", str(error)) from None
        self._report = report
        await self._reply.whole(self._exchange.response.status, self._headers(), self._clean(content))
        # After the answer: what was reserved for it stands until it is booked, whatever happens in between.
        self._exchange.end(succeeded=True, report=report)

    async def _bare(self, content: bytes) -> tuple[Report | None, bytes]:
        """Take in an answer that may be anything: JSON, text, images or sound."""
        response = self._exchange.response
        if self._later is not None:
            await self._later.after(response.status, content)
        words = words_in(response.content_type, content)
        edit = self._edit()
        if edit is not None:
            content = self._changed(content, edit, has_words=bool(words))
            words = words_in(response.content_type, content)
        await self._seen.answer(
            self._exchange.decision, self._caller.principal, self._caller.context.session, words
        )
        if self._call.action != MEDIA or response.content_type != _JSON:
            return None, content
        try:
            return read_report(api_of(self._call), msgspec.json.decode(content)), content
        except (ValueError, RecursionError):
            raise UnreadableError("the answer is no JSON") from None

    def _changed(self, content: bytes, edit: Callable[[Any], Any], *, has_words: bool) -> bytes:
        """Return JSON or a text as the decision wants it."""
        if not has_words:
            raise UnreadableError("it has no text, and the decision is to change what is in it")
        if self._exchange.response.content_type != _JSON:
            return str(edit(content.decode())).encode()
        try:
            return msgspec.json.encode(edit(msgspec.json.decode(content)))
        except (ValueError, RecursionError):
            raise UnreadableError("the answer is no JSON") from None

    async def _media(self) -> None:
        """Pass a stream of images or sound on, event by event."""
        if self._edit() is not None:
            raise self._refusal("upstream_invalid", "it streams what the decision is to change")
        events, report, size, seen = SseSplitter(self._max_bytes), None, 0, bytearray()
        await self._reply.begin(self._exchange.response.status, self._headers())
        while chunk := await self._piece():
            size += len(chunk)
            if size > self._max_bytes:
                raise self._refusal("stream_overrun", "the stream is longer than the call allows, and is cut")
            seen += chunk[: max(_MOST_SEEN - len(seen), 0)]
            for event in events.feed(chunk):
                report = _report_in(api_of(self._call), event.data) or report
            await self._reply.piece(self._clean(chunk))
        await self._seen.answer(
            self._exchange.decision, self._caller.principal, self._caller.context.session,
            words_in(_EVENTS, bytes(seen)),
        )  # fmt: skip
        await self._reply.end()
        self._exchange.end(succeeded=True, report=report)

    def _plain(self, content: bytes) -> tuple[Report | None, bytes]:
        """Read an answer that proposes no tool calls."""
        try:
            body = msgspec.json.decode(content)
        except (ValueError, RecursionError):
            raise UnreadableError("the answer is no JSON") from None
        masked = self._edited(body)
        return read_report(Api.EMBEDDINGS, body), content if masked is body else msgspec.json.encode(masked)

    async def _answer(self, content: bytes) -> tuple[Report | None, bytes]:
        answer = Answer(self._call.wire, content)
        report = read_report(APIS[self._call.wire], answer.body)
        edit = self._edit()
        if edit is not None:
            answer.edit(edit)
        if answer.tools:
            answer.decide(await self._judge(answer.tools))
        await self._seen.answer(
            self._exchange.decision, self._caller.principal, self._caller.context.session, answer.texts()
        )
        return report, answer.content()

    async def _stream(self) -> None:
        wire = self._call.wire
        if wire is Wire.NONE:
            raise self._refusal("upstream_invalid", "it answered with a stream that nobody asked for")
        usage = self._usage = StreamUsage(APIS[wire])
        stream = AnswerStream(
            wire, edit=self._edit(), on_event=usage.feed, drop_usage=self._exchange.adds_usage
        )
        await self._reply.begin(self._exchange.response.status, self._headers())
        try:
            await self._pump(stream, usage)
        except UnreadableError as error:
            await self._see(stream)
            raise self._refusal("upstream_invalid", str(error)) from None
        await self._see(stream)
        report = usage.report
        await self._reply.end()
        if report is None:
            self._exchange.end(
                succeeded=True,
                report=usage.so_far(-(-self._call.input_bytes // _BYTES_A_TOKEN)),
                is_estimated=True,
                detail="the provider reported no usage",
            )
        else:
            self._exchange.end(succeeded=True, report=report)

    async def _pump(self, stream: AnswerStream, usage: StreamUsage) -> None:
        limit, size = self._most_bytes(), 0
        while chunk := await self._piece():
            size += len(chunk)
            if size > self._max_bytes or usage.output_bytes > limit:
                await self._see(stream)
                raise self._refusal("stream_overrun", "the stream is longer than the call allows, and is cut")
            out = stream.feed(chunk)
            while stream.pending:
                out += stream.decide(await self._judge(stream.pending))
            if out:
                await self._reply.piece(self._clean(out))
        out = stream.finish()
        while stream.pending:
            out += stream.decide(await self._judge(stream.pending))
            out += stream.finish()
        if out:
            await self._reply.piece(self._clean(out))

    async def _see(self, stream: AnswerStream) -> None:
        await self._seen.answer(
            self._exchange.decision, self._caller.principal, self._caller.context.session, stream.texts()
        )

    async def _read(self, limit: int) -> bytes:
        parts, size = [], 0
        while chunk := await self._piece():
            size += len(chunk)
            if size > limit:
                raise self._refusal("answer_too_large", f"the answer is longer than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    async def _piece(self) -> bytes:
        """Return the bytes of the answer that have come since; nothing at its end.

        Raises:
            RefusalError: the upstream broke off, or fell silent.
        """
        try:
            return await self._exchange.response.read()
        except SilentError:
            raise self._refusal("upstream_slow", "it fell silent", status=504) from None
        except WireError as error:
            raise self._refusal("upstream_broken", f"it broke off: {error}") from None

    async def _judge(self, calls: Any) -> Any:
        return await judge(
            self._exchange.desk, self._tools, self._caller.principal, self._caller.context, calls
        )

    def _headers(self) -> list[tuple[bytes, bytes]]:
        more = [(b"x-agentguard-decision", self._exchange.decision.audit_id.encode())]
        if self._exchange.changed:
            more.append(
                (b"x-agentguard-changed", ", ".join(self._exchange.changed).encode("ascii", "replace"))
            )
        return answer_headers(self._exchange.response, self._key, more)

    def _clean(self, content: bytes) -> bytes:
        return content.replace(self._key, _MASKED) if self._key in content else content

    def _edit(self) -> Callable[[str], str] | None:
        decision = self._exchange.decision
        if not any(each.name in ("mask_output", "max_bytes") for each in decision.obligations):
            return None
        return self._edited

    def _edited(self, value: Any) -> Any:
        try:
            return carry_out(self._exchange.decision, value)
        except ExecutionError as error:
            raise RefusalError(
                502,
                error.code,
                f"the answer cannot be passed on: {error.message}",
                decision_id=self._exchange.decision.audit_id,
            ) from None

    def _most_bytes(self) -> int:
        admission = self._exchange.admission
        limit = (
            admission.max_output_tokens or admission.call.max_output_tokens if admission is not None else None
        )
        if admission is None or limit is None:
            return self._max_bytes
        return limit * admission.call.choices * _MOST_BYTES_A_TOKEN + _SLACK_BYTES

    def _refusal(self, code: str, reason: str, *, status: int = 502) -> RefusalError:
        exchange = self._exchange
        return RefusalError(
            status,
            code,
            f"upstream `{exchange.upstream.name}`: {reason}",
            decision_id=exchange.decision.audit_id,
        )


def _report_in(api: Api, data: bytes) -> Report | None:
    if b'"usage"' not in data:
        return None
    try:
        return read_report(api, msgspec.json.decode(data))
    except (ValueError, RecursionError):
        return None
