"""The engine of approvals on Temporal, as callers and people use it; workers do the rest."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from agentguard.approvals import Follower, Rules, begin, check_patch, find_nobody, make_move, record_refusal
from agentguard.backends._temporal_server import dial, start_workflow, unavailable
from agentguard.backends._temporal_workflow import Answer, ApprovalWorkflow, Begun, Call
from agentguard.core import (
    Approval,
    ApprovalError,
    ApprovalFilter,
    Delegate,
    StoredApproval,
    SystemClock,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from temporalio.client import Client

    from agentguard.approvals import CheckEdit, FindPerson
    from agentguard.backends._temporal_server import TemporalServer
    from agentguard.core import ApprovalStore, AuditLog, Clock, Move, Person

# How long a move may take, a server that is started again included.
_PATIENCE_S = 15.0
_AGAIN_S = 0.2
_T = TypeVar("_T")
# What a server says that is about to be there again, or whose workers are.
_PASSING = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
)


class TemporalEngine:
    """An `ApprovalEngine` on Temporal: one workflow for each approval, moved by updates, worked on by `TemporalWorker`s.

    The workflow is what is true; `store` holds what it became, for whoever looks or waits, and the questions before
    their workflows begin. Nothing is asked of Temporal before the first move.
    """

    def __init__(
        self,
        store: ApprovalStore,
        *,
        server: TemporalServer,
        audit: AuditLog,
        rules: Rules | None = None,
        find_person: FindPerson | None = None,
        check_edit: CheckEdit | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._server = server
        self._audit = audit
        self._rules = rules or Rules()
        self._find_person = find_person or find_nobody
        self._check_edit = check_edit
        self._clock = clock or SystemClock()
        self._follower = Follower(store)
        self._closed = False
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None

    def open(self, approval: Approval) -> Approval:
        """Begin a pending approval; see `ApprovalEngine.open`."""
        self._check_open()
        kept = self._store.add(begin(approval, self._clock.now()))
        if kept.revision == 0:
            self._run(self._begin(kept))
        until = time.monotonic() + _PATIENCE_S
        while kept.recorded == 0:
            left = until - time.monotonic()
            if left <= 0:
                raise _idle()
            kept = self._follower.wait(kept.id, revision=kept.revision, timeout_s=left)
        return kept

    def apply(self, approval_id: str, move: Move) -> Approval:
        """Apply a move; see `ApprovalEngine.apply`."""
        self._check_open()
        before = self._store.get(approval_id)
        try:
            if before is None:
                raise _unknown(approval_id)
            check_patch(before, move, self._check_edit)
            return self._run(self._move(before, move))
        except ApprovalError as error:
            record_refusal(self._audit, approval_id, before, move, error)
            raise

    def wait(self, approval_id: str, *, revision: int = -1, timeout_s: float = 0.0) -> Approval:
        """Return the approval once it has changed; see `ApprovalEngine.wait`."""
        return self._follower.wait(approval_id, revision=revision, timeout_s=timeout_s)

    def find(
        self, wanted: ApprovalFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredApproval]:
        """Return approvals; see `ApprovalEngine.find`."""
        return self._store.read(wanted, after=after, limit=limit, newest=newest)

    def close(self) -> None:
        """Stop; see `ApprovalEngine.close`."""
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        self._follower.close()
        self._store.close()

    async def _begin(self, kept: Approval) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                client = await self._connected()
                await start_workflow(client, self._server, Begun(kept, self._rules))
            except WorkflowAlreadyStartedError:
                return
            except RPCError as error:
                await self._patience(error, until)
            else:
                return

    async def _move(self, before: Approval, move: Move) -> Approval:
        call = Call(move, self._rules, self._concerned(before, move))
        # The same move however often it is sent.
        update, until = secrets.token_hex(16), time.monotonic() + _PATIENCE_S
        while True:
            try:
                answer = await self._update(before.id, call, update, until)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    await self._patience(error, until)
                elif not await self._is_begun_anew(before.id):
                    return self._late(before.id, move)
            except WorkflowUpdateFailedError:
                # It ended meanwhile.
                return self._late(before.id, move)
            else:
                if answer.approval is None:
                    raise ApprovalError(answer.message, code=answer.code, hint=answer.hint)
                return answer.approval

    async def _update(self, approval_id: str, call: Call, update: str, until: float) -> Answer:
        client = await self._connected()
        handle = client.get_workflow_handle(self._server.workflow_id(approval_id))
        left = timedelta(seconds=max(until - time.monotonic(), 0.1))
        try:
            return await handle.execute_update(ApprovalWorkflow.apply, call, id=update, rpc_timeout=left)
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            raise _idle() from None

    async def _is_begun_anew(self, approval_id: str) -> bool:
        """Begin what its caller has kept and could not begin; tell whether it was that."""
        kept = self._store.get(approval_id)
        if kept is None or kept.revision > 0:
            return False
        await self._begin(kept)
        return True

    def _late(self, approval_id: str, move: Move) -> Approval:
        """Refuse a move on what has ended, as the workflow would have."""
        kept = self._store.get(approval_id)
        if kept is None:
            raise _unknown(approval_id)
        if not kept.has_work:
            make_move(kept, move, self._clock.now(), self._rules, self._find_person)
        raise ApprovalError(
            f"Temporal does not know `{approval_id}`",
            code="approvals_unavailable",
            hint="see that `approvals.temporal.namespace` is right",
        )

    def _concerned(self, approval: Approval, move: Move) -> dict[str, Person]:
        """Return the people whose accounts the move may depend on, as they are here and now."""
        names = {each.giver for each in (*approval.delegations, *self._rules.stand_ins)}
        if isinstance(move, Delegate):
            names.add(move.to)
        known = ((name, self._find_person(name)) for name in sorted(names))
        return {name: person for name, person in known if person is not None}

    async def _connected(self) -> Client:
        if self._client is None:
            try:
                self._client = await dial(self._server)
            except RuntimeError:
                # As a server answers that is not there yet.
                raise RPCError("cannot connect", RPCStatusCode.UNAVAILABLE, b"") from None
        return self._client

    async def _patience(self, error: RPCError, until: float) -> None:
        if error.status not in _PASSING or time.monotonic() + _AGAIN_S > until:
            raise unavailable(self._server) from None
        await asyncio.sleep(_AGAIN_S)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do something on the engine's own loop, which is started with the first."""
        with self._lock:
            if self._loop is None and not self._closed:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_turn, args=(self._loop,), name="agentguard-temporal", daemon=True
                ).start()
            loop = self._loop
        if loop is None:
            work.close()
            raise _closed()
        doing = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return doing.result(2 * _PATIENCE_S)
        except TimeoutError:
            doing.cancel()
            raise _idle() from None

    def _check_open(self) -> None:
        if self._closed:
            raise _closed()


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    for each in asyncio.all_tasks(loop):
        each.cancel()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _closed() -> ApprovalError:
    return ApprovalError("approvals are closed", code="approvals_closed")


def _idle() -> ApprovalError:
    return ApprovalError(
        "nobody works on approvals, so it is not known whether it was done",
        code="approvals_unavailable",
        hint="start `agentguard worker approvals`",
    )


def _unknown(approval_id: str) -> ApprovalError:
    return ApprovalError(
        f"there is no approval `{approval_id[:100]}`",
        code="approval_unknown",
        hint="see `agentguard approvals list`",
    )
