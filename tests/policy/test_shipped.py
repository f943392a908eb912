from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from agentguard.assembly import load_project
from agentguard.core import ConfigError, Effect, PolicyError, Severity
from agentguard.documents import read
from agentguard.policy import CompiledRule, Tier, shipped_rules
from agentguard.policy._sequence_compile import CompiledLimit, CompiledSequence

ROOT = Path(__file__).parents[2]


def compiler() -> Any:
    spec = importlib.util.spec_from_file_location("compile_catalogue", ROOT / "catalogue" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rules() -> list[CompiledRule]:
    return [each for each in shipped_rules() if isinstance(each, CompiledRule)]


def test_shipped_file_is_what_the_sources_compile_to() -> None:
    assert (ROOT / "src/agentguard/policy/shipped.json").read_bytes() == compiler().compile_rules()


def test_every_shipped_rule_is_mandatory_gated_and_explained() -> None:
    for rule in rules():
        assert rule.rule.tier is Tier.MANDATORY
        assert rule.needs_family is not None
        assert rule.rule.reason
        assert rule.rule.severity is not None
        assert (rule.effect is Effect.DENY) is (rule.rule.severity is Severity.CRITICAL)


def test_every_shipped_sequence_and_limit_asks_a_person_and_is_explained() -> None:
    entries = [each for each in shipped_rules() if isinstance(each, CompiledSequence | CompiledLimit)]
    assert len(entries) >= 14
    for entry in entries:
        assert entry.effect is Effect.REQUIRE_APPROVAL
        assert entry.severity is Severity.HIGH
        assert entry.rule.reason
        assert entry.rule.owner == "agentguard"


def test_every_shipped_sequence_and_limit_stops_a_case_and_is_documented() -> None:
    ids = {rule.id for rule in shipped_rules()} - {rule.id for rule in rules()}
    cases = read(ROOT / "tests/cases/correlation.yaml").value["cases"]
    stopped = [case["expect"]["rule"] for case in cases if case["expect"]["effect"] != "allow"]
    assert set(stopped) == ids
    assert len(stopped) <= len(cases) - len(stopped)
    documented = (ROOT / "docs/facts.md").read_text()
    assert [each for each in ids if f"| `{each}` |" not in documented] == []


def test_every_shipped_rule_decides_a_case_and_is_documented() -> None:
    ids = {rule.id for rule in rules()}
    cases = [
        case for path in (ROOT / "tests/cases").glob("facts-*.yaml") for case in read(path).value["cases"]
    ]
    decided = {case["expect"]["rule"] for case in cases}
    # High and low risk of one family share a parser: one of them stands for both where no catalogue action has both.
    untried = {each for each in ids - decided if each.endswith(("-unparsed", "-unread"))}
    assert ids - decided == untried
    documented = (ROOT / "docs/facts.md").read_text()
    assert [each for each in ids if f"| `{each}` |" not in documented] == []
    assert len(cases) >= 300
    assert sum(case["expect"]["effect"] == "allow" for case in cases) >= 150


def test_unknown_id_to_leave_out_is_refused() -> None:
    with pytest.raises(PolicyError, match="no shipped rule"):
        shipped_rules(without=["sql-drop"])


def project(folder: Path, settings: str) -> Any:
    (folder / "agentguard.yaml").write_text(f"project: {{id: some-project}}\n{settings}")
    (folder / "inventory.yaml").write_text("resources: []\n")
    (folder / "policies").mkdir()
    (folder / "policies" / "a.yaml").write_text("version: 1\nrules:\n  - {id: own, effect: allow}\n")
    return load_project(folder, {})


def test_project_holds_the_shipped_rules_unless_it_says_otherwise(tmp_path: Path) -> None:
    count = len(rules())
    for at, (settings, expected) in enumerate(
        [
            ("", count + 1),
            ("policy: {shipped: false}\n", 1),
            ("policy: {without: [shipped.net-night]}\n", count),
        ]
    ):
        folder = tmp_path / str(at)
        folder.mkdir()
        assert len(project(folder, settings).policies.current.rules) == expected


def test_sequence_is_left_out_by_its_name_and_changes_the_version(tmp_path: Path) -> None:
    versions = set()
    for name in ("shipped.fan-out", "shipped.odd-hours"):
        folder = tmp_path / name
        folder.mkdir()
        current = project(folder, f"policy: {{without: [{name}]}}\n").policies.current
        assert name not in {each.id for each in current.sequences.entries}
        versions.add(current.version)
    folder = tmp_path / "all"
    folder.mkdir()
    current = project(folder, "").policies.current
    assert {"shipped.fan-out", "shipped.odd-hours"} <= {each.id for each in current.sequences.entries}
    assert len(versions | {current.version}) == 3


def test_shipped_sequences_lint_clean_in_a_project_without_the_catalogue(tmp_path: Path) -> None:
    alone = project(tmp_path, "registry: {catalogue: false}\n")
    entries = {each.id for each in alone.policies.current.sequences.entries}
    assert entries
    assert [each for each in alone.lint() if each.rule in entries] == []


def test_project_without_surprises_lints_clean(tmp_path: Path) -> None:
    assert [each for each in project(tmp_path, "").lint() if each.rule.startswith("shipped.")] == []


def test_host_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no host name"):
        project(tmp_path, "facts: {allowed_hosts: ['https://a.example']}\n")
