"""Where Temporal is, and how an approval is begun there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import TLSConfig

from agentguard.backends._temporal_workflow import CONVERTER, WORKFLOW, Begun
from agentguard.core import ApprovalError

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle


class TemporalTls(msgspec.Struct, frozen=True):
    """TLS to a server, all in PEM: whom to trust, the name it has there, and who we are in mutual TLS."""

    ca: bytes | None = None
    server_name: str | None = None
    cert: bytes | None = None
    key: bytes | None = None

    def __repr__(self) -> str:
        # The key is a secret.
        return f"TemporalTls(server_name={self.server_name!r})"


class TemporalServer(msgspec.Struct, frozen=True):
    """A server by `host:port`, the namespace there, the queue between callers and workers, and whose approvals."""

    address: str
    namespace: str
    task_queue: str
    project: str
    tls: TemporalTls | None = None

    @property
    def queue(self) -> str:
        """The project's own queue: another project's workers have another log and store."""
        return f"{self.task_queue}/{self.project}"

    def workflow_id(self, approval_id: str) -> str:
        """Return the id of an approval's workflow, one in a namespace."""
        return f"agentguard/{self.project}/{approval_id}"


async def dial(server: TemporalServer) -> Client:
    """Connect to a server.

    Raises:
        RPCError: it does not answer.
        RuntimeError: it is not there, or its certificate or ours is not accepted.
    """
    tls = server.tls
    return await Client.connect(
        server.address,
        namespace=server.namespace,
        data_converter=CONVERTER,
        tls=False
        if tls is None
        else TLSConfig(
            server_root_ca_cert=tls.ca,
            domain=tls.server_name,
            client_cert=tls.cert,
            client_private_key=tls.key,
        ),
    )


async def start_workflow(client: Client, server: TemporalServer, begun: Begun) -> WorkflowHandle[Any, Any]:
    """Begin an approval's workflow.

    Raises:
        WorkflowAlreadyStartedError: it was begun before, whether it has ended or not.
        RPCError: Temporal cannot be reached.
    """
    return await client.start_workflow(
        WORKFLOW,
        begun,
        id=server.workflow_id(begun.approval.id),
        task_queue=server.queue,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
    )


def unavailable(server: TemporalServer) -> ApprovalError:
    """Return the error for a server that does not answer."""
    return ApprovalError(
        f"Temporal at `{server.address}` cannot be reached",
        code="approvals_unavailable",
        hint="see that it runs and that `address` and `tls` of `approvals.temporal` are right",
    )
