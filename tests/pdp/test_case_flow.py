from __future__ import annotations

from typing import Any

import pytest

from agentguard.core import ConfigError
from agentguard.documents import parse
from agentguard.pdp import run_cases

WORLD = """
world:
  actions:
    - {name: read, version: 1, description: x, risk: low}
    - name: send
      version: 1
      description: x
      risk: low
      params: {properties: {to: {type: string}, spec: {type: object}, token: {type: string, secret: true}}}
  resources: [{id: a/b, type: a, sensitivity: public}]
rules:
  - {id: all, effect: allow, actions: [send]}
  - {id: planted, tier: mandatory, effect: deny, actions: [send], when: {provenance: {/spec/x: {integrity: untrusted}}}}
cases:
"""
REQUEST = "request: {principal: ann, action: send, resource: a/b, params: {to: x-ray-42, spec: {x: y, z: w}}}"


def problems(case: str, expect: str = "{effect: allow}") -> tuple[str, ...]:
    text = f"{WORLD}  - name: it\n    {REQUEST}\n    expect: {expect}\n    {case}\n"
    (result,) = run_cases(parse(text, file="cases.yaml"))
    return result.problems


@pytest.mark.parametrize(
    "seen",
    [
        "{value: x}",
        "{value: x, source: user, action: read}",
        "{value: x, action: read, label: {integrity: trusted}}",
        "{value: x, action: read, vouched: true}",
    ],
)
def test_a_value_that_comes_from_nowhere_or_twice_is_refused(seen: str) -> None:
    with pytest.raises(ConfigError) as caught:
        problems(f"seen: [{seen}]")
    assert "case `it`: a value that was seen has an `action`, or a `source`" in str(caught.value)
    assert str(caught.value).startswith("cases.yaml:15: cases[0]")
    assert caught.value.hint is not None


def test_an_unknown_key_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"cases\.yaml"):
        problems("seen: [{value: x, origin: user}]")
    with pytest.raises(ConfigError, match=r"cases\.yaml"):
        problems("provenance: {to: {integrity: good}}")


def test_what_was_denied_gave_nothing_back() -> None:
    said = problems("history: [{principal: ann, action: read, resource: a/b, result: x}]")
    assert len(said) == 1
    assert said[0].startswith("request 1 of the history gave nothing back: deny (no rule allows read")
    assert problems("history: [{principal: ann, action: read, resource: a/b, plan: true}]") == ()


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ("{effect: deny}", "effect is allow (rule all), expected deny"),
        ("{effect: allow, rule: planted}", "rule is all, expected planted"),
        ("{effect: allow, explanation: soon}", "explanation is ``, expected it to say `soon`"),
        ("{effect: allow, facts: {sql.kinds: [drop]}}", "fact sql.kinds is None, expected ['drop']"),
    ],
)
def test_what_a_case_expected_in_vain_is_told(expect: str, problem: str) -> None:
    assert problems("", expect) == (problem,)


@pytest.mark.parametrize(
    ("provenance", "effect"),
    [
        ("{/spec/x: {source: user}}", "allow"),
        ("{/spec/x: {integrity: untrusted}}", "deny"),
        ("{spec: {integrity: untrusted}}", "deny"),
        ("{/spec/z: {integrity: untrusted}, /spec/x: {source: user}}", "allow"),
    ],
)
def test_origins_are_said_of_parts_too(provenance: str, effect: str) -> None:
    assert problems(f"provenance: {provenance}", f"{{effect: {effect}}}") == ()


def test_what_a_secret_action_holds_is_in_no_problem() -> None:
    text = WORLD.replace("token: {type: string,", 'token: {type: string, facts: "sql",')
    case = """\
  - name: it
    request: {principal: ann, action: send, resource: a/b, params: {spec: {x: 1}, token: SELECT hunter2 FROM hunter2}}
    expect: {effect: allow, facts: {sql.tables: [t]}, near_miss: {planted: zzz}}
"""
    (result,) = run_cases(parse(text + case, file="cases.yaml"))
    told: Any = result.problems
    assert len(told) == 2
    assert "hunter2" not in "".join(told)
    assert "fact sql.tables is [withheld]" in told[0] + told[1]
