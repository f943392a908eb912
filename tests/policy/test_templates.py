from __future__ import annotations

import pytest

from agentguard.core import PolicyError
from agentguard.policy import find_template, parse_policies, templates


@pytest.mark.parametrize("template", templates(), ids=lambda each: each.name)
def test_a_template_compiles_and_says_what_it_is_for(template: object) -> None:
    found = find_template(getattr(template, "name", ""))
    assert found == template
    assert parse_policies(found.text).rules
    assert found.summary.endswith(".")
    assert not found.summary.startswith("#")


def test_a_template_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(PolicyError) as caught:
        find_template("nothing")
    assert caught.value.hint == "take intent, kill-switch, read-only-agent, staging-deployer"
