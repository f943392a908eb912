from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentguard.config import Config, Thresholds, load_config
from agentguard.core import ConfigError, DocumentError

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = "project: {id: demo-1234}\n"


def write(folder: Path, text: str) -> Path:
    (folder / "agentguard.yaml").write_text(text, encoding="utf-8")
    return folder


def test_minimal_file_gets_every_default(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL), {})
    assert config.project.id == "demo-1234"
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8787)
    assert config.server.max_body_bytes == 262_144
    assert config.server.read_timeout_s == 10
    assert config.audit.durability == "os"
    assert config.policy.strict is False
    assert config.registry.catalogue is True
    assert config.identity.token_ttl_s == 3600
    assert config.identity.hs256 is False
    assert config.identity.audience == "agentguard"
    assert config.client.deadline_s == 2.0
    assert config.log.level == "info"
    assert config.risk.thresholds("prod") == Thresholds(approval_from=9, deny_from=16)


def test_paths_are_relative_to_the_project_folder(tmp_path: Path) -> None:
    text = MINIMAL + "audit: {folder: /var/log/ag}\nregistry: {actions: acts, inventory: inv.yaml}\n"
    config = load_config(write(tmp_path, text), {})
    assert str(config.audit_folder) == "/var/log/ag"
    assert config.policy_folder == tmp_path / "policies"
    assert config.actions_folder == tmp_path / "acts"
    assert config.inventory_file == tmp_path / "inv.yaml"


def test_relative_project_folder_gives_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, MINIMAL)
    monkeypatch.chdir(tmp_path.parent)
    config = load_config(tmp_path.relative_to(tmp_path.parent), {})
    assert config.folder == tmp_path


def test_environment_thresholds_replace_the_general_ones(tmp_path: Path) -> None:
    text = MINIMAL + "risk: {environments: {prod: {approval_from: 4, deny_from: 12}}}\n"
    risk = load_config(write(tmp_path, text), {}).risk
    assert risk.thresholds("prod") == Thresholds(4, 12)
    assert risk.thresholds("staging") == Thresholds(9, 16)


def test_missing_file_hints_at_init(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path, {})
    assert caught.value.code == "config_missing"
    assert "agentguard init" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "line", "field", "message"),
    [
        ("server: {port: 1}\n", 1, None, "missing required field `project`"),
        ("", 1, None, "expected `object`"),
        (MINIMAL + "servr: {}\n", 2, "servr", "unknown key `servr`"),
        (MINIMAL + "server:\n  prot: 1\n", 3, "server.prot", "unknown key `prot`"),
        (MINIMAL + "server:\n  port: 0\n", 3, "server.port", ">= 1"),
        (MINIMAL + "server:\n  port: 65536\n", 3, "server.port", "<= 65535"),
        (MINIMAL + "server: {port: '80'}\n", 2, "server.port", "expected `int`"),
        (MINIMAL + "server: {host: ''}\n", 2, "server.host", "length >= 1"),
        (MINIMAL + "server: {allowed_hosts: []}\n", 2, "server.allowed_hosts", "length >= 1"),
        (MINIMAL + "server: {read_timeout_s: 0}\n", 2, "server.read_timeout_s", "> 0"),
        (MINIMAL + "identity: {token_ttl_s: 86401}\n", 2, "identity.token_ttl_s", "<= 86400"),
        (MINIMAL + "identity: {token_ttl_s: 0}\n", 2, "identity.token_ttl_s", ">= 1"),
        (MINIMAL + "audit: {durability: none}\n", 2, "audit.durability", "invalid enum value"),
        (MINIMAL + "risk: {approval_from: 18}\n", 2, "risk.approval_from", "<= 17"),
        (MINIMAL + "risk:\n  approval_from: 9\n  deny_from: 8\n", 4, "risk.deny_from", "below"),
        (
            MINIMAL + "risk: {environments: {prod: {approval_from: 9, deny_from: 4}}}\n",
            2,
            "risk.environments.prod.deny_from",
            "below",
        ),
        ("project: {id: ../x}\n", 1, "project.id", "matching regex"),
        ('project: {id: "demo\\n"}\n', 1, "project.id", "matching regex"),
        (MINIMAL + "project: {id: other}\n", 2, "project", "duplicate key"),
    ],
)
def test_wrong_file_is_refused_with_its_place(
    tmp_path: Path, text: str, line: int, field: str | None, message: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        load_config(write(tmp_path, text), {})
    location = caught.value.location
    assert location is not None
    assert (location.file, location.line, location.field) == ("agentguard.yaml", line, field)
    assert message in caught.value.message


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    environ = {
        "AGENTGUARD_SERVER_PORT": "9000",
        "AGENTGUARD_SERVER_ALLOWED_HOSTS": "guard.example, localhost",
        "AGENTGUARD_POLICY_STRICT": "true",
        "AGENTGUARD_CLIENT_DEADLINE_S": "0.5",
        "AGENTGUARD_AUDIT_DURABILITY": "record",
        "AGENTGUARD_TOKEN": "belongs to the client",
        "SERVER_PORT": "1",
    }
    config = load_config(write(tmp_path, MINIMAL + "server: {port: 8000, host: '::1'}\n"), environ)
    assert (config.server.port, config.server.host) == (9000, "::1")
    assert config.server.allowed_hosts == ("guard.example", "localhost")
    assert config.policy.strict is True
    assert config.client.deadline_s == 0.5
    assert config.audit.durability == "record"


@pytest.mark.parametrize(
    ("variable", "value", "message", "hint"),
    [
        ("AGENTGUARD_SERVER_PROT", "1", "unknown setting", "AGENTGUARD_SERVER_PORT"),
        ("AGENTGUARD_IDENTITY", "1", "unknown setting", "AGENTGUARD_IDENTITY_"),
        ("AGENTGUARD_SERVER_PORT", "0", ">= 1", "1 to 65535"),
        ("AGENTGUARD_AUDIT_DURABILITY", "never", "invalid enum value", "one of group, os, record"),
        ("AGENTGUARD_SERVER_PORT", "http", "expected `int`", None),
        ("AGENTGUARD_POLICY_STRICT", "maybe", "expected `bool`", None),
        ("AGENTGUARD_SERVER_ALLOWED_HOSTS", "a,,b", "length >= 1", None),
        ("AGENTGUARD_RISK_ENVIRONMENTS", "{}", "cannot be set", "agentguard.yaml"),
    ],
)
def test_wrong_variable_is_refused_by_name(
    tmp_path: Path, variable: str, value: str, message: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, MINIMAL), {variable: value})
    assert caught.value.code == "config_variable"
    assert str(caught.value.location) == variable
    assert message in caught.value.message
    assert (hint or "") in (caught.value.hint or "")


def test_contradiction_made_by_the_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, MINIMAL), {"AGENTGUARD_RISK_DENY_FROM": "3"})


def test_every_setting_has_type_default_and_description() -> None:
    settings = Config.settings()
    assert len({(each.section, each.key) for each in settings}) == len(settings) > 20
    assert all(each.description and each.type for each in settings)
    assert [each.key for each in settings if each.required] == ["id"]
    port = next(each for each in settings if each.key == "port")
    assert (port.type, port.default, port.variable) == ("integer, 1 to 65535", 8787, "AGENTGUARD_SERVER_PORT")
    texts = {each.key: each.type for each in settings}
    assert texts["durability"] == "one of group, os, record"
    assert texts["read_timeout_s"] == "number, above 0 to 300"
    assert texts["allowed_hosts"] == "list of texts"
    assert texts["strict"] == "boolean"
    assert next(each for each in settings if each.key == "environments").variable is None
