"""`agentguard run`, as a process of its own: it forks, and must do so before there are threads."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentguard import Effect, Guard
from agentguard.kernel._cgroups import PARENT, find_mount
from command_line import SOURCE, environment, sidecar, spawn, wait_for
from kernel_lab import why_not

if TYPE_CHECKING:
    from command_line import Command

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]


def run(
    agentguard: Command, *arguments: str, stdin: str | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentguard", "run", *arguments],
        cwd=agentguard.folder,
        env=environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def report_of(agentguard: Command, *command: str, options: tuple[str, ...] = ()) -> tuple[int, Any, str]:
    """Run `command` and return the exit code, the report, and what stood on standard error."""
    target = agentguard.folder / "report.json"
    done = run(agentguard, *options, "--report", "json", "--report-to", str(target), "--", *command)
    return done.returncode, json.loads(target.read_text()), done.stderr


def cgroups() -> list[str]:
    """Return the cgroups of launchers that are not there any more."""
    parent = find_mount() / PARENT
    found = (re.match(r"(?:run|self-test)-([0-9]+)-", each.name) for each in parent.glob("*-*"))
    return sorted(each[0] for each in found if each is not None and not Path(f"/proc/{each[1]}").exists())


def test_program_keeps_its_streams_arguments_environment_and_code(agentguard: Command) -> None:
    script = "read line; echo got $line $2; echo aside >&2; exit 41"
    done = run(agentguard, "--quiet", "--", "/bin/sh", "-c", script, "sh", "one", "--two", stdin="hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (41, "got hello --two\n", "aside\n")


def test_what_was_touched_becomes_events_with_what_the_policy_says(
    agentguard: Command, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    _, report, _ = report_of(agentguard, "/bin/sh", "-c", f"cat {secret} {secret}; cat {secret}")
    found = agentguard("events", "query", "--session", report["run"], "--last", "1000", "--json").json()
    reads = [each for each in found if each["payload"].get("path") == str(secret)]
    assert [each["kind"] for each in reads] == ["file"]
    assert reads[0]["principal"] == report["principal"]
    payload = reads[0]["payload"]
    assert (payload["action"], payload["effect"]) == ("file.read", "deny")
    assert payload["program"].endswith("cat")
    assert "proc" in {each["kind"] for each in found}


def test_everything_that_was_touched_is_in_the_report(agentguard: Command, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x" * 123)
    script = f"cat {secret} > {tmp_path}/copy; rm {tmp_path}/copy; exit 3"
    code, report, said = report_of(agentguard, "/bin/sh", "-c", script)
    assert (code, report["exit_code"], report["tier"], report["decided_by"]) == (3, 3, "observe", "process")
    files = {each["path"]: each for each in report["files"]}
    assert files[str(secret)]["access"] == ["read"]
    assert files[str(secret)]["read_bytes"] == 123
    assert sorted(files[f"{tmp_path}/copy"]["access"]) == ["delete", "write"]
    assert files[f"{tmp_path}/copy"]["written_bytes"] == 123
    programs = {Path(each["path"]).name for each in report["programs"]}
    assert {"cat", "rm"} <= programs
    assert report["dropped"] == {}
    assert all(each["ok"] for each in report["checks"])
    assert "files by class" in said


def test_policy_says_what_it_would_have_denied_and_the_log_has_it(agentguard: Command) -> None:
    report_of(agentguard, "/bin/sh", "-c", "exec cat /etc/shadow > /dev/null")
    records = agentguard.records()
    started, ended = (each for each in records if each["type"] == "run")
    assert (started["phase"], started["tier"], started["decided_by"]) == ("started", "observe", "process")
    assert all(started["self_test"].values())
    assert ended["would_be"]["deny"] > 0
    decision = next(each for each in records if each.get("resource") == "file:/etc/shadow")
    assert (decision["effect"], decision["rule"]) == ("deny", "shipped.path-secret")
    assert decision["context"]["attributes"] == {"pep": "kernel", "observed": True}
    assert agentguard("audit", "verify").code == 0


def test_principal_and_policy_can_be_named(agentguard: Command, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "all.yaml").write_text(
        'version: 1\nrules:\n  - {id: all, effect: allow, principals: [someone], actions: ["**"], resources: ["file:/**"]}\n'
    )
    _, report, _ = report_of(
        agentguard,
        "/bin/cat",
        "/etc/hostname",
        options=("-p", "someone", "--policy", str(tmp_path / "rules")),
    )
    (hostname,) = [each for each in report["files"] if each["path"] == "/etc/hostname"]
    assert (report["principal"], hostname["effect"], hostname["rule"]) == ("someone", "allow", "all")


@pytest.mark.parametrize(("name", "number"), [("TERM", 15), ("USR1", 10), ("INT", 2)])
def test_signal_reaches_the_program(agentguard: Command, name: str, number: int) -> None:
    script = f"trap 'echo caught; exit 9' {name}; echo ready; while :; do sleep 0.1; done"
    with spawn(agentguard.folder, "run", "--quiet", "--", "/bin/sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "caught\n"
        assert process.wait(20) == 9
    assert cgroups() == []


def test_program_that_a_signal_ends_gives_128_and_the_signal(agentguard: Command) -> None:
    assert (
        run(agentguard, "--quiet", "--", "/bin/sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL
    )


def test_what_the_program_leaves_running_ends_with_it(agentguard: Command, tmp_path: Path) -> None:
    script = f"(trap '' TERM; echo $$ > {tmp_path}/pid; sleep 60) & sleep 0.2"
    code, report, _ = report_of(agentguard, "/bin/sh", "-c", script)
    assert code == 0
    assert report["ended_by_us"] >= 1
    assert cgroups() == []


def test_launcher_that_is_killed_leaves_nothing_behind(agentguard: Command, tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; echo ready; wait"
    with spawn(agentguard.folder, "run", "--quiet", "--", "/bin/sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.wait(20)
    wait_for(lambda: cgroups() == [])
    pid = int((tmp_path / "pid").read_text())
    wait_for(
        lambda: (
            not Path(f"/proc/{pid}").exists()
            or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]
        )
    )


def test_missing_program_is_127_and_runs_nothing(agentguard: Command) -> None:
    done = run(agentguard, "--", "no-such-program")
    assert done.returncode == 127
    assert "there is no program `no-such-program`" in done.stderr
    assert cgroups() == []


def test_file_that_cannot_be_run_is_126(agentguard: Command, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    done = run(agentguard, "--", str(tmp_path / "text"))
    assert done.returncode == 126
    assert "permission denied" in done.stderr
    assert cgroups() == []


@pytest.mark.parametrize("runtime", ["python", "node", "shell"])
def test_runtimes_are_seen_alike(agentguard: Command, tmp_path: Path, runtime: str) -> None:
    target = tmp_path / "data"
    target.write_text("x")
    commands = {
        "python": (sys.executable, "-c", f"open({str(target)!r}).read()"),
        "node": ("node", "-e", f"require('fs').readFileSync({str(target)!r})"),
        "shell": ("/bin/sh", "-c", f"read line < {target}"),
    }
    if shutil.which(commands[runtime][0]) is None:
        pytest.skip(f"{runtime} is not installed")
    _, report, _ = report_of(agentguard, *commands[runtime])
    assert str(target) in {each["path"] for each in report["files"]}


def test_without_a_project_nothing_is_judged_and_that_is_said(agentguard: Command, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agentguard", "run", "--", "/bin/true"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "there is no project here, so nothing is judged" in done.stderr
    assert "under enforcement" not in done.stderr


def test_page_has_no_script_and_escapes_what_the_agent_wrote(agentguard: Command, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"
    target = tmp_path / "page.html"
    run(
        agentguard,
        "--report",
        "html",
        "--report-to",
        str(target),
        "--",
        "/bin/sh",
        "-c",
        f"echo > '{tmp_path}/{name[:7]}x>'",
    )
    text = target.read_text()
    assert "&lt;script" in text
    assert "<script" not in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text


def test_report_that_cannot_be_written_is_an_error(agentguard: Command) -> None:
    done = run(agentguard, "--report", "json", "--report-to", "/proc/none/x.json", "--", "/bin/true")
    assert done.returncode == 3
    assert "cannot be written" in done.stderr
    assert "under enforcement" in done.stderr


def test_report_that_does_not_fit_leaves_no_half_of_it(agentguard: Command) -> None:
    limit = "ulimit -f 1; trap '' XFSZ;"
    inner = f"{sys.executable} -m agentguard run --quiet --report json --report-to r.json -- /bin/ls -R /usr/include"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{limit} {inner} > /dev/null"],
        cwd=agentguard.folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert not (agentguard.folder / "r.json").exists()


def test_full_disk_runs_nothing_that_is_not_on_record(agentguard: Command, tmp_path: Path) -> None:
    config = agentguard.folder / "agentguard.yaml"
    config.write_text(config.read_text() + "audit: {reserve_bytes: 1099511627776}\n")
    done = run(agentguard, "--", "/bin/touch", str(tmp_path / "ran"))
    assert done.returncode == 3
    assert "free" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert cgroups() == []


def test_learned_policy_is_valid_and_allows_the_same_run(agentguard: Command, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    command = ("/bin/sh", "-c", f"cat {tmp_path}/in > {tmp_path}/out && rm {tmp_path}/out")
    done = run(agentguard, "--learn", "--", *command)
    assert "proposed policy in" in done.stderr
    (learned,) = (agentguard.folder / "learned").iterdir()
    shutil.copy(learned / "policies" / "learned.yaml", agentguard.folder / "policies")
    entries = (learned / "inventory.yaml").read_text().partition("resources:\n")[2]
    inventory = agentguard.folder / "inventory.yaml"
    inventory.write_text(inventory.read_text().replace("resources:\n", f"resources:\n{entries}", 1))
    assert agentguard("policy", "validate").code == 0
    _, report, _ = report_of(agentguard, *command)
    refused = [each["path"] for each in (*report["files"], *report["programs"]) if each["effect"] != "allow"]
    assert refused == []
    assert report["would_be"].keys() == {"allow"}


def test_running_sidecar_decides(agentguard: Command) -> None:
    config = agentguard.folder / "agentguard.yaml"
    with sidecar(agentguard.folder) as running:
        port = running.url.rpartition(":")[2]
        config.write_text(config.read_text() + f"server: {{port: {port}}}\n")
        _, report, _ = report_of(agentguard, "/bin/cat", "/etc/hostname")
    assert report["decided_by"] == "sidecar"
    (hostname,) = [each for each in report["files"] if each["path"] == "/etc/hostname"]
    assert (hostname["effect"], hostname["reason"][:19]) == ("deny", "no rule allows file")


def test_what_a_run_did_does_not_count_for_what_is_asked_for(agentguard: Command) -> None:
    rules = "version: 1\nrules: []\nbreaker: {denials: 3, within: 5m, pause: 10m}\n"
    (agentguard.folder / "policies" / "breaker.yaml").write_text(rules)
    config = agentguard.folder / "agentguard.yaml"
    with sidecar(agentguard.folder) as running:
        port = running.url.rpartition(":")[2]
        config.write_text(config.read_text() + f"server: {{port: {port}}}\n")
        _, report, _ = report_of(agentguard, "/bin/cat", "/etc/hostname", "/etc/shadow", "/etc/fstab")
        assert report["decided_by"] == "sidecar"
        assert report["would_be"]["deny"] > 3
        denied = [each for each in agentguard.records() if each.get("effect") == "deny"]
        assert {each["observed"] for each in denied} == {True}
        assert "breaker" not in {each["stage"] for each in denied}
        token = agentguard("token", "issue", report["principal"]).out.strip()
        guard = Guard.connect(running.url, token)
        try:
            params = {"namespace": "staging", "deployment": "api"}
            assert (
                guard.check("restart-deployment", resource="staging/api", params=params).effect
                is Effect.ALLOW
            )
            for _ in range(3):
                guard.check("undeclared", resource="a/b")
            assert guard.check("restart-deployment", resource="staging/api", params=params).stage == "breaker"
        finally:
            guard.close()


@pytest.fixture
def nobodys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder and a copy of the sources that an ordinary user can use."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    folder = Path("/var/tmp") / tmp_path_factory.mktemp("nobody").name
    folder.mkdir(mode=0o755)
    shutil.chown(folder, "nobody")
    return folder


def test_ordinary_user_is_told_what_is_not_seen(nobodys: Path) -> None:
    user = pwd.getpwnam("nobody")
    python = Path(sys.executable)
    readable = [
        each for each in (SOURCE, *python.resolve().parents) if not each.stat().st_mode & stat.S_IXOTH
    ]
    try:
        if readable:
            pytest.skip(f"{readable[0]} is closed to other users")
        done = subprocess.run(
            [python, "-m", "agentguard", "run", "--json", "--", "/bin/sh", "-c", "exit 4"],
            cwd=nobodys, env={**environment(), "HOME": str(nobodys)}, user=user.pw_uid, group=user.pw_gid,
            extra_groups=[], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 4, done.stderr
        assert "nothing of this run is seen" in done.stderr
        report = json.loads(done.stdout)
        assert (report["tier"], report["decided_by"], len(report["unseen"])) == ("none", "nobody", 4)
    finally:
        shutil.rmtree(nobodys)


def test_root_that_cannot_observe_runs_nothing(agentguard: Command, tmp_path: Path) -> None:
    # Without any capability root is root in name only; BPF is denied as lockdown would.
    if shutil.which("capsh") is None:
        pytest.skip("capsh is not installed")
    inner = f"{sys.executable} -m agentguard run -- /bin/touch {tmp_path}/ran"
    done = subprocess.run(
        ["capsh", "--drop=cap_bpf,cap_perfmon,cap_sys_admin", "--", "-c", inner],
        cwd=agentguard.folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "operation not permitted" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert cgroups() == []


def test_nothing_stays_loaded_or_pinned(agentguard: Command) -> None:
    before = _links()
    run(agentguard, "--quiet", "--", "/bin/true")
    deadline = time.monotonic() + 10
    while _links() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _links() <= before
    assert cgroups() == []


def _links() -> int:
    """Count BPF links that processes of this machine hold."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            held = [str(each.readlink()) for each in folder.iterdir()]
        except OSError:
            continue
        found += sum("bpf" in each and "link" in each for each in held)
    return found
