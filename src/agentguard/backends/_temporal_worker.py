"""The worker of approvals on Temporal: runs their workflows, puts them on record, tells people, keeps them in the store."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio import activity
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from agentguard.approvals import record_steps, tell_steps
from agentguard.backends._temporal_server import dial, start_workflow, unavailable
from agentguard.backends._temporal_workflow import (
    ESCALATE,
    KEEP,
    NOTIFY,
    RECORD,
    ApprovalWorkflow,
    Begun,
)
from agentguard.core import AgentGuardError, Approval, ApprovalError, ApprovalFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from temporalio.client import Client

    from agentguard.approvals import Rules
    from agentguard.backends._temporal_server import TemporalServer
    from agentguard.core import ApprovalStore, AuditLog, EventBus, Notifier

_LOG = logging.getLogger("agentguard.approvals")
_RACES = 100
_THREADS = 16
# How soon an approval is begun whose caller died between the store and Temporal.
_SWEEP_S = 5.0
_STOP_S = 0.05
_BATCH = 500


class TemporalWorker:
    """Works on a project's approvals until it is stopped. Any number of workers may run; each does a share."""

    def __init__(
        self,
        store: ApprovalStore,
        *,
        server: TemporalServer,
        audit: AuditLog,
        rules: Rules,
        bus: EventBus | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        self._store = store
        self._server = server
        self._rules = rules
        self._stopping = threading.Event()
        self._doing = _Activities(store, audit, bus, notifier)

    def run(self, *, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop` is called, then finish what is in progress. `on_ready` is called once it works.

        Raises:
            ApprovalError: Temporal cannot be reached, or does not know the namespace (`approvals_unavailable`).
        """
        asyncio.run(self._work(on_ready))

    def stop(self) -> None:
        """Let `run` come to its end. Safe to call from any thread, and from a signal handler."""
        self._stopping.set()

    async def _work(self, on_ready: Callable[[], None]) -> None:
        client = await connect(self._server)
        with ThreadPoolExecutor(_THREADS, "agentguard-activity") as executor:
            worker = Worker(
                client,
                task_queue=self._server.queue,
                workflows=[ApprovalWorkflow],
                activities=self._doing.all(),
                activity_executor=executor,
                workflow_runner=SandboxedWorkflowRunner(
                    restrictions=SandboxRestrictions.default.with_passthrough_modules("agentguard", "msgspec")
                ),
                # What a dead worker had cached soon goes to another.
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
                graceful_shutdown_timeout=timedelta(seconds=10),
            )
            async with worker:
                on_ready()
                await self._sweep_until_stopped(client)

    async def _sweep_until_stopped(self, client: Client) -> None:
        due = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + _SWEEP_S
                try:
                    await self._sweep(client)
                except (AgentGuardError, RPCError) as error:
                    _LOG.error("approvals that wait to be begun are not looked at: %s", error)
            await asyncio.sleep(_STOP_S)

    async def _sweep(self, client: Client) -> None:
        after = 0
        wanted = ApprovalFilter(has_work=True)
        while found := await asyncio.to_thread(self._store.read, wanted, after=after, limit=_BATCH):
            after = found[-1].seq
            for each in found:
                if each.approval.revision == 0:
                    try:
                        begun = Begun(each.approval, self._rules)
                        await start_workflow(client, self._server, begun)
                    except WorkflowAlreadyStartedError:
                        continue


async def connect(server: TemporalServer) -> Client:
    """Return a client of a server that answers and knows the namespace.

    Raises:
        ApprovalError: it does not (`approvals_unavailable`).
    """
    try:
        client = await dial(server)
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=server.namespace))
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ApprovalError(
                f"Temporal at `{server.address}` has no namespace `{server.namespace}`",
                code="approvals_unavailable",
                hint=f"temporal operator namespace create --namespace {server.namespace}",
            ) from None
        raise unavailable(server) from None
    except RuntimeError:
        raise unavailable(server) from None
    return client


def is_worked_on(server: TemporalServer) -> bool:
    """Tell whether a worker has asked for work lately.

    Raises:
        ApprovalError: Temporal cannot be reached, or does not know the namespace (`approvals_unavailable`).
    """
    return asyncio.run(_is_worked_on(server))


async def _is_worked_on(server: TemporalServer) -> bool:
    client = await connect(server)
    about = DescribeTaskQueueRequest(
        namespace=server.namespace,
        task_queue=TaskQueue(name=server.queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        found = await client.workflow_service.describe_task_queue(about)
    except RPCError:
        raise unavailable(server) from None
    return bool(found.pollers)


class _Activities:
    """What workflows have done in the world. Each may be done twice, and says which step of which approval it is."""

    def __init__(
        self, store: ApprovalStore, audit: AuditLog, bus: EventBus | None, notifier: Notifier | None
    ) -> None:
        self._store = store
        self._audit = audit
        self._bus = bus
        self._notifier = notifier

    def all(self) -> list[Callable[[Approval], int]]:
        return [self.record, self.notify, self.escalate, self.keep]

    @activity.defn(name=RECORD)
    def record(self, approval: Approval) -> int:
        """Put steps into the audit log; return how many are there."""
        return _tried(lambda: record_steps(approval, self._audit))

    @activity.defn(name=NOTIFY)
    def notify(self, approval: Approval) -> int:
        """Tell people of the last step; return how many steps were told."""
        return self._tell(approval)

    @activity.defn(name=ESCALATE)
    def escalate(self, approval: Approval) -> int:
        """Ask those to whom the last step went; return how many steps were told."""
        return self._tell(approval)

    @activity.defn(name=KEEP)
    def keep(self, approval: Approval) -> int:
        """Keep an approval in the store, unless a later revision of it is there; return the revision there."""
        return _tried(lambda: self._keep(approval))

    def _tell(self, approval: Approval) -> int:
        told = tell_steps(approval, self._bus, self._notifier)
        if told < len(approval.steps):
            raise ApplicationError("it could not be told", type="notice_not_taken")
        return told

    def _keep(self, approval: Approval) -> int:
        for _ in range(_RACES):
            kept = self._store.get(approval.id)
            if kept is None:
                # The store is new: what was asked still counts.
                added = self._store.add(approval)
                if added.id == approval.id:
                    return approval.revision
                raise ApprovalError("the same is pending in the store already")
            if kept.revision >= approval.revision:
                return kept.revision
            if self._store.swap(approval, revision=kept.revision):
                return approval.revision
        raise ApprovalError("too many others change it", code="approvals_unavailable")


def _tried(work: Callable[[], int]) -> int:
    try:
        return work()
    except AgentGuardError as error:
        # Temporal tries again; its history says why.
        raise ApplicationError(error.message, type=error.code) from None
