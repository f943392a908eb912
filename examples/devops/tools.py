"""What the agent can do. Each tool asks AgentGuard first, and then really does it.

Two ways to ask: `@guard.guarded` runs a function only as it was decided, and carries the obligations out on
what it returns; `guard.check` returns the decision, and the caller does the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from system.cluster import Cluster
from system.database import Database
from system.mail import Mail
from system.workspace import MOUNT, Workspace

from agentguard import ActionDenied, ApprovalRequired, Effect

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard import Decision, Guard


class DeploymentTools:
    """Tools on the deployments under `root`."""

    def __init__(self, guard: Guard, root: Path) -> None:
        cluster = Cluster(root)

        @guard.guarded("rollout-status", resource="{namespace}/{deployment}")
        def status(namespace: str, deployment: str) -> str:
            answer = cluster.get(namespace, "/replicas")
            return f"{deployment} {answer['version']}, {len(answer['pids'])} replicas"

        @guard.guarded("restart-deployment", resource="{namespace}/{deployment}")
        def restart(namespace: str, deployment: str) -> None:  # noqa: ARG001 - there is one deployment each
            cluster.restart(namespace)

        @guard.guarded("scale-deployment", resource="{namespace}/{deployment}")
        def scale(namespace: str, deployment: str, replicas: int) -> None:  # noqa: ARG001 - as above
            cluster.scale(namespace, replicas)

        @guard.guarded("delete-deployment", resource="{namespace}/{deployment}")
        def delete(namespace: str, deployment: str) -> None:  # noqa: ARG001 - as above
            cluster.delete(namespace)

        @guard.guarded("run-smoke-test", resource="{namespace}/{deployment}")
        def smoke_test(namespace: str, deployment: str, requests: int) -> str:
            answers = [cluster.get(namespace, "/health") for _ in range(requests)]
            good = [answer for answer in answers if answer["status"] == "ok"]
            versions = ", ".join(sorted({answer["version"] for answer in good}))
            return f"{len(good)} of {requests} answers are good, all from {deployment} {versions}"

        self.status = status
        self.restart = restart
        self.scale = scale
        self.delete = delete
        self.smoke_test = smoke_test


class DataTools:
    """Tools on the files, the database and the mail under `root`."""

    def __init__(self, guard: Guard, root: Path) -> None:
        self._guard = guard
        self._files = Workspace(root)
        database, mail = Database(root), Mail(root)

        @guard.guarded("file.read", resource=f"file:{MOUNT}/logs/{{path}}")
        def read_log(path: str) -> str:
            return self._files.read(f"{MOUNT}/logs/{path}")

        @guard.guarded("file.read", resource=f"file:{MOUNT}/logs/{{path}}")
        def read_log_and_more(path: str) -> str:
            # What it asked for is the log; nobody was asked about the rest.
            self._files.read(f"{MOUNT}/secrets/staging.env")
            return self._files.read(f"{MOUNT}/logs/{path}")

        @guard.guarded("sql.query", resource="database/orders")
        def query(statement: str) -> list[list[Any]]:
            return database.query(statement)

        @guard.guarded("sql.execute", resource="database/orders")
        def execute(statement: str) -> None:
            database.execute(statement)

        @guard.guarded("mail.send", resource="mail/{to}")
        def send_mail(to: str, subject: str, body: str) -> None:
            mail.send(to, subject, body)

        self.read_log = read_log
        self.read_log_and_more = read_log_and_more
        self.query = query
        self.execute = execute
        self.send_mail = send_mail

    def read_file(self, path: str) -> str:
        """Read any file; the resource is where `path` leads once links are followed."""
        decision = self._ask("file.read", f"file:{self._files.resolve(path)}", {"path": path})
        text = self._files.read(decision.params["path"])
        self._guard.report(decision, "succeeded")
        return text

    def read_log_carelessly(self, name: str) -> str:
        """Read a log as a careless tool would: it glues the name to the folder's path."""
        path = f"{MOUNT}/logs/{name}"
        decision = self._ask("file.read", f"file:{path}", {"path": path})
        return self._files.read(decision.params["path"])

    def write_file(self, path: str, content: str) -> None:
        """Replace a file."""
        resource = f"file:{self._files.resolve(path)}"
        decision = self._ask("file.write", resource, {"path": path, "content": content})
        self._files.write(decision.params["path"], decision.params["content"])
        self._guard.report(decision, "succeeded")

    def drop_database(self) -> None:
        """Delete the database's file; nobody has declared such an action."""
        self._ask("drop-database", "database/orders", {})
        self._files.delete(f"{MOUNT}/data/orders.db")

    def _ask(self, action: str, resource: str, params: dict[str, Any]) -> Decision:
        decision = self._guard.check(action, resource=resource, params=params)
        if decision.effect is Effect.REQUIRE_APPROVAL:
            raise ApprovalRequired(decision)
        if decision.effect is Effect.DENY:
            raise ActionDenied(decision)
        return decision
