"""One approval as a Temporal workflow: the same moves and timers as in the embedded engine, replayed from its history.

The workflow is what is true. What it became is kept in the project's store by an activity, where it can be found and
waited for; it is put on record and told by others. All of it may be done twice after a crash, and says which step it is.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RetryPolicy
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
)

from agentguard.approvals import Rules, advance, make_move, next_due
from agentguard.core import Approval, ApprovalError, MarkUnknown, Move, Person, StepKind

WORKFLOW = "agentguard.approval"
RECORD, NOTIFY, ESCALATE, KEEP = "record", "notify", "escalate", "keep"
# What the worker did not answer in this time is given to another one.
_ACTIVITY_S = 10.0
_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))


class Begun(msgspec.Struct, frozen=True):
    """What a workflow starts with: an approval that waits, and the rules for its timers."""

    approval: Approval
    rules: Rules


class Call(msgspec.Struct, frozen=True):
    """A move, with the rules at this time and the people whom it may concern."""

    move: Move
    rules: Rules
    people: dict[str, Person] = {}


class Answer(msgspec.Struct, frozen=True):
    """What a move made of the approval, or why it was refused."""

    approval: Approval | None = None
    code: str = ""
    message: str = ""
    hint: str | None = None


class _MsgspecConverter(EncodingPayloadConverter):
    """Structs as JSON, which Temporal's own pages show."""

    @property
    def encoding(self) -> str:
        return "json/plain"

    def to_payload(self, value: Any) -> Payload | None:
        return Payload(metadata={"encoding": b"json/plain"}, data=msgspec.json.encode(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return msgspec.json.decode(payload.data, type=Any if type_hint is None else type_hint)


class _Converter(CompositePayloadConverter):
    def __init__(self) -> None:
        known = DefaultPayloadConverter.default_encoding_payload_converters
        kept = [each for each in known if each.encoding != "json/plain"]
        super().__init__(*kept, _MsgspecConverter())


CONVERTER = DataConverter(payload_converter_class=_Converter)


@workflow.defn(name=WORKFLOW)
class ApprovalWorkflow:
    """Runs one approval until nothing can come of it any more."""

    @workflow.init
    def __init__(self, begun: Begun) -> None:
        self._approval = begun.approval
        self._rules = begun.rules
        # The revision that is in the store.
        self._kept = -1

    @workflow.run
    async def run(self, begun: Begun) -> None:
        """Do what time does, and put on record, tell and keep what happened."""
        del begun
        telling = asyncio.create_task(self._tell())
        while not self._is_over():
            self._let_time_pass()
            if self._is_behind():
                await self._catch_up()
            elif workflow.info().is_continue_as_new_suggested() and self._is_quiet():
                telling.cancel()
                workflow.continue_as_new(Begun(self._approval, self._rules))
            else:
                await self._wait()
        telling.cancel()
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    async def apply(self, call: Call) -> Answer:
        """Apply a move. What it made, or what it was refused for, is on record and in the store when this answers."""
        at = max(workflow.now(), self._approval.steps[-1].at)
        timely = advance(self._approval, at)
        refusal: Answer | None = None
        try:
            self._set(make_move(timely, call.move, at, call.rules, call.people.get))
        except ApprovalError as error:
            self._set(timely)
            refusal = Answer(None, error.code, error.message, error.hint)
        seen = self._approval
        await workflow.wait_condition(
            lambda: self._approval.recorded >= len(seen.steps) and self._kept >= seen.revision
        )
        return refusal or Answer(self._approval)

    def _set(self, approval: Approval) -> None:
        if approval is not self._approval:
            self._approval = replace(approval, revision=self._approval.revision + 1)

    def _let_time_pass(self) -> None:
        approval, now = self._approval, workflow.now()
        at = max(now, approval.steps[-1].at)
        after = advance(approval, at)
        due = next_due(after, self._rules)
        if after.is_effect_unknown and due is not None and due <= now:
            after = make_move(after, MarkUnknown(), at, self._rules)
        self._set(after)

    def _is_behind(self) -> bool:
        return self._approval.recorded < len(self._approval.steps) or self._kept < self._approval.revision

    def _is_quiet(self) -> bool:
        return self._approval.noticed >= len(self._approval.steps) and workflow.all_handlers_finished()

    def _is_over(self) -> bool:
        approval = self._approval
        can_change = approval.state.is_open or approval.is_effect_unknown or approval.awaits_review
        return not can_change and not self._is_behind() and approval.noticed >= len(approval.steps)

    async def _wait(self) -> None:
        due = next_due(self._approval, self._rules)
        left = None if due is None else max(due - workflow.now(), timedelta(milliseconds=1))
        seen = self._approval
        try:
            await workflow.wait_condition(lambda: self._approval is not seen, timeout=left)
        except TimeoutError:
            return

    async def _catch_up(self) -> None:
        """Put on record what is not, then keep it: nobody is told of what is not on record."""
        approval = self._approval
        if approval.recorded < len(approval.steps):
            recorded = await _do(RECORD, approval)
            self._set(replace(self._approval, recorded=recorded))
        approval = self._approval
        await _do(KEEP, approval)
        self._kept = max(self._kept, approval.revision)

    async def _tell(self) -> None:
        """Tell people step by step; however long that takes, the approval goes on."""
        while True:
            await workflow.wait_condition(lambda: self._approval.noticed < self._approval.recorded)
            approval = self._approval
            number = approval.noticed
            step = approval.steps[number]
            how = ESCALATE if step.kind is StepKind.ESCALATED else NOTIFY
            await _do(how, replace(approval, steps=approval.steps[: number + 1]))
            self._set(replace(self._approval, noticed=number + 1))


async def _do(activity: str, approval: Approval) -> int:
    done: int = await workflow.execute_activity(
        activity,
        approval,
        result_type=int,
        start_to_close_timeout=timedelta(seconds=_ACTIVITY_S),
        retry_policy=_RETRY,
    )
    return done
