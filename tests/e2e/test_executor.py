"""A guarded function hands its ticket to an executor of its own process, which verifies it and uses it up."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agentguard import ActionDenied, AgentGuardError, Guard
from agentguard.cli._app import run
from agentguard.registry import import_tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.clients import ToolSession

# The program with the credentials: it has the public keys and a store, reads calls by line, and says what it did.
EXECUTOR = """
import json, sys
from agentguard import TicketError, TicketStore, TicketVerifier

verifier = TicketVerifier(sys.argv[1], executor="deployer", store=TicketStore(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    call = json.loads(line)
    try:
        verifier.consume(call["ticket"], action=call["action"], resource=call["resource"], params=call["params"])
        print("done", flush=True)
    except TicketError as error:
        print(error.code, flush=True)
"""
TOOLS = [
    {
        "name": "pay_invoice",
        "description": "Pay an invoice",
        "input_schema": {
            "type": "object",
            "properties": {"invoice_id": {"type": "string"}, "note": {"type": "string"}},
        },
    }
]


class Executor:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert self.line() == "ready"

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __call__(self, ticket: str, action: str, resource: str, params: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        call = {"ticket": ticket, "action": action, "resource": resource, "params": params}
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        return self.line()


@contextmanager
def _executor(folder: Path, keys: str) -> Iterator[Executor]:
    (folder / "keys.json").write_text(keys)
    command = [sys.executable, "-c", EXECUTOR, str(folder / "keys.json"), str(folder / "used.sqlite")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Executor(process)
        finally:
            process.kill()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert run(["init", str(tmp_path / "project"), "-q"]) == 0
    return tmp_path / "project"


@pytest.fixture
def executor(project: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Executor]:
    capsys.readouterr()
    assert run(["ticket", "keys", "--project", str(project)]) == 0
    with _executor(project, capsys.readouterr().out) as running:
        yield running


@pytest.fixture
def guard(project: Path) -> Iterator[Guard]:
    with Guard.open(project, principal="deploy-agent", approval_wait_s=0) as guard:
        yield guard


def test_a_guarded_function_is_given_its_ticket_once_and_for_what_was_decided(
    guard: Guard, executor: Executor
) -> None:
    seen = []

    @guard.guarded("scale-deployment", resource="{namespace}/{deployment}", ticket_for="deployer")
    def scale(namespace: str, deployment: str, ticket: str = "", *, replicas: int) -> list[str]:
        params = {"namespace": namespace, "deployment": deployment, "replicas": replicas}
        seen.append(params)
        resource = f"{namespace}/{deployment}"
        other = {**params, "replicas": 50}
        return [
            executor(ticket, "scale-deployment@1", resource, other),
            executor(ticket, "scale-deployment@1", resource, params),
            executor(ticket, "scale-deployment@1", resource, params),
        ]

    # Asked for are 50; decided are 5, and the ticket is for these.
    assert scale("staging", "api", replicas=50) == ["ticket_params", "done", "ticket_used"]
    assert seen == [{"namespace": "staging", "deployment": "api", "replicas": 5}]
    assert scale("staging", deployment="api", replicas=2)[1] == "done"


def test_a_session_and_an_async_function_have_tickets_too(guard: Guard, executor: Executor) -> None:
    @guard.session("s-1").guarded("restart-deployment", resource="staging/api", ticket_for="deployer")
    async def restart(namespace: str, deployment: str, *, ticket: str = "") -> str:
        params = {"namespace": namespace, "deployment": deployment}
        return executor(ticket, "restart-deployment@1", "staging/api", params)

    assert asyncio.run(restart("staging", "api")) == "done"


def _paying(session: ToolSession, executor: Executor) -> Any:
    @session.guarded("pay_invoice", ticket_for="deployer")
    def pay_invoice(invoice_id: str, note: str | None = None, ticket: str = "") -> str:
        params = {"invoice_id": invoice_id} if note is None else {"invoice_id": invoice_id, "note": note}
        return executor(ticket, "pay_invoice@1", "tool:pay_invoice", params)

    return pay_invoice


def test_a_tool_of_a_session_with_an_intent_has_a_ticket(guard: Guard, executor: Executor) -> None:
    session = guard.session(intent="Pay the invoice INV-2041.", tools=TOOLS)
    pay = _paying(session, executor)
    assert pay("INV-2041") == "done"
    assert pay("INV-2041", note="INV-2041") == "done"
    with pytest.raises(ActionDenied) as caught:
        pay("INV-6666")
    assert caught.value.decision.ticket == ""


def test_a_ticket_is_no_argument_of_the_caller(guard: Guard, executor: Executor) -> None:
    session = guard.session(intent="Pay the invoice INV-2041.", tools=TOOLS)
    pay = _paying(session, executor)
    with pytest.raises(TypeError, match="unexpected keyword argument 'ticket'"):
        pay("INV-2041", ticket="forged")
    assert list(inspect.signature(pay).parameters) == ["invoice_id", "note"]
    (tool,) = import_tools([pay])
    assert list(tool.action.params["properties"]) == ["invoice_id", "note"]


def test_an_async_tool_is_observed_by_itself(guard: Guard) -> None:
    session = guard.session(intent="Pay the invoice INV-2041.", tools=TOOLS)

    @session.guarded("pay_invoice")
    async def pay(invoice_id: str) -> dict[str, str]:
        return {"next": "INV-6666", "for": invoice_id}

    assert asyncio.run(pay("INV-2041"))["next"] == "INV-6666"
    decision = session.check("pay_invoice", {"invoice_id": "INV-6666"})
    assert decision.origins[0].source == "pay_invoice"
    session.observe({})
    with pytest.raises(ActionDenied, match="could not be reported"):
        asyncio.run(pay("INV-2041"))


def test_a_failing_tool_is_on_record(guard: Guard, project: Path) -> None:
    session = guard.session(intent="Pay the invoice INV-2041.", tools=TOOLS)

    def pay(invoice_id: str) -> str:
        raise RuntimeError(f"no money for {invoice_id}")

    with pytest.raises(RuntimeError, match="no money"):
        session.guarded("pay_invoice")(pay)("INV-2041")
    guard.close()
    records = [
        json.loads(line)
        for file in (project / "audit").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    assert [(each["status"], each["detail"]) for each in records if each.get("type") == "outcome"] == [
        ("failed", "RuntimeError")
    ]


def test_a_tool_that_the_session_does_not_have_cannot_be_guarded(guard: Guard) -> None:
    session = guard.session(intent="Pay the invoice INV-2041.", tools=TOOLS)
    with pytest.raises(AgentGuardError, match="none of the tools"):
        session.guarded("pay_bill")


def _no_ticket(invoice_id: str) -> str:
    return invoice_id


def _any(**ticket: str) -> str:
    return str(ticket)


def _first(ticket: str, /, invoice_id: str) -> str:
    return ticket + invoice_id


@pytest.mark.parametrize("function", [_no_ticket, _any, _first])
def test_a_function_that_takes_no_ticket_cannot_be_given_one(guard: Guard, function: Any) -> None:
    with pytest.raises(AgentGuardError, match="no parameter `ticket`"):
        guard.guarded("restart-deployment", resource="staging/api", ticket_for="deployer")(function)
    with pytest.raises(AgentGuardError, match="an executor's name"):
        guard.guarded("restart-deployment", resource="staging/api", ticket_for=7)(function)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("executor_name", ["two\nlines", "x" * 300])
def test_a_name_that_no_executor_can_have_is_a_denial(guard: Guard, executor_name: str) -> None:
    @guard.guarded("restart-deployment", resource="staging/api", ticket_for=executor_name)
    def restart(namespace: str, deployment: str, ticket: str = "") -> str:
        return namespace + deployment + ticket

    with pytest.raises(ActionDenied, match="ticket"):
        restart("staging", "api")
