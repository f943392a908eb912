"""Random rules and requests over a small vocabulary, so that they meet often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import (
    Action,
    ArgumentFacts,
    Context,
    Integrity,
    Label,
    Match,
    Principal,
    PrincipalKind,
    Provenance,
    Resource,
    Risk,
    Sensitivity,
)
from agentguard.policy import Facts, Rule

if TYPE_CHECKING:
    import random

ACTIONS = [
    Action(name=name, version=1, description="", risk=risk)
    for name, risk in (
        ("scale-deployment", Risk.MEDIUM),
        ("scale-node", Risk.HIGH),
        ("restart-deployment", Risk.LOW),
        ("file.read", Risk.LOW),
    )
]
PRINCIPALS = [
    Principal(id="deploy-1", roles=("deployer",), groups=("sre",)),
    Principal(id="deploy-2", roles=("deployer", "release"), groups=("sre", "dev")),
    Principal(id="helper", kind=PrincipalKind.HUMAN, roles=("release",)),
    Principal(id="nobody"),
]
RESOURCES = [
    Resource("prod/api", "deployment", "prod", Sensitivity.CRITICAL, "payments", {"team": "a"}, listed=True),
    Resource("prod/web", "deployment", "prod", Sensitivity.INTERNAL, "web", {"team": "b"}, listed=True),
    Resource("staging/api", "deployment", "staging", Sensitivity.PUBLIC, "payments", {}, listed=True),
    Resource("prod/a/b", "prod"),
    Resource("file:/etc/shadow", "file", "", Sensitivity.RESTRICTED, listed=True),
    Resource("file:/tmp/x", "file"),
]
PRINCIPAL_PATTERNS = [
    "deploy-1",
    "deploy-*",
    "*",
    {"role": "deployer"},
    {"role": ["release", "deployer"]},
    {"group": "sre"},
    {"kind": "human"},
    {"role": "release", "group": "dev"},
    {"role": "deployer", "kind": "agent"},
]
ACTION_PATTERNS = ["scale-deployment", "scale-*", "restart-deployment", "*", "file.*", "file.read@1", "**"]
RESOURCE_PATTERNS = [
    "prod/api",
    "prod/*",
    "prod/**",
    "**",
    "*/api",
    "file:/etc/*",
    "file:**",
    {"environment": "prod"},
    {"environment": ["prod", "staging"]},
    {"type": "deployment"},
    {"type": "deployment", "environment": "prod"},
    {"sensitivity": ["restricted", "critical"]},
    {"owner": "payments"},
    {"labels": {"team": "a"}},
    {"labels": {"team": ["a", "b"]}, "environment": "prod"},
]
PARAM_CONDITIONS: list[dict[str, Any]] = [
    {"replicas": {"min": 2}},
    {"replicas": {"max": 5}},
    {"replicas": {"min": 1, "max": 3}},
    {"image": {"pattern": "reg/.*"}},
    {"image": {"pattern": "evil", "search": True}},
    {"replicas": 3},
    {"replicas": [1, 2, "2"]},
    {"dry": True},
    {"image": {"present": True}},
    {"image": {"present": False}},
    {"/spec/x": {"min": 1}},
    {"image": {"present": True, "pattern": "reg/.*"}},
]
FACT_CONDITIONS: list[dict[str, Any]] = [
    {"sql.kinds": {"present": True, "in": ["drop", "delete"]}},
    {"sql.kinds": ["select"]},
    {"sql.kinds": {"pattern": "d.*"}},
    {"sql.has_where": False},
    {"sql.has_where": {"present": True, "equals": False}},
    {"data.rows": {"min": 10}},
    {"net.port": {"max": 1023}},
    {"net.port": {"present": False}},
    {"net.host": {"present": True}},
]
KNOWN: dict[str, dict[str, list[Any]]] = {
    "sql": {"sql.kinds": [("select",), ("select", "drop"), ()], "sql.has_where": [True, False]},
    "data": {"data.rows": [5, 50]},
    "net": {"net.port": [(80,), (80, 8080)], "net.host": [("a.example",)]},
}
CONTEXTS = [{"ticket": "present"}, {"ticket": "absent"}, {"task": ["deploy"]}, {"frozen": True}]
TIMES = [
    {"between": ["22:00", "04:00"]},
    {"days": ["mon", "tue"]},
    {"days": ["sat"], "between": ["20:00", "02:00"], "tz": "Europe/Berlin"},
    {"between": ["00:00", "24:00"]},
]
PROVENANCES = [
    {"image": {"integrity": "untrusted"}},
    {"*": {"integrity": ["untrusted", "unverified"]}},
    {"image": {"confidentiality": {"min": "restricted"}}},
    {"*": {"confidentiality": ["public", "internal"]}},
    {"/spec/x": {"category": "personal"}},
    {"spec": {"source": "tool:*"}},
    {"image": {"source": ["user", "tool:**"], "integrity": ["trusted", "verified"]}},
]
LABELS = [
    Label(),
    Label(Integrity.TRUSTED, Sensitivity.PUBLIC),
    Label(Integrity.UNTRUSTED, Sensitivity.RESTRICTED, ("personal",)),
    Label(Integrity.VERIFIED, Sensitivity.CRITICAL, ("personal", "health")),
]
PATHS = ["", "/image", "/replicas", "/dry", "/spec", "/spec/x"]
PARAMS = {
    "replicas": [1, 2, 3, 5, 6, 2.5, "3", None, True],
    "image": ["reg/a", "evil/reg/b", "reg/a\nb", 7],
    "dry": [True, False, 1, "yes"],
    "spec": [{"x": 1}, {"x": "1"}, {}, 3],
}
EFFECTS = ["allow", "deny", "require_approval", "transform"]


def some(rng: random.Random, values: list[Any], chance: float) -> list[Any] | None:
    return rng.sample(values, rng.randint(1, 2)) if rng.random() < chance else None


def conditions(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if rng.random() < 0.5:
        made["params"] = {
            k: v for each in rng.sample(PARAM_CONDITIONS, rng.randint(1, 2)) for k, v in each.items()
        }
    if rng.random() < 0.3:
        made["facts"] = rng.choice(FACT_CONDITIONS)
    if rng.random() < 0.2:
        made["context"] = rng.choice(CONTEXTS)
    if rng.random() < 0.2:
        made["provenance"] = rng.choice(PROVENANCES)
    if rng.random() < 0.2:
        made["time"] = rng.choice(TIMES)
    if rng.random() < 0.2:
        made["action_risk"] = rng.choice(
            [{"min": "medium"}, {"max": "medium"}, {"min": "low", "max": "high"}]
        )
    return made


def random_rule(rng: random.Random, number: int) -> Rule:
    effect = rng.choice(EFFECTS)
    made: dict[str, Any] = {"id": f"rule-{number}", "effect": effect, "reason": "because"}
    for key, patterns in (
        ("principals", PRINCIPAL_PATTERNS),
        ("actions", ACTION_PATTERNS),
        ("resources", RESOURCE_PATTERNS),
    ):
        chosen = some(rng, patterns, 0.75)
        if chosen:
            made[key] = chosen
    if rng.random() < 0.5 and (when := conditions(rng)):
        made["when"] = when
    if rng.random() < 0.25:
        unless = conditions(rng)
        for key, patterns in (("principals", PRINCIPAL_PATTERNS), ("resources", RESOURCE_PATTERNS)):
            chosen = some(rng, patterns, 0.3)
            if chosen:
                unless[key] = chosen
        if unless:
            made["unless"] = unless
    if effect == "transform":
        made["transform"] = [{"op": "clamp", "path": "/replicas", "max": 5}]
    if effect != "allow" and rng.random() < 0.12:
        made["tier"] = "mandatory"
    elif rng.random() < 0.1:
        made["expires"] = rng.choice(["2026-06-01", "2027-06-01"])
    return msgspec.convert(made, Rule)


def random_facts(rng: random.Random, *, inside: ArgumentFacts | None = None) -> Facts:
    context = Context(
        ticket=rng.choice(["", "T-1"]),
        task=rng.choice(["", "deploy", "other"]),
        attributes=rng.choice([{}, {"frozen": True}, {"frozen": "yes"}]),
    )
    params = {name: rng.choice(values) for name, values in PARAMS.items() if rng.random() < 0.7}
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(0, 60 * 24 * 400, 7))
    families = tuple(each for each in KNOWN if rng.random() < 0.5)
    known = {
        name: rng.choice(values)
        for family in families
        for name, values in KNOWN[family].items()
        if rng.random() < 0.8
    }
    inside = ArgumentFacts(families, lambda: known) if inside is None else inside
    who, action, what = rng.choice(PRINCIPALS), rng.choice(ACTIONS), rng.choice(RESOURCES)
    return Facts(who, action, what, params, context, now, inside, random_provenance(rng, params))


def random_provenance(rng: random.Random, params: dict[str, Any]) -> dict[str, Provenance] | None:
    if rng.random() < 0.2:
        return None
    sources: list[tuple[str, ...]] = [(), ("user",), ("tool:mail.read",), ("user", "net:host/x")]
    return {
        path: Provenance(rng.choice(LABELS), Match.EXACT, rng.choice(sources), 1.0)
        for path in PATHS
        # What has no parts is never traced in parts.
        if rng.random() < 0.5 and (path != "/spec/x" or isinstance(params.get("spec"), dict))
    }
