from __future__ import annotations

import ipaddress
import random
import socket
from typing import TYPE_CHECKING

import pytest

from agentguard.core import ConfigError, KernelError
from agentguard.kernel import _pins as pins
from agentguard.kernel._pins import clean_pins, pin_folder, pin_root, remove_pins
from agentguard.kernel._rules import NetRule, UnixRule
from agentguard.kernel.egress import _layout as layout
from agentguard.kernel.egress._addresses import AddressTable, effect_of
from agentguard.kernel.egress._enforcer import Listening, NetEnforcer
from agentguard.kernel.egress._layout import NetCount, NetEffect
from egress_lab import cgroup, policy, python_in, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.kernel._cgroups import Cgroup

pytestmark = pytest.mark.kernel
UDP = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect((argv[1], int(argv[2]))); print('done')"

UDP6 = """
for family, host in ((socket.AF_INET, argv[1]), (socket.AF_INET6, argv[3])):
    for _ in range(3):
        socket.socket(family, socket.SOCK_DGRAM).connect((host, int(argv[2])))
print('done')
"""


@pytest.fixture
def group() -> Iterator[Cgroup]:
    with cgroup() as made:
        yield made


def test_nothing_is_let_through_before_there_are_rules(group: Cgroup) -> None:
    with NetEnforcer(group) as enforcer:
        assert python_in(group, UDP, "127.0.0.1", 9) == "EPERM"
        assert enforcer.counts()[NetCount.DENIED] == 1
    assert python_in(group, UDP, "127.0.0.1", 9) == "done"


def test_rules_outlive_who_made_them_and_are_taken_over(group: Cgroup) -> None:
    allow = NetRule("127.0.0.1/32", (9,), "allow", "lab")
    first = NetEnforcer(group)
    first.update(
        policy(
            networks=(allow, NetRule("2001:db8::/32", (), "deny", "x")),
            sockets=(UnixRule("/run/x.sock", "x"),),
        )
    )
    first.close()
    assert python_in(group, UDP, "127.0.0.1", 9) == "done"
    assert python_in(group, UDP, "127.0.0.2", 9) == "EPERM"
    with NetEnforcer(group) as second:
        assert second.taken_over
        assert python_in(group, UDP, "127.0.0.1", 9) == "done"
        second.update(policy(networks=(NetRule("127.0.0.2/32", (9, 10), "allow", "lab"),)))
        assert python_in(group, UDP, "127.0.0.1", 9) == "EPERM"
        assert python_in(group, UDP, "127.0.0.2", 10) == "done"
    assert not pin_folder(group).exists()
    assert python_in(group, UDP, "127.0.0.9", 9) == "done"


def test_pins_that_are_not_whole_are_made_anew(group: Cgroup) -> None:
    NetEnforcer(group).close()
    (pin_folder(group) / "complete").unlink()
    with NetEnforcer(group) as enforcer:
        assert not enforcer.taken_over
        assert python_in(group, UDP, "127.0.0.1", 9) == "EPERM"


def test_pins_of_another_version_are_left_to_hold(group: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    with NetEnforcer(group):
        monkeypatch.setattr(layout, "VERSION", 2)
        with pytest.raises(KernelError, match="another version"):
            NetEnforcer(group)


def test_pins_of_cgroups_that_are_gone_are_removed(group: Cgroup) -> None:
    kept = NetEnforcer(group)
    with cgroup() as other:
        folder = pin_folder(other)
        NetEnforcer(other).close()
        assert other.path.name not in clean_pins()
        assert folder.exists()
    wait_until(lambda: clean_pins() and not folder.exists())
    assert pin_folder(group).exists()
    kept.remove()
    remove_pins(folder)


def test_place_without_bpffs_gets_one_or_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert pin_root().is_dir()
    monkeypatch.setattr(pins, "_SYSTEM", tmp_path)
    monkeypatch.setattr(pins, "_OURS", tmp_path / "file" / "bpf")
    (tmp_path / "file").write_text("x")
    with pytest.raises(KernelError) as caught:
        pin_root()
    assert caught.value.code == "bpffs_missing"


@pytest.mark.parametrize(
    "rules",
    [
        policy(sockets=(UnixRule("relative.sock", "x"),)),
        policy(sockets=(UnixRule("/" + "x" * 107, "x"),)),
        policy(sockets=tuple(UnixRule(f"/run/{number}", "x") for number in range(2000))),
        policy(networks=(NetRule("nonsense", (), "allow", "x"),)),
    ],
)
def test_rules_that_cannot_be_held_change_nothing(group: Cgroup, rules: object) -> None:
    with NetEnforcer(group) as enforcer:
        enforcer.update(policy(networks=(NetRule("127.0.0.1/32", (9,), "allow", "lab"),)))
        with pytest.raises(ConfigError):
            enforcer.update(rules)  # type: ignore[arg-type]  # as the table has them
        assert python_in(group, UDP, "127.0.0.1", 9) == "done"


def test_kernel_decides_as_the_rules_say(group: Cgroup) -> None:
    chance = random.Random(7)
    networks = []
    for _ in range(300):
        bits = chance.choice((8, 12, 16, 24, 30, 32))
        number = chance.getrandbits(32) & 0x00FFFFFF | 0x7F000000
        prefix = ipaddress.IPv4Network((number >> (32 - bits) << (32 - bits), bits))
        ports = tuple(chance.sample(range(1, 6), chance.choice((0, 1, 2))))
        networks.append(
            NetRule(str(prefix), ports, chance.choice(("allow", "deny", "require_approval")), "r")
        )
    table = AddressTable(networks)
    wanted = []
    for _ in range(1500):
        network = ipaddress.ip_network(chance.choice(networks).prefix)
        address = ipaddress.IPv4Address(int(network[0]) + chance.randrange(network.num_addresses))
        wanted.append((str(address), chance.randrange(1, 7)))
    code = """
        for each in argv[1].split():
            host, port = each.rsplit(":", 1)
            said = []
            for family, shown in ((socket.AF_INET, host), (socket.AF_INET6, "::ffff:" + host)):
                with socket.socket(family, socket.SOCK_DGRAM) as s:
                    try:
                        s.connect((shown, int(port)))
                        said.append("1")
                    except PermissionError:
                        said.append("0")
            print("".join(said), end=" ")
    """
    with NetEnforcer(group) as enforcer:
        enforcer.update(policy(networks=tuple(networks)))
        said = python_in(group, code, " ".join(f"{host}:{port}" for host, port in wanted)).split()
    for (host, port), each in zip(wanted, said, strict=True):
        allowed = effect_of(table.verdict(ipaddress.ip_address(host), port)) is NetEffect.ALLOW
        assert each == ("11" if allowed else "00"), (host, port)


def test_kernel_decides_about_ipv6_as_the_rules_say_each_time(group: Cgroup) -> None:
    chance = random.Random(8)
    networks = []
    for _ in range(200):
        bits = chance.choice((16, 32, 48, 64, 65, 96, 128))
        number = 0x20010DB8 << 96 | chance.getrandbits(96)
        prefix = ipaddress.IPv6Network((number >> (128 - bits) << (128 - bits), bits))
        networks.append(
            NetRule(str(prefix), chance.choice(((), (1,), (2, 3))), chance.choice(("allow", "deny")), "r")
        )
    table = AddressTable(networks)
    wanted = []
    for _ in range(400):
        network = ipaddress.ip_network(chance.choice(networks).prefix)
        wanted.append(
            (str(network[chance.randrange(min(network.num_addresses, 1 << 62))]), chance.randrange(1, 5))
        )
    code = """
        for each in argv[1].split() * 3:
            host, port = each.rsplit("|", 1)
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
                try:
                    s.connect((host, int(port)))
                    print(1, end=" ")
                except OSError as error:
                    print(int(error.errno != errno.EPERM), end=" ")
    """
    with NetEnforcer(group) as enforcer:
        enforcer.update(policy(networks=tuple(networks)))
        said = python_in(group, code, " ".join(f"{host}|{port}" for host, port in wanted)).split()
    for (host, port), each in zip(wanted * 3, said, strict=True):
        allowed = effect_of(table.verdict(ipaddress.ip_address(host), port)) is NetEffect.ALLOW
        assert each == str(int(allowed)), (host, port)


def test_what_was_allowed_is_forgotten_with_each_change_of_the_rules(group: Cgroup) -> None:
    allow = policy(
        networks=(NetRule("127.0.0.1/32", (9,), "allow", "a"), NetRule("::1/128", (), "allow", "b"))
    )
    with NetEnforcer(group) as enforcer:
        # Close to the end of the numbers, which then begin again.
        enforcer._generation = layout.GENERATIONS - 4
        for _ in range(4):
            enforcer.update(allow)
            assert python_in(group, UDP6, "127.0.0.1", 9, "::1") == "done"
            enforcer.update(policy())
            assert python_in(group, UDP, "127.0.0.1", 9) == "EPERM"
            assert python_in(group, UDP.replace("AF_INET", "AF_INET6"), "::1", 9) == "EPERM"


def test_proxy_that_listens_nowhere_is_no_way_out(group: Cgroup) -> None:
    with NetEnforcer(group) as enforcer, socket.create_server(("127.0.0.1", 0)) as listener:
        enforcer.update(policy("a.example"), Listening(proxy6=listener.getsockname()[1]))
        code = "socket.create_connection((argv[1], 80)); print('done')"
        assert python_in(group, code, "192.0.2.1") == "EPERM"
        assert enforcer.take_flow("127.0.0.1", 1) is None


def test_shapes_of_maps_are_those_of_the_header() -> None:
    shapes = (
        layout.NET_CONFIG,
        layout.LPM4,
        layout.LPM6,
        layout.PREFIX,
        layout.PORT,
        layout.END,
        layout.FLOW,
        layout.UNIX,
    )
    assert [each.size for each in shapes] == [24, 8, 20, 8, 8, 20, 32, 112]
