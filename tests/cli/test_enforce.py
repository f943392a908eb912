"""`agentguard run --enforce`, as a process of its own: what is on, what is denied, and what is on record of it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.kernel.jail._landlock import abi
from command_line import environment
from kernel_lab import why_not

if TYPE_CHECKING:
    from command_line import Command

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.skipif(abi() < 6, reason="this kernel has no Landlock with scopes"),
]


def run(agentguard: Command, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    chosen = {"cwd": agentguard.folder, "env": environment(), **options}
    return subprocess.run(
        [sys.executable, "-m", "agentguard", "run", *arguments],
        capture_output=True, text=True, timeout=60, check=False, **chosen,
    )  # fmt: skip


def shell(agentguard: Command, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run(agentguard, "--enforce", *options, "--", "/bin/sh", "-c", script)


def records(agentguard: Command, phase: str) -> list[dict[str, Any]]:
    return [each for each in agentguard.records() if each.get("type") == "run" and each["phase"] == phase]


def test_agent_works_in_its_folder_and_secrets_stay_shut(agentguard: Command) -> None:
    done = shell(agentguard, "echo made > made; cat /etc/shadow; exit 41")
    assert done.returncode == 41
    assert (agentguard.folder / "made").read_text() == "made\n"
    assert re.search(
        r"enforce: coding-agent, tier T[12], (\d+) of \1 self-tests passed: landlock-files", done.stderr
    )
    assert (
        "denied: read /etc/shadow: rule `shipped.path-secret`; to allow it: `policy: {without:" in done.stderr
    )


def test_what_is_on_and_what_was_denied_is_on_record(agentguard: Command) -> None:
    shell(agentguard, "cat /etc/shadow")
    (jailed,) = records(agentguard, "jailed")
    assert jailed["mode"] == "enforce"
    assert jailed["kernel_policy"] >= 1
    assert jailed["policy_version"].startswith("sha256:")
    assert set(jailed["protections"].values()) == {True}
    assert len(jailed["self_test"]) >= 8
    assert set(jailed["self_test"].values()) == {True}
    (denied,) = records(agentguard, "denied")
    assert (denied["what"], denied["rule"]) == ("read /etc/shadow", "shipped.path-secret")
    events = agentguard("events", "query", "--session", denied["run"], "--last", "500", "--json").json()
    told = [each for each in events if each["payload"].get("what") == "denied"]
    assert [each["payload"]["target"] for each in told] == ["read /etc/shadow"]


def test_rules_of_the_project_hold_for_every_process(agentguard: Command, tmp_path: Path) -> None:
    for name in ("given", "shut", "other"):
        (agentguard.folder / name).mkdir()
        (agentguard.folder / name / "x").write_text(f"content of {name}\n")
    agentguard.write(
        "policies/kernel.yaml",
        "version: 1\nrules:\n"
        f"  - {{id: shut-this, tier: mandatory, effect: deny, actions: [file.read], resources: ['file:{agentguard.folder}/shut/x']}}\n",
    )
    done = shell(
        agentguard, "cat given/x; sh -c 'cat shut/x'; ln -s shut link; cat link/x; cp shut/x copy; cat copy"
    )
    assert done.stdout == "content of given\n"
    assert "rule `shut-this`; to allow it: change rule `shut-this`" in done.stderr


def test_agentguards_own_files_cannot_be_changed_or_read(agentguard: Command) -> None:
    script = (
        "echo '# x' >> agentguard.yaml; rm -r policies; mv policies other; echo x > policies/new.yaml;"
        f" ls audit; cat {agentguard.state}/*/*; touch new"
    )
    before = sorted((agentguard.folder / "policies").iterdir())
    done = shell(agentguard, script)
    assert sorted((agentguard.folder / "policies").iterdir()) == before
    assert "# x" not in (agentguard.folder / "agentguard.yaml").read_text()
    assert done.stdout == ""
    assert (agentguard.folder / "new").exists()
    assert "it is AgentGuard's own" in done.stderr
    assert agentguard("audit", "verify").code == 0


def test_options_give_more_and_the_line_that_is_told_is_the_one_that_works(agentguard: Command) -> None:
    outside = Path("/var/lib") / f"agentguard-test-{os.getpid()}"
    outside.mkdir()
    try:
        (outside / "x").write_text("outside\n")
        done = shell(agentguard, f"cat {outside}/x")
        assert done.stdout == ""
        allow = re.search(r"to allow it: (--ro \S+)", done.stderr)
        assert allow is not None
        option, path = allow[1].split()
        assert shell(agentguard, f"cat {outside}/x", option, path).stdout == "outside\n"
        shell(agentguard, f"echo more > {outside}/y", "--ro", str(outside))
        assert not (outside / "y").exists()
        shell(agentguard, f"echo more > {outside}/y", "--rw", str(outside))
        assert (outside / "y").exists()
    finally:
        for each in outside.iterdir():
            each.unlink()
        outside.rmdir()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--rw", "/tmp"), "with --enforce only"),
        (("--enforce", "--mode", "warn"), "is another"),
        (
            ("--enforce", "--profile", "offline", "--allow-domain", "example.com"),
            "which this profile has not",
        ),
        (("--mode", "nothing"), "nothing"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    agentguard: Command, options: tuple[str, ...], why: str
) -> None:
    done = agentguard("run", *options, "--", "/bin/true")
    assert done.code == 2
    assert why in done.err


def test_unknown_profile_is_refused(agentguard: Command) -> None:
    done = agentguard("run", "--enforce", "--profile", "x", "--", "/bin/true")
    assert done.code == 3
    assert "there is no profile `x`" in done.err


def test_offline_profile_has_no_sockets_at_all(agentguard: Command) -> None:
    script = "import socket\ntry: socket.socket()\nexcept PermissionError: print('none')\n"
    done = run(agentguard, "--enforce", "--profile", "offline", "--", "/usr/bin/python3", "-c", script)
    assert done.stdout == "none\n"


def test_without_a_project_the_profile_holds(agentguard: Command, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    done = run(agentguard, "--enforce", "--", "/bin/sh", "-c", "cat /etc/shadow; echo x > y", cwd=folder)
    assert (done.stdout, (folder / "y").exists()) == ("", True)
    assert "there is no project here" in done.stderr


def test_home_folder_is_too_much_to_be_given(agentguard: Command, tmp_path: Path) -> None:
    home = Path("/var/lib") / f"agentguard-home-{os.getpid()}"
    home.mkdir()
    try:
        done = run(
            agentguard, "--enforce", "--", "/bin/sh", "-c", "echo x > y",
            cwd=home, env={**environment(), "HOME": str(home), "XDG_STATE_HOME": str(tmp_path)},
        )  # fmt: skip
        assert not (home / "y").exists()
        assert "is too much to be given as a whole" in done.stderr
    finally:
        home.rmdir()


def test_mode_that_warns_tells_and_holds_nothing(agentguard: Command) -> None:
    done = run(agentguard, "--mode", "warn", "--", "/bin/sh", "-c", "head -c 5 /etc/shadow")
    assert done.stdout != ""
    assert "would be denied: read /etc/shadow" in done.stderr
    assert records(agentguard, "jailed") == []
    assert [each["what"] for each in records(agentguard, "told")] == ["read /etc/shadow"]


def test_mode_that_kills_ends_the_agent_at_the_first_grave_denial(agentguard: Command) -> None:
    done = run(agentguard, "--mode", "kill", "--", "/bin/sh", "-c", "cat /etc/shadow; sleep 30; echo still")
    assert done.returncode == 137
    assert "still" not in done.stdout
    assert "the agent is ended" in done.stderr


def test_report_says_what_was_on_and_what_was_denied(agentguard: Command) -> None:
    for kind in ("json", "html"):
        shell(agentguard, "cat /etc/shadow", "--report", kind, "--report-to", f"report.{kind}")
    report = json.loads((agentguard.folder / "report.json").read_text())
    assert report["enforced"] in {"T1", "T2"}
    assert report["protections"]["seccomp"].startswith("on: ")
    assert [each.partition(":")[0] for each in report["denied"]] == ["denied"]
    page = (agentguard.folder / "report.html").read_text()
    assert "Held in a jail of tier" in page
    assert "denied: read /etc/shadow" in page


def test_terminal_is_the_agents(agentguard: Command) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(agentguard.folder)
        os.execve(  # noqa: S606 - our own
            sys.executable,
            [sys.executable, "-m", "agentguard", "run", "-q", "--enforce", "--", "/bin/sh", "-c",
             "test -t 0 && stty -a > /dev/null && echo a terminal; trap 'echo caught; exit 9' INT; echo ready; sleep 30"],
            environment(),
        )  # fmt: skip
    text = b""
    while b"ready" not in text and select.select([terminal], [], [], 20)[0]:
        text += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    while b"caught" not in text and select.select([terminal], [], [], 20)[0]:
        text += os.read(terminal, 1024)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert b"a terminal" in text
    os.close(terminal)


def test_version_grows_with_what_the_policy_says(agentguard: Command) -> None:
    for _ in range(2):
        shell(agentguard, "true")
    agentguard.write(
        "policies/more.yaml",
        'version: 1\nrules:\n  - {id: more, effect: allow, actions: [file.read], resources: ["file:/srv/**"]}\n',
    )
    shell(agentguard, "true")
    first, second, third = (each["kernel_policy"] for each in records(agentguard, "jailed"))
    assert first == second < third


def test_coding_session_works_and_nothing_of_it_is_denied(agentguard: Command) -> None:
    script = """
set -e; unset PYTHONPATH
mkdir repository && cd repository
git init -q . && git config user.email a@example.com && git config user.name a
printf 'int main(void) { return 0; }\\n' > main.c && printf 'all: main\\n' > Makefile
git add . && git commit -qm one && git checkout -qb two && git log --oneline | wc -l
make -s && ./main
/usr/bin/python3 -c 'import sqlite3, ssl, subprocess, tempfile; subprocess.check_call(["true"]); tempfile.mkdtemp()'
tar czf ../repository.tgz . && git clone -q . ../clone && rm -r ../clone
"""
    done = shell(agentguard, script)
    assert done.returncode == 0, done.stderr
    denied = [each for each in done.stderr.splitlines() if each.startswith("denied: ")]
    # A C library asks a name service that is not there.
    assert [each for each in denied if "a socket (unix, stream)" not in each] == []


BOMB = """
import os, time
made = 0
try:
    while made < 500:
        if not os.fork():
            time.sleep(60)
            os._exit(0)
        made += 1
except OSError as error:
    print("stopped", made < 48, error.strerror, flush=True)
time.sleep(SECONDS)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root is held by a limit of the process's own")
@pytest.mark.parametrize(("mode", "seconds", "code"), [("enforce", 1, 0), ("kill", 60, 137)])
def test_roots_forks_without_end_stop_and_are_told(
    agentguard: Command, mode: str, seconds: int, code: int
) -> None:
    agentguard.write("bomb.py", BOMB.replace("SECONDS", str(seconds)))
    done = run(agentguard, "--mode", mode, "--max-processes", "48", "--", "python3", "bomb.py")
    assert done.stdout == "stopped True Resource temporarily unavailable\n"
    assert done.returncode == code
    assert "process-limit" in done.stderr.partition("\n")[0]
    assert "denied: fork: it has 48 processes and threads" in done.stderr
    assert "to allow it: --max-processes 96" in done.stderr
    rules = [each["rule"] for each in records(agentguard, "denied") if each["what"] == "fork"]
    assert rules == ["process-limit"]
    (jailed,) = records(agentguard, "jailed")
    assert jailed["protections"]["process-limit"] is True


def test_limit_of_processes_means_nothing_without_a_jail(agentguard: Command) -> None:
    done = run(agentguard, "--max-processes", "100", "--", "true")
    assert done.returncode == 2
    assert "has a meaning with --enforce only" in done.stderr


def test_protection_that_there_is_not_cannot_be_given_up(agentguard: Command) -> None:
    done = run(agentguard, "--enforce", "--allow-degraded", "secomp", "--", "true")
    assert done.returncode == 2
    assert "there is no protection `secomp`: it is one of landlock-files" in done.stderr
