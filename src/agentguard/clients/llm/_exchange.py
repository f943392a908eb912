"""One HTTP exchange with a provider: decided before it is sent, looked into before the caller has its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from agentguard.clients._reply import is_same_action
from agentguard.clients.llm._media import read_media, words_in, written_form
from agentguard.clients.llm._proposed import ToolDeniedError, judge
from agentguard.clients.llm._refusal import (
    FORBIDDEN,
    Refusal,
    refuse_decision,
    refuse_spending,
    response_of,
)
from agentguard.clients.llm._seen import Seen
from agentguard.clients.llm._spending import Meter, reserve
from agentguard.clients.llm._steps import check
from agentguard.core import AgentGuardError, Effect
from agentguard.enforcement import carry_out
from agentguard.llm import (
    HOSTED_TOOL,
    MEDIA,
    Answer,
    AnswerStream,
    LlmCall,
    RewriteError,
    StreamMode,
    UnreadableError,
    Wire,
    read_call,
    resource_of,
    rewrite,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.clients.llm._guard import LlmGuard
    from agentguard.clients.llm._steps import Steps
    from agentguard.core import Decision
    from agentguard.llm import ToolCall, Verdict

_OK = range(200, 300)
# Each budget of a call may ask, at each of its thresholds.
_MOST_QUESTIONS = 20
_EVENTS = "text/event-stream"
_ON_TEXTS = frozenset(("mask_output", "max_bytes"))
_UNCHANGEABLE = "the decision is to change what is in an answer of images or sound"
_SIGNED = ("x-amz-date", "x-amz-content-sha256")


class RefusedError(Exception):
    """The caller gets a refusal in place of an answer; never leaves this sub-package."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass
class Sent:
    """A call that was let through: the request as it goes out, and what has to be done about its answer."""

    request: Any
    call: LlmCall
    decision: Decision
    meter: Meter | None
    drops_usage: bool = False

    @property
    def needs_reading(self) -> bool:
        """Whether an answer that nobody has to look into is read all the same, to be held to its decision."""
        return self.call.action == MEDIA and self.edit is not None

    @property
    def edit(self) -> Callable[[str], str] | None:
        """What the decision wants done to the texts of the answer."""
        if not any(each.name in _ON_TEXTS for each in self.decision.obligations):
            return None
        return lambda text: str(carry_out(self.decision, text))


class Exchanges:
    """The exchanges of one guarded client; `sdk` is the package it is of. Safe to use from many threads."""

    def __init__(self, guard: LlmGuard, sdk: str) -> None:
        self.guard, self.sdk = guard, sdk
        self.is_anthropic = sdk == "anthropic"
        self._seen = Seen(guard)

    def refused(self, refusal: Refusal, request: Any) -> Any:
        """Return the response that says a refusal."""
        return response_of(refusal, request, is_anthropic=self.is_anthropic)

    def before(self, request: Any) -> Steps[Sent]:
        """Return the request as it may be sent.

        Raises:
            RefusedError: it may not.
        """
        call, files = self._read(request)
        self._seen.before(call)
        decision = yield from self._ask(call.action, call.resource, call.params)
        for tool in call.hosted:
            params = {"tool": tool.kind, "model": call.model}
            if tool.server:
                params["server"] = tool.server
            yield from self._ask(HOSTED_TOOL, resource_of(call.provider, f"hosted-tools/{tool.kind}"), params)
        changed = (yield from self._decided(call, decision)) if decision.effect is Effect.TRANSFORM else call
        meter = reserve(self.guard, changed, files)
        if meter is not None and meter.admission.question is not None:
            meter = yield from self._asked_people(changed, files, meter, decision)
        if meter is not None:
            changed = yield from self._admitted(changed, meter, decision)
        body, drops_usage = changed.body, False
        if meter is not None and changed.wire is Wire.CHAT and changed.is_stream and body is not None:
            options = body.get("stream_options")
            if type(options) is not dict or not options.get("include_usage"):
                body = {**body, "stream_options": {**(options or {}), "include_usage": True}}
                drops_usage = True
        try:
            final = request if body is call.body else self._rebuilt(request, call, changed, body)
        except RewriteError as error:
            self._give_back(meter)
            raise self._stopped(decision, str(error)) from None
        return Sent(final, changed, decision, meter, drops_usage)

    def failed(self, sent: Sent, error: BaseException) -> None:
        """Take in that no answer came. What the provider did of the call is not known, so it is booked."""
        if sent.meter is not None:
            sent.meter.settle(None)
        self.guard.session.report(sent.decision, "failed", type(error).__name__)

    def abandoned(self, sent: Sent) -> None:
        """Take in that a call is not sent after all."""
        self._give_back(sent.meter)
        self.guard.session.report(sent.decision, "refused", "the caller went away")

    def error_status(self, sent: Sent, status: int) -> None:
        """Take in that the provider answered an error, for which it does not charge."""
        self._give_back(sent.meter)
        self.guard.session.report(sent.decision, "failed", f"status {status}")

    def whole(self, sent: Sent, response: Any) -> Steps[Any]:
        """Return what the caller gets of a whole answer, which was read."""
        call = sent.call
        if call.wire is Wire.NONE:
            return self._unread(sent, response)
        try:
            answer = Answer(call.wire, response.content)
            answer.decide((yield from self.judge(answer.tools)))
            if sent.edit is not None:
                answer.edit(sent.edit)
        except GeneratorExit:
            # The caller went away while people were asked about a tool call: the answer was made, and costs.
            self._end(sent, [], _json(response.content))
            raise
        except (UnreadableError, ToolDeniedError, AgentGuardError) as error:
            self._end(sent, [], _json(response.content))
            return self.refused(_refusal_of(error, sent.decision), sent.request)
        self._end(sent, answer.texts(), answer.body)
        return rebuilt(response, answer.content()) if answer.is_changed else response

    def _unread(self, sent: Sent, response: Any) -> Any:
        """Book and report an answer in which nobody looks for tool calls."""
        body = _json(response.content) if sent.meter is not None else None
        if sent.meter is not None:
            sent.meter.settle(body)
        if sent.call.action == MEDIA:
            words = words_in(response)
            if words is not None:
                self.guard.session.observe(sent.decision, words)
            if sent.edit is not None:
                self.guard.session.report(sent.decision, "refused", _UNCHANGEABLE)
                return self.refused(unreadable(sent.decision, _UNCHANGEABLE), sent.request)
        elif sent.call.is_seen:
            self.guard.session.observe(sent.decision, response.text)
        self.guard.session.report(sent.decision, "succeeded")
        return response

    def stream(self, sent: Sent) -> AnswerStream:
        """Return what an answer goes through that comes as events."""
        guard = self.guard
        windows = {StreamMode.TAP: 0, StreamMode.WINDOW: guard.window, StreamMode.BUFFER: None}
        watch = sent.meter.watch() if sent.meter is not None else None
        return AnswerStream(
            sent.call.wire,
            window=windows[guard.mode],
            edit=sent.edit,
            on_event=watch.feed if watch is not None else None,
            drop_usage=sent.drops_usage,
        )

    def judge(self, calls: list[ToolCall]) -> Steps[list[Verdict]]:
        """Return what becomes of proposed tool calls.

        Raises:
            ToolDeniedError: one is denied, and the caller wants that raised.
        """
        return judge(self.guard, calls)

    def stream_ended(self, sent: Sent, texts: list[str], *, failure: str = "") -> None:
        """Take in that a stream has ended, or was cut."""
        if sent.meter is not None:
            sent.meter.settle_stream()
        self._seen.after(sent.call, sent.decision, texts)
        self.guard.session.report(sent.decision, "failed" if failure else "succeeded", failure)

    def _read(self, request: Any) -> tuple[LlmCall, list[int]]:
        """Return what a request asks for, and the sizes of the files that it brings for it."""
        url = request.url
        host = url.host
        path = url.path
        try:
            content = request.content
        except Exception:  # noqa: BLE001 - httpx and httpx2 raise classes of their own for a body that streams
            content = None
        provider = self.guard.hosts.get(host.lower(), "")
        # A JSON object is read as one whatever the headers say: the provider may do the same.
        path = unquote(path) if "%" in path else path
        call = read_call(request.method, host, path, content, is_json=True, provider=provider)
        return read_media(request, call, path, provider) if call.action == MEDIA else (call, [])

    def _ask(self, action: str, resource: str, params: dict[str, Any]) -> Steps[Decision]:
        decision = yield from check(self.guard.session, action, resource, params)
        if decision.effect not in (Effect.ALLOW, Effect.TRANSFORM):
            raise RefusedError(refuse_decision(decision))
        if not is_same_action(action, decision.action) or decision.resource != resource:
            raise self._stopped(decision, "the decision changes what is asked for, or of whom")
        if action == HOSTED_TOOL and decision.effect is Effect.TRANSFORM and decision.params != params:
            raise self._stopped(decision, "a tool that the provider runs cannot be rewritten")
        return decision

    def _decided(self, call: LlmCall, decision: Decision) -> Steps[LlmCall]:
        """Return the call as the decision rewrote it."""
        try:
            body = rewrite(call, decision.params)
        except RewriteError as error:
            raise self._stopped(decision, str(error)) from None
        if body == call.body or call.body is None:
            return call
        model = str(decision.params.get("model", call.model))
        changed = _with_body(call, body, model, decision.params)
        if model != call.model:
            yield from self._ask(call.action, changed.resource, changed.params)
        return changed

    def _asked_people(
        self, call: LlmCall, files: list[int], meter: Meter, decision: Decision
    ) -> Steps[Meter | None]:
        """Return what the budgets say once people have said where they ask; nothing is reserved meanwhile."""
        budgets, session = self.guard.budgets, self.guard.session
        assert budgets is not None
        try:
            for _ in range(_MOST_QUESTIONS):
                question = meter.admission.question
                if question is None:
                    break
                answer, has_waited = session.ask_spending(question, decision.audit_id), False
                while answer.is_pending and (yield replace(decision, approval=answer.approval)):
                    has_waited = True
                    answer = session.ask_spending(question, decision.audit_id)
                if answer.given_at is None:
                    return Meter(self.guard, call, budgets.turn_down(meter.admission, answer))
                if has_waited:
                    self._check_still(call, decision)
                budgets.grant(question, answer.given_at)
                again = reserve(self.guard, call, files)
                assert again is not None
                meter = again
        except GeneratorExit:
            session.report(decision, "refused", "the caller went away")
            raise
        return meter

    def _check_still(self, call: LlmCall, decision: Decision) -> None:
        """Pass where the policy that let a call through is in force, or lets just the same through."""
        step = {"action": call.action, "resource": call.resource, "params": call.params}
        now = self.guard.session.check_plan([step])[0]
        lets = now.effect in (Effect.ALLOW, Effect.TRANSFORM) and now.params == decision.params
        if now.policy_version != decision.policy_version and not lets:
            raise self._stopped(decision, f"the policy changed while people were asked: {now.reason}")

    def _admitted(self, call: LlmCall, meter: Meter, decision: Decision) -> Steps[LlmCall]:
        """Return the call as the budgets let it pass."""
        admission = meter.admission
        if not admission.is_admitted:
            self.guard.session.report(decision, "refused", admission.code)
            raise RefusedError(refuse_spending(admission, decision))
        params = dict(call.params)
        if admission.max_output_tokens is not None:
            params["max_output_tokens"] = admission.max_output_tokens
        if admission.model.lower() != call.model.lower():
            params["model"] = admission.model
        if params == call.params:
            return call
        try:
            body = rewrite(call, params)
            changed = _with_body(call, body, params["model"], params)
            if changed.model != call.model:
                yield from self._ask(call.action, changed.resource, params)
        except GeneratorExit:
            self._give_back(meter)
            raise
        except (RewriteError, RefusedError) as error:
            self._give_back(meter)
            if isinstance(error, RefusedError):
                raise
            raise self._stopped(decision, str(error)) from None
        return changed

    def _rebuilt(self, request: Any, call: LlmCall, changed: LlmCall, body: Any) -> Any:
        """Return the request with another body; of Azure's addresses the model's part as well."""
        if any(name in request.headers for name in _SIGNED):
            raise RewriteError("the request is signed, so that it cannot be changed")
        form = written_form(request, body)
        kind, content = (None, msgspec.json.encode(body)) if form is None else form
        headers = [
            (name, kind if kind is not None and name == "content-type" else value)
            for name, value in request.headers.multi_items()
            if name != "content-length"
        ]
        url = request.url
        if changed.model != call.model and "/deployments/" in url.path:
            old, new = f"/deployments/{call.model}/", f"/deployments/{changed.model}/"
            if old not in url.path:
                raise RewriteError("the decision changes the model, which the address names otherwise")
            url = url.copy_with(path=url.path.replace(old, new))
        return type(request)(
            request.method,
            url,
            headers=headers,
            content=content,
            extensions=request.extensions,
        )

    def _stopped(self, decision: Decision, reason: str) -> RefusedError:
        self.guard.session.report(decision, "refused", reason)
        return RefusedError(Refusal(FORBIDDEN, "action_denied", reason, decision.audit_id, decision.rule))

    def _end(self, sent: Sent, texts: list[str], body: dict[str, Any] | None) -> None:
        if sent.meter is not None:
            sent.meter.settle(body)
        self._seen.after(sent.call, sent.decision, texts)
        self.guard.session.report(sent.decision, "succeeded")

    def _give_back(self, meter: Meter | None) -> None:
        if meter is not None:
            meter.release()


def looks_like(response: Any, call: LlmCall) -> str:
    """Return what an answer is: `events`, `json`, `unreadable`, or `other` where nobody looks into it."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if call.wire is Wire.NONE:
        return "other"
    if kind == _EVENTS:
        return "events"
    return "json" if kind in ("application/json", "") or kind.endswith("+json") else "unreadable"


def is_ok(response: Any) -> bool:
    """Tell whether the provider answered what was asked for."""
    return response.status_code in _OK


def unreadable(decision: Decision, reason: str = "the answer cannot be read") -> Refusal:
    """Return the refusal for an answer in which nobody can look for tool calls."""
    return Refusal(502, code="answer_unreadable", reason=reason, decision_id=decision.audit_id)


def rebuilt(response: Any, content: bytes) -> Any:
    """Return a response with another content."""
    changed = type(response)(
        response.status_code,
        headers=plain_headers(response),
        content=content,
        request=response.request,
        extensions=response.extensions,
        history=response.history,
    )
    changed.elapsed = response.elapsed
    return changed


def plain_headers(response: Any) -> list[tuple[str, str]]:
    """Return the headers without those that are about the bytes as they came."""
    return [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
    ]


def _refusal_of(error: Exception, decision: Decision) -> Refusal:
    if isinstance(error, ToolDeniedError):
        return error.refusal
    if isinstance(error, UnreadableError):
        return unreadable(decision, str(error))
    reason = error.message if isinstance(error, AgentGuardError) else "the answer could not be handled"
    return Refusal(FORBIDDEN, "action_denied", reason, decision.audit_id, decision.rule)


def _with_body(call: LlmCall, body: dict[str, Any], model: str, params: dict[str, Any]) -> LlmCall:
    return msgspec.structs.replace(
        call,
        body=body,
        model=model,
        params=dict(params),
        resource=call.resource if model == call.model else resource_of(call.provider, model),
    )


def _json(content: bytes) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(content)
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict else None
