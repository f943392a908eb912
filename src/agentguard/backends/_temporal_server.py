"""Where Temporal is, and how an approval is begun there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from temporalio.common import WorkflowIDReusePolicy

from agentguard.backends._temporal_workflow import WORKFLOW, Begun
from agentguard.core import ApprovalError

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowHandle


class TemporalServer(msgspec.Struct, frozen=True):
    """A server by `host:port`, the namespace there and the queue between callers and workers."""

    address: str
    namespace: str
    task_queue: str


def workflow_id(project: str, approval_id: str) -> str:
    """Return the id of an approval's workflow, one in a namespace."""
    return f"agentguard/{project}/{approval_id}"


async def start_workflow(
    client: Client, server: TemporalServer, project: str, begun: Begun
) -> WorkflowHandle[Any, Any]:
    """Begin an approval's workflow.

    Raises:
        WorkflowAlreadyStartedError: it was begun before, whether it has ended or not.
        RPCError: Temporal cannot be reached.
    """
    return await client.start_workflow(
        WORKFLOW,
        begun,
        id=workflow_id(project, begun.approval.id),
        task_queue=server.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
    )


def unavailable(server: TemporalServer) -> ApprovalError:
    """Return the error for a server that does not answer."""
    return ApprovalError(
        f"Temporal at `{server.address}` cannot be reached",
        code="approvals_unavailable",
        hint="see that it runs and `approvals.temporal.address` is right",
    )
