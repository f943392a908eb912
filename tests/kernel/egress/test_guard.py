"""Real processes in a real cgroup, held to names and addresses: by the kernel, the proxy and the resolver together."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentguard.core import KernelError
from agentguard.kernel._rules import NetRule, UnixRule
from agentguard.kernel.egress._approval import Answer
from agentguard.kernel.egress._guard import NetworkGuard
from agentguard.kernel.egress._upstream import Upstream
from egress_lab import LOOPBACK, Authority, Site, Zone, cgroup, policy, python_in, run_in, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel.egress._denial import Denial

pytestmark = pytest.mark.kernel
GET = """
    s = socket.create_connection((argv[1], int(argv[2])), 5)
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: " + argv[3].encode() + b"\\r\\nConnection: close\\r\\n\\r\\n")
    print(s.recv(1000).split(b"\\r\\n")[-1].decode().strip() or "closed")
"""


@pytest.fixture
def group() -> Iterator[Cgroup]:
    with cgroup() as made:
        yield made


@pytest.fixture(scope="module")
def zone() -> Iterator[Zone]:
    made = Zone()
    made.records["api.example.com", "A"] = ["127.0.0.1"]
    made.records["api.example.com", "AAAA"] = ["::1"]
    made.records["inner.example.com", "A"] = ["10.0.0.1"]
    yield made
    made.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture(scope="module")
def secure_site(authority: Authority) -> Iterator[Site]:
    made = Site(authority.context("api.example.com"))
    yield made
    made.close()


def upstream(zone: Zone) -> Upstream:
    return Upstream([zone.place], inside=LOOPBACK, timeout_s=2)


def test_any_address_leads_to_the_proxy_which_goes_by_the_name(group: Cgroup, zone: Zone, site: Site) -> None:
    denials: list[Denial] = []
    rules = policy(f"api.example.com:{site.port}")
    with NetworkGuard(group, rules, on_denial=denials.append, upstream=upstream(zone)) as guard:
        guard.arm()
        for address in ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "10.0.0.1"):
            said = python_in(group, GET, address, site.port, "api.example.com")
            assert said == "you asked for api.example.com", address
        assert "no rule allows this name" in python_in(group, GET, "93.184.216.34", site.port, "evil.example")
        assert [each.target for each in denials] == [f"tcp evil.example:{site.port}"]
        assert denials[0].pid > 0


def test_program_that_knows_no_proxy_resolves_and_connects_over_tls(
    group: Cgroup, zone: Zone, secure_site: Site, authority: Authority
) -> None:
    code = """
        import sys; sys.path[:0] = [os.path.dirname(os.__file__), os.path.dirname(os.__file__) + "/lib-dynload"]
        import ssl
        question = bytes.fromhex("123401000001000000000000") + b"\\3api\\7example\\3com\\0" + bytes.fromhex("00010001")
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(5)
        s.sendto(question, ("9.9.9.9", 53))
        answer, whence = s.recvfrom(512)
        print(whence[0], whence[1], socket.inet_ntoa(answer[-4:]))
        s = socket.create_connection(("198.51.100.7", int(argv[1])), 5)
        print(*s.getpeername())
        t = ssl.create_default_context(cafile=argv[2]).wrap_socket(s, server_hostname="api.example.com")
        t.sendall(b"GET / HTTP/1.1\\r\\nHost: api.example.com\\r\\n\\r\\n")
        print(t.recv(1000).split(b"\\r\\n")[-1].decode())
    """
    rules = policy(f"api.example.com:{secure_site.port}")
    with NetworkGuard(group, rules, on_denial=print, upstream=upstream(zone)):
        said = python_in(group, code, secure_site.port, authority.bundle).splitlines()
    assert said == [
        "9.9.9.9 53 127.0.0.1",
        f"198.51.100.7 {secure_site.port}",
        "you asked for api.example.com",
    ]


def test_static_binary_is_held_like_any_other(group: Cgroup, zone: Zone, site: Site, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = tmp_path / "get.c"
    source.write_text(
        """
        #include <arpa/inet.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/socket.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
            inet_pton(AF_INET, "93.184.216.34", &to.sin_addr);
            int s = socket(AF_INET, SOCK_STREAM, 0);
            char text[500];
            if (connect(s, (void *)&to, sizeof(to))) { perror("connect"); return 1; }
            snprintf(text, sizeof(text), "GET / HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n", argv[2]);
            write(s, text, strlen(text));
            ssize_t got = read(s, text, sizeof(text));
            return fwrite(text, 1, got > 0 ? got : 0, stdout) ? 0 : 1;
        }"""
    )
    program = str(tmp_path / "get")
    subprocess.run([compiler, "-static", "-o", program, str(source)], check=True)
    rules = policy(f"api.example.com:{site.port}")
    with NetworkGuard(group, rules, on_denial=lambda _: None, upstream=upstream(zone)):
        assert "you asked for api.example.com" in run_in(group, program, str(site.port), "api.example.com")
        assert "403 Forbidden" in run_in(group, program, str(site.port), "evil.example")


def test_new_name_holds_at_once_and_a_withdrawn_one_no_more(group: Cgroup, zone: Zone, site: Site) -> None:
    with NetworkGuard(
        group, policy("other.example"), on_denial=lambda _: None, upstream=upstream(zone)
    ) as guard:
        assert "403" not in (said := python_in(group, GET, "1.2.3.4", site.port, "api.example.com"))
        assert "denied" in said
        guard.update(policy(f"api.example.com:{site.port}", version=2))
        assert "you asked" in python_in(group, GET, "1.2.3.4", site.port, "api.example.com")
        guard.update(policy("other.example", version=3))
        assert "denied" in python_in(group, GET, "1.2.3.4", site.port, "api.example.com")
        with pytest.raises(KernelError) as caught:
            guard.update(policy(f"api.example.com:{site.port}", version=2))
        assert caught.value.code == "kernel_policy_refused"


def test_proxy_that_died_leaves_nothing_but_refusals(group: Cgroup, zone: Zone, site: Site) -> None:
    with NetworkGuard(
        group, policy(f"api.example.com:{site.port}"), on_denial=print, upstream=upstream(zone)
    ) as guard:
        guard._egress.stop()
        assert python_in(group, GET, "1.2.3.4", site.port, "api.example.com") == "ECONNREFUSED"


def test_agent_that_talks_to_the_proxy_itself_is_told_nothing(group: Cgroup, zone: Zone, site: Site) -> None:
    with NetworkGuard(
        group, policy(f"api.example.com:{site.port}"), on_denial=lambda _: None, upstream=upstream(zone)
    ) as guard:
        proxy = guard._egress.sockets.ports(socket.AF_INET)[0]
        # From outside of the cgroup nobody is served; from inside it is a connection like any other.
        with socket.create_connection(("127.0.0.1", proxy)) as outside:
            outside.sendall(b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert outside.recv(100) == b""
        assert "denied" in python_in(group, GET, "127.0.0.1", proxy, "api.example.com")
        # Thousands at once take what one agent may take, and others of it are served when they are gone.
        flood = """
            held = []
            for _ in range(2000):
                try:
                    s = socket.socket()
                    s.connect(("1.2.3.4", 80))
                    held.append(s)
                except OSError:
                    break
            print("done")
        """
        assert python_in(group, flood) == "done"
        wait_until(lambda: guard._egress._proxy.open == 0)
        assert "you asked" in python_in(group, GET, "1.2.3.4", site.port, "api.example.com")


def test_thousands_of_short_lived_processes_are_each_decided(group: Cgroup, zone: Zone) -> None:
    code = """
        failed = 0
        for _ in range(1000):
            pid = os.fork()
            if pid == 0:
                try:
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))
                except PermissionError:
                    os._exit(7)
                os._exit(0)
            failed += os.waitpid(pid, 0)[1] >> 8 == 7
        print(failed)
    """
    denials: list[Denial] = []
    with NetworkGuard(group, policy(), on_denial=denials.append, upstream=upstream(zone)) as guard:
        guard.arm()
        assert python_in(group, code) == "1000"
    assert 1 <= len(denials) < 10
    assert denials[0].target == "udp 192.0.2.1:9"
    assert denials[0].allow == '{effect: allow, actions: [net.connect], resources: ["host:192.0.2.1:9"]}'


def test_modes_that_only_tell_stop_nothing(group: Cgroup, zone: Zone, site: Site) -> None:
    denials: list[Denial] = []
    with NetworkGuard(group, policy(mode="warn"), on_denial=denials.append, upstream=upstream(zone)) as guard:
        guard.arm()
        assert "you asked for x" in python_in(group, GET, "127.0.0.1", site.port, "x")
        wait_until(lambda: denials)
    assert not denials[0].enforced
    assert denials[0].sentence().startswith(f"would be denied: tcp 127.0.0.1:{site.port} (python")


def test_rule_is_named_where_it_denies(group: Cgroup, zone: Zone) -> None:
    denials: list[Denial] = []
    rules = policy(
        networks=(NetRule("192.0.2.0/24", (), "deny", "no-lab"), NetRule("0.0.0.0/0", (), "allow", "all"))
    )
    with NetworkGuard(group, rules, on_denial=denials.append, upstream=upstream(zone)) as guard:
        guard.arm()
        code = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (argv[1], 9)); print('sent')"
        assert python_in(group, code, "192.0.2.7") == "EPERM"
        assert python_in(group, code, "127.0.0.1") == "sent"
        wait_until(lambda: denials)
    assert (denials[0].rule, denials[0].allow) == ("no-lab", "")


def test_kill_mode_ends_the_agent_at_its_first_denied_attempt(group: Cgroup, zone: Zone) -> None:
    code = """
        try:
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))
        except PermissionError:
            pass
        import time
        time.sleep(30)
        print("alive")
    """
    with NetworkGuard(group, policy(mode="kill"), on_denial=lambda _: None, upstream=upstream(zone)) as guard:
        guard.arm()
        assert python_in(group, code) == ""


@pytest.mark.parametrize(
    ("answer", "second"), [(Answer.RUN, "sent"), (Answer.DENY, "EPERM"), (Answer.KILL, "")]
)
def test_denied_datagram_freezes_the_agent_until_a_person_has_said(
    group: Cgroup, zone: Zone, answer: Answer, second: str
) -> None:
    asked: list[tuple[str, bool]] = []

    def ask(denial: Denial) -> Answer:
        asked.append((denial.target, guard._freezer.is_frozen()))
        return answer

    code = """
        import time
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            s.sendto(b"x", ("127.0.0.1", 9))
        except PermissionError:
            pass
        for _ in range(200):
            time.sleep(0.01)
            if os.path.exists(argv[1]):
                break
        s.sendto(b"x", ("127.0.0.1", 9))
        print("sent")
    """
    flag = f"/tmp/agentguard-test-{os.getpid()}"
    with NetworkGuard(
        group,
        policy(mode="freeze"),
        on_denial=lambda _: Path(flag).touch(),
        upstream=upstream(zone),
        ask=ask,
    ) as guard:
        guard.arm()
        assert python_in(group, code, flag) == second
    assert asked == [("udp 127.0.0.1:9", True)]


def test_connection_waits_frozen_until_its_name_was_approved(group: Cgroup, zone: Zone, site: Site) -> None:
    asked: list[str] = []

    def ask(denial: Denial) -> Answer:
        asked.append(denial.target)
        assert guard._freezer.is_frozen()
        return Answer.RUN if "api." in denial.target else Answer.DENY

    with NetworkGuard(
        group, policy(mode="freeze"), on_denial=lambda _: None, upstream=upstream(zone), ask=ask
    ) as guard:
        guard.arm()
        for _ in range(2):
            assert "you asked" in python_in(group, GET, "1.2.3.4", site.port, "api.example.com")
            assert "denied" in python_in(group, GET, "1.2.3.4", site.port, "evil.example.com")
    assert asked == [f"tcp api.example.com:{site.port}", f"tcp evil.example.com:{site.port}"]


def test_unix_socket_needs_a_rule_with_its_very_path(group: Cgroup, zone: Zone, tmp_path: Path) -> None:
    allowed, other = tmp_path / "a", tmp_path / "b"
    code = """
        s = socket.socket(socket.AF_UNIX)
        s.connect(argv[1].replace("@", "\\0"))
        print("connected")
    """
    denials: list[Denial] = []
    with (
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX) as two,
        socket.socket(socket.AF_UNIX) as three,
    ):
        for listener, path in ((one, str(allowed)), (two, str(other)), (three, f"\0lab-{os.getpid()}")):
            listener.bind(path)
            listener.listen()
        rules = policy(sockets=(UnixRule(str(allowed), "a"), UnixRule(f"@lab-{os.getpid()}", "b")))
        with NetworkGuard(group, rules, on_denial=denials.append, upstream=upstream(zone)) as guard:
            if "unix" in guard.missing:
                pytest.skip(guard.missing["unix"])
            guard.arm()
            assert python_in(group, code, allowed) == "connected"
            assert python_in(group, code, f"@lab-{os.getpid()}") == "connected"
            assert python_in(group, code, other) == "EPERM"
            assert python_in(group, code, f"{tmp_path}/./a") == "EPERM"
            assert python_in(group, code, f"@lab-{os.getpid()}2") == "EPERM"
            wait_until(lambda: len(denials) > 2)
    assert denials[0].target == f"unix {other}"
    assert denials[0].allow == f'{{effect: allow, actions: [file.write], resources: ["file:{other}"]}}'
