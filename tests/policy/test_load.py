from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentguard.core import ConfigError
from agentguard.policy import load_policies, parse_policies, policy_files

if TYPE_CHECKING:
    from pathlib import Path

YAML = """\
version: 1
rules:
  - id: a
    effect: deny
    when: {params: {n: {min: 1, in: [1, 2]}}, time: {between: ["22:00", "04:00"]}}
    expires: 2027-01-01
"""
JSON = """{"version": 1, "rules": [{"id": "a", "effect": "deny", "expires": "2027-01-01",
 "when": {"params": {"n": {"min": 1, "in": [1, 2]}}, "time": {"between": ["22:00", "04:00"]}}}]}"""


def test_yaml_and_json_give_the_same_version() -> None:
    assert parse_policies(YAML).version == parse_policies(JSON, file="p.json").version


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "version: 2\nfuture: 1\nrules: []\n",
            "p.yaml:1: version: version 2 is not known; write `version: 1`",
        ),
        ("version: 1\nrules: []\nextra: 1\n", "p.yaml:3: extra: unknown key `extra`"),
        (
            "version: 1\nrules:\n  - id: a\n    effect: deny\n    efect: deny\n",
            "p.yaml:5: rules[0].efect: unknown key `efect`",
        ),
        (
            "version: 1\nrules:\n  - id: a\n    effect: perhaps\n",
            "p.yaml:4: rules[0].effect: must be one of `allow`, `transform`, `require_approval`, `deny`",
        ),
        ("version: true\nrules: []\n", "p.yaml:1: version: expected `int`, got `bool`"),
        ("rules: []\n", "p.yaml:1: object missing required field `version`"),
        ("", "p.yaml:1: expected `object`, got `null`"),
        ("[]", "p.yaml:1: expected `object`, got `array`"),
        (
            "version: 1\nrules:\n  - {id: a, effect: deny}\n  - {id: a, effect: allow}\n",
            "p.yaml:4: rules[1]: duplicate rule id `a`; it stands at p.yaml:3: rules[0] too; give one of them another id",
        ),
    ],
)
def test_file_that_cannot_be_used_is_refused_with_its_place(text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policies(text, file="p.yaml")
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1180591620717411303424", "is beyond 64 bits"),
        ("1e999", "is beyond what a number can hold"),
        ('"\\ud800"', "has half a surrogate pair"),
        ("[" * 70 + "]" * 70, "is nested too deeply"),
        ('{"\\udfff": 1}', "has half a surrogate pair"),
    ],
)
def test_json_value_that_no_other_reader_takes_is_refused(value: str, message: str) -> None:
    text = f'{{"version": 1, "rules": [{{"id": "a", "effect": "deny", "obligations": [{{"x": {value}}}]}}]}}'
    with pytest.raises(ConfigError, match=message):
        parse_policies(text, file="p.json")


def test_half_a_surrogate_pair_is_no_name_of_a_place() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policies('{"version": 1, "rules": [], "\\ud800": "\\ud800"}', file="p.json")
    str(caught.value).encode()


def test_duplicate_id_in_two_files_names_both(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nrules: [{id: x, effect: deny}]\n")
    (tmp_path / "b.json").write_text('{"version": 1, "rules": [{"id": "x", "effect": "deny"}]}')
    with pytest.raises(ConfigError) as caught:
        load_policies(policy_files(tmp_path), base=tmp_path)
    assert "b.json:1" in str(caught.value)
    assert "a.yaml:2" in str(caught.value)


def test_folder_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="agentguard init"):
        policy_files(tmp_path / "none")


def test_file_outside_the_base_is_named_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("version: 3\n")
    with pytest.raises(ConfigError, match="version 3"):
        load_policies([path], base=tmp_path / "other")
