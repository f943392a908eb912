from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.core import ConfigError, Principal
from agentguard.facts import FactExtractor
from agentguard.kernel._rules import DomainRule, NetRule, PathRule, UnixRule
from agentguard.kernel.jail import Sources, Wanted, compile_policy, find_profile
from agentguard.kernel.jail._compile import SECRETS_RULE
from agentguard.kernel.jail._plan import OWN_RULE, decide, resolve
from agentguard.policy import PolicySet, parse_policies, shipped_rules
from agentguard.registry import Inventory, load_actions

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.kernel._rules import PathAccess
    from agentguard.kernel.jail import Compiled

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AGENT = Principal("agent", roles=("coder",))


def compiled(rules: str = "", *, shipped: bool = False, **wanted: Any) -> Compiled:
    """Compile rules and an offline profile without a home."""
    own = parse_policies(f"version: 1\nrules:\n{rules}").rules if rules else ()
    found = Sources(
        PolicySet([*own, *(shipped_rules() if shipped else ())]),
        load_actions([], catalogue=True),
        Inventory.build([], []),
        FactExtractor(),
        AGENT,
        NOW,
    )
    asked = {"home": "", "path_variable": "", **wanted}
    return compile_policy(found, Wanted(find_profile("offline"), **asked), version=3)


def rules_of(made: Compiled, rule: str) -> list[PathRule]:
    return [each for each in made.policy.paths if each.rule == rule]


def decided(made: Compiled, path: Path | str, access: PathAccess) -> tuple[str, str] | None:
    rule = decide(resolve(made.policy), str(path), access)
    return None if rule is None else (rule.effect, rule.rule)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{id: r, effect: allow, actions: [file.read], resources: ["file:/srv/data/**"]}',
            [PathRule("/srv/data", ("read",), "allow", "r")],
        ),
        (
            '{id: r, effect: allow, actions: ["file.*"], resources: ["file:/srv/x/**"]}',
            [PathRule("/srv/x", ("read",), "allow", "r"), PathRule("/srv/x", ("write",), "allow", "r")],
        ),
        (
            '{id: r, effect: deny, actions: [process.exec], resources: ["process:/usr/bin/docker"]}',
            [PathRule("/usr/bin/docker", ("read", "execute"), "deny", "r")],
        ),
        (
            '{id: r, effect: require_approval, actions: [file.delete], resources: ["file:/srv/db/**"]}',
            [PathRule("/srv/db", ("write",), "require_approval", "r")],
        ),
        ('{id: r, effect: allow, actions: [file.delete], resources: ["file:/srv/db/**"]}', []),
        (
            '{id: r, effect: allow, actions: [file.read], principals: [{role: writer}], resources: ["file:/a/**"]}',
            [],
        ),
        (
            '{id: r, effect: allow, actions: [file.read], principals: [{role: coder}], resources: ["file:/a/**"]}',
            [PathRule("/a", ("read",), "allow", "r")],
        ),
        (
            '{id: r, effect: allow, actions: [file.read], expires: "2026-01-01", resources: ["file:/a/**"]}',
            [],
        ),
        ("{id: r, effect: allow, actions: [file.read], resources: [prod/api]}", []),
        ("{id: r, effect: allow, actions: [file.read]}", [PathRule("/", ("read",), "allow", "r")]),
    ],
)
def test_rule_becomes_what_the_kernel_can_hold(text: str, expected: list[PathRule]) -> None:
    made = compiled(f"  - {text}")
    assert sorted(rules_of(made, "r"), key=str) == sorted(expected, key=str)
    assert made.policy.version == 3
    assert made.policy.policy_version.startswith("sha256:")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ('{id: r, effect: allow, actions: [file.read], resources: ["file:/a/**"], when: {context: {ticket: present}}}', "permits nothing there"),
        ('{id: r, effect: allow, actions: [file.read], resources: ["file:/a/**"], obligations: [{max_bytes: 9}]}', "permits nothing there"),
        ("{id: r, effect: allow, actions: [file.read], resources: [{environment: prod}]}", "what the inventory says"),
        ('{id: r, effect: allow, actions: [file.read], resources: ["file:/nowhere/*.md"]}', "what is there now, and no more"),
        ('{id: r, effect: deny, actions: [file.read], resources: ["file:/nowhere/*.md"]}', "not what is made later"),
        ('{id: r, effect: deny, actions: [file.read], resources: ["file:/a/**"], when: {params: {encoding: binary}}}', "in the kernel always"),
        ("{id: r, effect: deny, actions: [file.read], when: {params: {encoding: binary}}}", "where the agent asks"),
        ('{id: r, effect: allow, actions: [net.connect], resources: ["host:api-*.example.com:443"]}', "knows `example.com`"),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed_is_on_the_stricter_side_and_said(text: str, note: str) -> None:
    made = compiled(f"  - {text}")
    assert any("`r`" in each and note in each for each in made.notes)
    assert not [each for each in rules_of(made, "r") if each.effect == "allow"]
    assert not {each.rule for each in made.policy.domains} | {each.rule for each in made.policy.networks}


def test_transformation_cannot_be_made_so_it_is_a_denial() -> None:
    text = '{id: r, effect: transform, actions: [file.write], resources: ["file:/a/**"], transform: [{op: drop, path: /mode}]}'
    (only,) = rules_of(compiled(f"  - {text}"), "r")
    assert (only.effect, only.access) == ("deny", ("write",))


@pytest.mark.parametrize(
    ("resource", "domains", "networks"),
    [
        ("host:api.example.com:443", [DomainRule("api.example.com", (443,), "r")], []),
        ("host:*.example.com:443", [DomainRule("*.example.com", (443,), "r")], []),
        ("host:example.com", [DomainRule("example.com", (), "r")], []),
        ("host:10.0.0.7:5432", [], [NetRule("10.0.0.7/32", (5432,), "allow", "r")]),
        ("host:**", [], [NetRule("0.0.0.0/0", (), "allow", "r"), NetRule("::/0", (), "allow", "r")]),
    ],
)
def test_rule_about_hosts_becomes_names_and_prefixes(
    resource: str, domains: list[DomainRule], networks: list[NetRule]
) -> None:
    made = compiled(f'  - {{id: r, effect: allow, actions: [net.connect], resources: ["{resource}"]}}')
    assert [each for each in made.policy.domains if each.rule == "r"] == domains
    assert [each for each in made.policy.networks if each.rule == "r"] == networks


def test_address_that_is_denied_stands_beside_what_is_allowed() -> None:
    rules = (
        '  - {id: open, effect: allow, actions: [net.connect], resources: ["host:**"]}\n'
        '  - {id: ban, effect: deny, actions: [net.connect], resources: ["host:10.0.0.7:22"]}'
    )
    assert NetRule("10.0.0.7/32", (22,), "deny", "ban") in compiled(rules).policy.networks


def test_socket_that_may_be_written_to_may_be_connected_to() -> None:
    made = compiled('  - {id: r, effect: allow, actions: [file.write], resources: ["file:/run/app.sock"]}')
    assert made.policy.sockets == (UnixRule("/run/app.sock", "r"),)


def test_mandatory_ban_is_not_opened_by_a_rule_or_an_option(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir()
    rules = (
        f'  - {{id: ban, tier: mandatory, effect: deny, actions: [file.read], resources: ["file:{shut}/**"]}}\n'
        f'  - {{id: open, effect: allow, actions: [file.read], resources: ["file:{shut}/**"]}}'
    )
    made = compiled(rules, read_only=(str(shut),))
    assert rules_of(made, "open") == []
    assert decided(made, shut, "read") == ("deny", "ban")
    assert any("rule `ban` is against it" in each for each in made.notes)


def test_more_specific_permission_opens_what_an_ordinary_ban_shuts(tmp_path: Path) -> None:
    (tmp_path / "shut" / "open").mkdir(parents=True)
    rules = (
        f'  - {{id: ban, effect: deny, actions: [file.read], resources: ["file:{tmp_path}/shut/**"]}}\n'
        f'  - {{id: open, effect: allow, actions: [file.read], resources: ["file:{tmp_path}/shut/open/**"]}}'
    )
    made = compiled(rules)
    assert decided(made, tmp_path / "shut/x", "read") == ("deny", "ban")
    assert decided(made, tmp_path / "shut/open/x", "read") == ("allow", "open")


def test_secrets_are_shut_by_the_rule_that_says_so_or_by_the_profile(tmp_path: Path) -> None:
    for name in (".ssh/id_rsa", ".aws/credentials", ".mozilla/x", "work/.env"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    rule = f'  - {{id: keys, tier: mandatory, effect: require_approval, resources: ["file:{tmp_path}/.ssh"]}}'
    made = compiled(rule, shipped=True, home=str(tmp_path), workspace=str(tmp_path / "work"))
    assert decided(made, tmp_path / ".ssh/id_rsa", "read") == ("require_approval", "keys")
    assert decided(made, tmp_path / ".mozilla/x", "read") == ("deny", SECRETS_RULE)
    assert decided(made, "/etc/shadow", "read") == ("deny", "shipped.path-secret")
    # In the workspace, secrets are the agent's to work with.
    assert decided(made, tmp_path / "work/.env", "read") == ("allow", "profile.offline")


def test_secret_that_is_named_on_the_command_line_opens_unless_a_rule_is_against_it(tmp_path: Path) -> None:
    for name in (".mozilla", ".ssh"):
        (tmp_path / name).mkdir()
    named = (str(tmp_path / ".mozilla"), str(tmp_path / ".ssh"))
    rule = f'  - {{id: keys, tier: mandatory, effect: deny, resources: ["file:{tmp_path}/.ssh"]}}'
    made = compiled(rule, home=str(tmp_path), read_only=named)
    assert decided(made, tmp_path / ".mozilla/x", "read") == ("allow", "--ro")
    assert decided(made, tmp_path / ".ssh/x", "read") == ("deny", "keys")


def test_agentguards_own_is_shut_even_where_all_else_may_be_changed(tmp_path: Path) -> None:
    for name in ("audit", "policies"):
        (tmp_path / name).mkdir()
    made = compiled(
        read_write=(str(tmp_path),), hidden=(str(tmp_path / "audit"),), fixed=(str(tmp_path / "policies"),)
    )
    assert decided(made, tmp_path / "audit/x", "read") == ("deny", OWN_RULE)
    assert decided(made, tmp_path / "policies/x", "write") == ("deny", OWN_RULE)
    assert decided(made, tmp_path / "policies/x", "read") == ("allow", "--rw")
    assert decided(made, tmp_path / "src", "write") == ("allow", "--rw")


def test_without_a_project_there_is_the_profile_alone(tmp_path: Path) -> None:
    wanted = Wanted(
        find_profile("coding-agent"), home=str(tmp_path), path_variable=f"{tmp_path}/tool/bin:rel:/"
    )
    made = compile_policy(None, wanted)
    assert (made.policy.policy_version, made.policy.principal) == ("", "")
    assert decided(made, tmp_path / "tool/lib", "execute") == ("allow", "profile.coding-agent")
    assert decided(made, "/usr/bin/env", "execute") == ("allow", "profile.coding-agent")
    assert decided(made, "/usr/bin/env", "write") is None
    assert decided(made, "/dev/null", "write") == ("allow", "profile.coding-agent")
    assert decided(made, "/anything", "read") is None


def test_unknown_profile_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no profile `x`") as caught:
        find_profile("x")
    assert caught.value.hint is not None
    assert "coding-agent" in caught.value.hint
