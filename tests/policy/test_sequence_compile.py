from __future__ import annotations

from pathlib import Path

import pytest

from agentguard.core import ConfigError, Effect
from agentguard.policy import (
    Limit,
    PolicySet,
    Scope,
    Sequence,
    SequenceRules,
    compile_policies,
    parse_policies,
    span,
)

BAN = "{id: a, effect: deny, after: {actions: [x]}, then: {actions: [y]}%s}"
LIMIT = "{id: a, effect: deny, of: {actions: [x]}%s}"


def parsed(text: str) -> PolicySet:
    return parse_policies("version: 1\n" + text, file="p.yaml")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "p.yaml:1: a rule file has `rules`; write `rules: []` for none"),
        (
            "sequences: [{id: a, effect: deny, then: {actions: [x]}}]",
            "p.yaml:2: sequences[0]: sequence `a`: a sequence has either `after` or `requires`",
        ),
        (
            "sequences:\n  - " + BAN % ", requires: {actions: [z]}",
            "p.yaml:3: sequences[0]: sequence `a`: a sequence has either `after` or `requires`",
        ),
        (
            "sequences: [{id: a, effect: deny, requires: {actions: [x]}, then: {actions: [y]}, unless: {actions: [z]}}]",
            "sequence `a`: `unless` goes with `after`; write a second sequence for what ends the first",
        ),
        (f"sequences: [{BAN % ', wihtin: 10m'}]", "p.yaml:2: sequences[0].wihtin: unknown key `wihtin`"),
        (
            f"sequences: [{BAN % ', within: 10'}]",
            "p.yaml:2: sequences[0].within: expected `str | null`, got `int`",
        ),
        (
            f"sequences: [{BAN % ', within: 10 minutes'}]",
            "`10 minutes` is no span of time; write `90s`, `10m`, `1h`, `7d`, at most 366d",
        ),
        (
            f"sequences: [{BAN % ', scope: fleet'}]",
            "p.yaml:2: sequences[0].scope: must be one of `session`, `task`, `agent`, `delegation`, `all`",
        ),
        (
            "sequences: [{id: a, effect: allow, after: {actions: [x]}, then: {actions: [y]}}]",
            "p.yaml:2: sequences[0]: sequence `a`: its effect cannot be `allow`; write `deny` or `require_approval`",
        ),
        (
            "sequences: [{id: A, effect: deny, after: {actions: [x]}, then: {actions: [y]}}]",
            "p.yaml:2: sequences[0]: sequence `A`: an id is lower case letters, digits, `.`, `_` and `-`, at most 100",
        ),
        (
            "sequences: [{id: a, effect: deny, after: {}, then: {actions: [y]}}]",
            "p.yaml:2: sequences[0]: sequence `a`: `after` says nothing; name at least its `actions`",
        ),
        (
            "sequences: [{id: a, effect: deny, after: {actions: []}, then: {actions: [y]}}]",
            "p.yaml:2: sequences[0]: sequence `a`: `after.actions` is empty and matches nothing",
        ),
        (
            "sequences: [{id: a, effect: deny, after: {when: {params: {n: {pattern: '('}}}}, then: {actions: [y]}}]",
            "p.yaml:2: sequences[0]: sequence `a`: pattern `(` cannot be used: missing ): (",
        ),
        (f"limits: [{LIMIT % ''}]", "has one of `count`, `sum` with `max`, `distinct` with `max`"),
        (f"limits: [{LIMIT % ', count: 3, max: 3'}]", "has one of `count`"),
        (f"limits: [{LIMIT % ', sum: /n'}]", "has one of `count`"),
        (f"limits: [{LIMIT % ', sum: /n, distinct: /n, max: 3'}]", "has one of `count`"),
        (f"limits: [{LIMIT % ', count: 0'}]", "a whole number above 0; use a rule to allow none"),
        (f"limits: [{LIMIT % ', distinct: resource, max: 1.5'}]", "a whole number above 0"),
        (f"limits: [{LIMIT % ', distinct: resource, max: 10001'}]", "at most 10000 different values"),
        (f"limits: [{LIMIT % ', sum: /n, max: 1.0e+20'}]", "a limit is at most"),
        (
            f"limits: [{LIMIT % ', sum: n, max: 1'}]",
            "`n` is neither a JSON pointer nor a fact; write it as `/amount` or `net.host`",
        ),
        (
            f"limits: [{LIMIT % ', distinct: resources, max: 1'}]",
            "`resources` is neither a JSON pointer nor a fact",
        ),
        (f"limits: [{LIMIT % ', count: 1, per: task'}]", "`per: task` is not its scope; write `scope: task`"),
        ("breaker: {denials: 0, within: 5m, pause: 1m}", "breaker: `denials` is a whole number above 0"),
        ("breaker: {denials: 1, within: 5m}", "missing required field `pause`"),
        (
            "cumulative_risk: {window: 1h, approval_from: 9, deny_from: 8}",
            "p.yaml:2: cumulative_risk: cumulative_risk: `approval_from` is above 0 and no more than `deny_from`",
        ),
        (
            f"rules: [{{id: a, effect: deny}}]\nlimits: [{LIMIT % ', count: 1'}]",
            "p.yaml:3: limits[0]: duplicate rule id `a`",
        ),
        (
            "rules: [{id: breaker, effect: deny}]\nbreaker: {denials: 1, within: 5m, pause: 1m}",
            "p.yaml:3: breaker: duplicate rule id `breaker`",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("24h", 86400), ("366d", 31_622_400)]
)
def test_span_is_read_in_seconds(text: str, seconds: float) -> None:
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "1", "m", "1.5h", "-1m", "367d", "1h30m", " 1h", "999999999d"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        span(text)


def test_file_may_hold_sequences_alone() -> None:
    policies = parsed(f"sequences: [{BAN % ''}]")
    assert policies.rules == ()
    assert [entry.id for entry in policies.sequences.entries] == ["a"]


def test_sequences_are_part_of_the_version() -> None:
    one, other = parsed(f"sequences: [{BAN % ''}]"), parsed(f"sequences: [{BAN % ', within: 5m'}]")
    assert one.version != other.version
    assert one.version == parsed(f"sequences: [{BAN % ''}]").version


def test_rules_built_in_code_need_no_file() -> None:
    policies = compile_policies([], SequenceRules())
    assert policies.sequences.empty


def test_severity_and_effect_are_kept() -> None:
    (entry,) = parsed(f"sequences: [{BAN % ', severity: critical'}]").sequences.entries
    assert (entry.effect, entry.severity.value, entry.stage) == (Effect.DENY, "critical", "sequence")


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("{id: a, effect: deny, of: {actions: [x]}, count: 3, per: 1h}", "more than 3 times of x in 1h"),
        (
            "{id: a, effect: deny, of: {actions: [x, y]}, sum: /n, max: 1.5}",
            "more than 1.5 in `/n` of x|y in one session",
        ),
        (
            "{id: a, effect: deny, of: {principals: [p]}, distinct: resource, max: 2, scope: all}",
            "more than 2 different `resource` of any action in one all",
        ),
    ],
)
def test_limit_without_a_reason_gets_one(limit: str, reason: str) -> None:
    (entry,) = parsed(f"limits: [{limit}]").sequences.entries
    assert entry.reason == reason


def test_example_of_the_document_compiles_and_every_key_is_described() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sequences.md").read_text(encoding="utf-8")
    policies = parse_policies(text.partition("```yaml\n")[2].partition("```")[0])
    assert len(policies.sequences.entries) == 7
    words = [*Sequence.__struct_fields__, *Limit.__struct_fields__, *(each.value for each in Scope)]
    assert [word for word in words if f"`{word}`" not in text] == []
