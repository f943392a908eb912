"""The catalogue that ships: complete, valid, and the one that its sources compile to."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import pytest

from agentguard.core import Access, Action, IntegrityError, Risk, Role
from agentguard.registry import ActionRegistry, load_actions, verify_catalogue
from agentguard.registry import _catalogue as module

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = load_actions([])
ACTIONS = list(REGISTRY)
KUBERNETES = [
    "restart-deployment",
    "scale-deployment",
    "rollout-status",
    "rollout-undo",
    "update-image",
    "pause-deployment",
    "delete-deployment",
    "delete-pod",
    "read-pod-logs",
    "exec-in-pod",
    "port-forward-pod",
    "copy-pod-files",
    "cordon-node",
    "uncordon-node",
    "drain-node",
    "taint-node",
    "create-namespace",
    "delete-namespace",
    "get-configmap",
    "update-configmap",
    "get-secret",
    "update-secret",
    "scale-autoscaler",
    "limit-autoscaler",
    "apply-network-policy",
    "delete-network-policy",
    "create-job",
    "delete-job",
    "bind-role",
    "delete-volume-claim",
]

every_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)


def test_catalogue_holds_thirty_kubernetes_and_forty_one_general_actions_and_those_on_models_and_ourselves() -> (
    None
):
    kubernetes = {action.name for action in ACTIONS if "kubernetes" in action.tags}
    assert kubernetes == set(KUBERNETES)
    assert len(KUBERNETES) == 30
    own = {action.name for action in ACTIONS if "agentguard" in action.tags}
    assert own == {"flow.declassify", "flow.endorse"}
    models = {action.name for action in ACTIONS if "llm" in action.tags}
    assert models == {
        "llm.api",
        "llm.chat",
        "llm.embed",
        "llm.hosted-tool",
        "llm.media",
        "llm.models",
        "llm.moderate",
    }
    general = [action.name for action in ACTIONS if action.name not in kubernetes | own | models]
    assert len(general) == 41
    assert all("." in name for name in general)
    assert len(REGISTRY) == 80


def test_checked_in_catalogue_is_what_the_sources_compile_to() -> None:
    spec = importlib.util.spec_from_file_location("catalogue_compile", ROOT / "catalogue" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    content = script.compile_catalogue()
    assert module.CATALOGUE.read_bytes() == content, "run: python catalogue/compile.py"
    digest = Path(module.__file__).with_name("_catalogue_digest.py")
    assert digest.read_text(encoding="utf-8") == script.digest_module(content)


def test_compiled_catalogue_passes_every_check_again() -> None:
    assert ActionRegistry.build(ACTIONS).digest == REGISTRY.digest


@every_action
def test_example_is_valid_and_an_unknown_parameter_is_refused(action: Action) -> None:
    compiled = REGISTRY.resolve(action.reference)
    assert compiled is not None
    examples = action.params["examples"]
    assert examples
    for example in examples:
        assert compiled.check(example) is None
        reason = compiled.check({**example, "surplus": 1})
        assert reason is not None
        assert "unknown parameter `surplus`" in reason


@every_action
def test_required_parameters_are_required(action: Action) -> None:
    compiled = REGISTRY.resolve(action.reference)
    assert compiled is not None
    for name in action.params.get("required", ()):
        example = {key: value for key, value in action.params["examples"][0].items() if key != name}
        reason = compiled.check(example)
        assert reason is not None


@every_action
def test_action_says_what_a_person_needs(action: Action) -> None:
    assert len(action.description) > 10
    assert action.resource_types
    assert action.required_privileges
    assert action.tags
    assert action.prechecks or action.risk in (Risk.LOW, Risk.MEDIUM)
    for schema in action.params["properties"].values():
        assert schema["description"]


@every_action
def test_read_only_form_takes_the_same_target_and_risks_no_more(action: Action) -> None:
    if action.read_only_form is None:
        return
    form = REGISTRY.resolve(action.read_only_form)
    own = REGISTRY.resolve(action.reference)
    assert form is not None
    assert own is not None
    assert "read-only" in form.action.tags
    assert form.risk_weight <= own.risk_weight
    kept = {key: value for key, value in action.params["examples"][0].items() if key in form.param_names}
    assert form.check(kept) is None


def test_values_that_must_stay_secret_are_marked() -> None:
    secrets = {action.name: REGISTRY.resolve(action.name) for action in ACTIONS}
    found = {
        name: each.secret_paths for name, each in secrets.items() if each is not None and each.secret_paths
    }
    assert found["update-secret"] == (("data", "*"),)
    assert found["http.post"] == (("headers", "*"),)
    assert found["payment.transfer"] == (("from_account",), ("to_account",))
    assert {
        "exec-in-pod",
        "create-job",
        "process.exec",
        "http.get",
        "http.delete",
        "browser.submit",
    } <= found.keys()


REFUSED = [
    ("scale-deployment", {"namespace": "prod", "deployment": "api", "replicas": 101}),
    ("scale-deployment", {"namespace": "Prod", "deployment": "api", "replicas": 1}),
    ("restart-deployment", {"namespace": "prod", "deployment": "api; rm -rf /"}),
    ("update-image", {"namespace": "p", "deployment": "a", "container": "a", "image": "a b"}),
    ("sql.query", {"statement": "DROP TABLE orders"}),
    ("sql.query", {"statement": "SELECT 1; DROP TABLE orders"}),
    ("mail.send", {"to": "nobody", "subject": "s", "body": "b"}),
    ("mail.send", {"to": ["a@example.com", "nobody"], "subject": "s", "body": "b"}),
    ("mail.send", {"to": "a@example.com", "subject": "s\r\nBcc: x@example.com", "body": "b"}),
    ("process.exec", {"argv": []}),
    ("process.signal", {"pid": 1}),
    ("process.signal", {"pid": -1}),
    ("http.get", {"url": "file:///etc/passwd"}),
    ("http.get", {"headers": {"X": "a\r\nY: b"}}),
    ("git.clone", {"url": "ext::sh -c id"}),
    ("git.push", {"remote": "--upload-pack=id", "branch": "main"}),
    ("file.read", {"path": "a\x00b"}),
    ("file.write", {"path": "a", "permissions": "4755"}),
    ("scale-autoscaler", {"namespace": "p", "autoscaler": "a"}),
]


@pytest.mark.parametrize(("name", "params"), REFUSED)
def test_hostile_or_senseless_parameters_are_refused(name: str, params: dict[str, object]) -> None:
    compiled = REGISTRY.resolve(name)
    assert compiled is not None
    assert compiled.check(params) is not None


TAKEN = [
    ("file.read", {}),
    ("mail.send", {"to": "a@example.com", "subject": "s", "body": "b"}),
    ("sql.query", {"statement": "  with t as (select 1) select * from t;"}),
    ("net.connect", {}),
    ("update-image", {"namespace": "p", "deployment": "a", "container": "a", "image": "registry.example:5000/team/api@sha256:" + "0" * 64}),
    ("update-image", {"namespace": "p", "deployment": "a", "container": "a", "image": "nginx:1.27-Alpine"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params"), TAKEN)
def test_benign_parameters_are_taken(name: str, params: dict[str, object]) -> None:
    compiled = REGISTRY.resolve(name)
    assert compiled is not None
    assert compiled.check(params) is None


def test_shipped_catalogue_is_whole() -> None:
    assert verify_catalogue() == []


def test_changed_catalogue_is_found_and_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "catalogue.json"
    changed.write_bytes(module.CATALOGUE.read_bytes().replace(b'"risk":"critical"', b'"risk":"low"', 1))
    monkeypatch.setattr(module, "CATALOGUE", changed)
    assert verify_catalogue() == ["the shipped catalogue was changed after it was compiled"]
    with pytest.raises(IntegrityError, match="install the package again"):
        load_actions([])
    assert len(load_actions([], catalogue=False)) == 0


def test_missing_catalogue_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CATALOGUE", tmp_path / "catalogue.json")
    assert verify_catalogue() == ["the shipped catalogue cannot be read: no such file or directory"]


def test_actions_survive_json() -> None:
    for action in ACTIONS:
        assert msgspec.json.decode(msgspec.json.encode(action), type=Action) == action


@every_action
def test_every_parameter_has_a_role_and_the_action_says_whether_it_writes(action: Action) -> None:
    tops = {pointer.split("/")[1] for pointer in action.arguments}
    assert tops == set(action.params.get("properties", {}))
    assert action.access is not None
    assert "read-only" not in action.tags or action.access is Access.READ


@every_action
def test_what_facts_are_read_from_as_a_place_is_a_target(action: Action) -> None:
    places = {"mail", "url", "host", "path", "path:read", "path:write", "sql", "shell", "argv", "code"}
    for name, schema in action.params.get("properties", {}).items():
        if schema.get("facts") in places:
            assert action.arguments[f"/{name}"].role is Role.TARGET, name
