"""The stages of the demo: the system, the sidecar beside it, the agent's work, and what is to be said of it."""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from person import Person
from plan import PERSON
from system.database import Database
from system.mail import Mail
from system.view import look
from system.watch import OpenWatch
from system.workspace import Workspace
from verdict import (
    Finding,
    forge,
    judge_approvals,
    judge_chain,
    judge_decisions,
    judge_forgery,
    judge_lie,
    judge_records,
    judge_system,
    read_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from children import Children, Patience
    from show import Terminal

HERE = Path(__file__).resolve().parent
REPLICAS = {"staging": 3, "prod": 4}
_START_S = 30.0
_WORK_S = 60.0
_BEGINNINGS = (_UP, _LOGIN) = ("agentguard is up at", "log in, once, with")


class DemoError(Exception):
    """The demo cannot go on."""


class Demo:
    """One run in the folder `scratch`."""

    def __init__(self, scratch: Path, children: Children, patience: Patience, terminal: Terminal) -> None:
        self._children = children
        self._patience = patience
        self._terminal = terminal
        self.system = scratch / "system"
        self.project = scratch / "project"
        self._state = scratch / "state"
        self._report = scratch / "report.jsonl"
        self._environ = {
            name: text for name, text in os.environ.items() if not name.startswith("AGENTGUARD_")
        }
        # What the sidecar has and the agent has not.
        self._keys = {**self._environ, "XDG_STATE_HOME": str(self._state)}
        self._account = scratch / "account.json"
        self._is_watched = False
        # How the launcher finds the sidecar and the project's keys.
        self._where: dict[str, str] = {}
        self._url = self._page = ""
        self._password = secrets.token_urlsafe(12)
        self._sidecar: subprocess.Popen[str] | None = None

    def build(self) -> None:
        """Bring the system up."""
        Workspace(self.system).create()
        Database(self.system).create()
        Mail(self.system)
        for environment, replicas in REPLICAS.items():
            program = [str(HERE / "system" / "deployment.py"), str(self.system), environment, str(replicas)]
            self._children.start(
                [sys.executable, *program],
                environ=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )
        ports = [self.system / "run" / f"{environment}.port" for environment in REPLICAS]
        self._wait(lambda: all(port.is_file() for port in ports), "the system did not start")
        told = ", ".join(
            f"{environment} api with {count} replicas" for environment, count in REPLICAS.items()
        )
        self._terminal.fact("system", f"{told}, a database, files, mail: {self.system}")

    def guard(self, port: int) -> None:
        """Bring the sidecar up on a copy of the project; where `port` is taken, on a free one."""
        shutil.copytree(HERE / "project", self.project, ignore=shutil.ignore_patterns("audit"))
        self._state.mkdir()
        self._ask(
            "people", "add", PERSON, "--role", "approver", "--group", "leads", "--password-stdin",
            given=f"{self._password}\n",
        )  # fmt: skip
        if port and not _is_free(port):
            self._terminal.fact("port", f"{port} is taken, so the sidecar gets another one")
            port = 0
        self._sidecar = self._children.start(
            self._command("up", "--port", str(port), "--login-link"),
            environ=self._keys,
            stdout=subprocess.PIPE,
        )
        told = self._announcement()
        self._url = told[_UP]
        self._wait(self._is_ready, "the sidecar is up but not ready")
        self._page = told[_LOGIN]
        self._terminal.fact("sidecar", self._url)
        self._where = {
            "XDG_STATE_HOME": str(self._state),
            "AGENTGUARD_SERVER_PORT": self._url.rpartition(":")[2],
        }
        self._try_to_watch()
        self._tell_where()

    def work(self, *, then_end: bool) -> list[Finding]:
        """Have the agent follow its plan, then perhaps end the sidecar, and return what is to be said of it."""
        watch = self._watch()
        before = look(self.system)
        person = Person(self._url, PERSON, self._password)
        agent = self._agent("--report", str(self._report))
        if not self._patience.until(lambda: person.answer() or agent.poll() is not None, within_s=_WORK_S):
            raise DemoError(f"the agent did not finish within {_WORK_S:.0f} s")
        after = look(self.system)
        report = read_lines(self._report)
        alerts = self._alerts()
        for each in alerts or ():
            self._terminal.say(f"    ! the kernel: {each['severity']}: {each['reason']}")
        findings = [judge_decisions(report), judge_lie(alerts)]
        findings += judge_system(before, after, secret_was_opened=watch.was_opened() if watch else None)
        if then_end:
            self._end_sidecar()
        return findings + self._judge_log(report)

    def serve(self) -> None:
        """Keep the page alive until somebody asks to stop."""
        self._terminal.heading("The agent goes on with calm steps, and the page shows them live")
        self._tell_where()
        self._tell_how_to_answer()
        agent = self._agent("--patrol", stdin=subprocess.PIPE)
        self._terminal.say("  Ctrl-C to stop")
        sidecar = self._sidecar
        assert sidecar is not None
        self._patience.until(lambda: agent.poll() is not None or sidecar.poll() is not None)
        raise DemoError(
            "the sidecar ended by itself" if sidecar.poll() is not None else "the agent ended by itself"
        )

    def _tell_where(self) -> None:
        self._terminal.fact("rules", f"{self.project / 'policies'} (edit them: changes count at once)")
        self._terminal.fact("page", f"{self._page} (the link works once)")

    def _tell_how_to_answer(self) -> None:
        """Say how one answers what the agent asks by and by: on the page, or in another terminal."""
        self._terminal.fact(
            "answer", f"log in on the page as {PERSON} with the password {self._password}, or"
        )
        start = f"XDG_STATE_HOME={self._state} agentguard"
        where = f"--project {self.project}"
        self._terminal.fact("", f"{start} people login {PERSON} {where} --url {self._url}")
        self._terminal.fact("", f"{start} approvals list {where}, then approve ID or deny ID")

    def _agent(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        token = self._ask("token", "issue", "deploy-agent", "--ttl", "24h").stdout.strip()
        colour = [] if self._terminal.has_color else ["--no-color"]
        program = [str(HERE / "agent.py"), "--url", self._url, "--system", str(self.system)]
        environ = {**self._environ, "AGENTGUARD_TOKEN": token}
        command = [sys.executable, *program, *arguments, *colour]
        if self._is_watched:
            # The launcher has the keys; what it launches has them not.
            environ |= self._where
            command = [
                *self._run("--report", "json", "--report-to", str(self._account)),
                *_without_keys(),
                *command,
            ]
        return self._children.start(command, environ=environ, stdin=stdin, stdout=None)

    def _run(self, *options: str) -> list[str]:
        return self._command("run", "--quiet", "--principal", "deploy-agent", *options, after=("--",))

    def _try_to_watch(self) -> None:
        """Find out whether the kernel can tell here what the agent's processes do."""
        done = subprocess.run(  # noqa: S603 - our own command
            [*self._run("--report", "json", "--report-to", str(self._account)), "true"],
            env={**self._keys, **self._where},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
            start_new_session=True,
        )
        self._is_watched = done.returncode == 0 and read_account(self._account).get("tier") == "observe"
        if not self._is_watched:
            self._terminal.fact(
                "note", "the kernel tells nothing of the agent's processes here; it takes root"
            )

    def _alerts(self) -> list[dict[str, str]] | None:
        return read_account(self._account)["alerts"] if self._is_watched else None

    def _judge_log(self, report: list[dict[str, Any]]) -> list[Finding]:
        log = self.project / "audit"
        records = [record for segment in sorted(log.glob("*.jsonl")) for record in read_lines(segment)]
        last = records[-1]["seq"] if records else 0
        # While the sidecar runs, it signs a head once a second.
        self._patience.until(lambda: _head_seq(log) >= last, within_s=_START_S)
        findings = [judge_records(report, records), judge_approvals(records)]
        findings.append(judge_chain(self._verify(log), last))
        if any(record.get("effect") == "deny" for record in records):
            forged = shutil.copytree(log, self.project.parent / "forged")
            seq = forge(forged)
            findings.append(judge_forgery(self._verify(forged), seq))
        return findings

    def _verify(self, log: Path) -> dict[str, Any]:
        done = self._ask("audit", "verify", "--json", str(log), check=False)
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        return found

    def _end_sidecar(self) -> None:
        assert self._sidecar is not None
        self._children.stop(self._sidecar)
        if self._sidecar.returncode != 0:
            raise DemoError(f"the sidecar ended with exit code {self._sidecar.returncode}")

    def _watch(self) -> OpenWatch | None:
        try:
            return OpenWatch(self.system / "secrets" / "prod.env")
        except OSError as error:
            self._terminal.fact("note", f"nobody watches secrets/prod.env here: {error}")
            return None

    def _announcement(self) -> dict[str, str]:
        """Return what the sidecar says when it is up: the text after each known beginning of a line."""
        sidecar = self._sidecar
        assert sidecar is not None
        assert sidecar.stdout is not None
        # Not through the stream: what it has buffered, `select` does not see.
        descriptor = sidecar.stdout.fileno()
        said = ""

        def has_said_all() -> bool:
            nonlocal said
            if select.select([descriptor], [], [], 0)[0]:
                chunk = os.read(descriptor, 65536)
                if not chunk:
                    raise DemoError("the sidecar did not start")
                said += chunk.decode()
            return all(beginning in said for beginning in _BEGINNINGS) and said.endswith("\n")

        self._wait(has_said_all, "the sidecar did not start")
        lines = [line.strip() for line in said.splitlines()]
        return {
            beginning: line.removeprefix(beginning).strip()
            for beginning in _BEGINNINGS
            for line in lines
            if line.startswith(beginning)
        }

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/readyz", timeout=1) as answer:  # noqa: S310 - our sidecar
                return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own number
        except (urllib.error.URLError, OSError):
            return False

    def _ask(self, *arguments: str, check: bool = True, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run an `agentguard` command with `given` as its input, and return what it says."""
        done = subprocess.run(  # noqa: S603 - our own command
            self._command(*arguments),
            env=self._keys,
            input=given,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
            start_new_session=True,
        )
        if check and done.returncode:
            raise DemoError(f"`agentguard {arguments[0]}` failed: {done.stderr.strip()}")
        return done

    def _command(self, *arguments: str, after: tuple[str, ...] = ()) -> list[str]:
        return [sys.executable, "-m", "agentguard", *arguments, "--project", str(self.project), *after]

    def _wait(self, holds: Callable[[], bool], otherwise: str) -> None:
        """Wait for a start-up: in vain if it takes too long, or one of the processes has ended."""
        self._patience.until(lambda: holds() or self._children.have_died(), within_s=_START_S)
        if not holds():
            raise DemoError(otherwise)


def read_account(path: Path) -> dict[str, Any]:
    """Return what a run has told of itself; nothing if it has not."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _without_keys() -> list[str]:
    return ["/usr/bin/env", "-u", "XDG_STATE_HOME", "-u", "AGENTGUARD_SERVER_PORT"]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _head_seq(log: Path) -> int:
    head = log / "head"
    return int(json.loads(head.read_bytes())["seq"]) if head.is_file() else 0
