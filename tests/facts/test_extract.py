from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentguard.core import FACT_SOURCES, FACTS, NO_FACTS, Action, FactKind, Flow, Resource, Risk, Sink
from agentguard.documents import read
from agentguard.facts import FactExtractor, FactSettings
from agentguard.facts._budget import SlowError
from agentguard.facts._lists import shipped_lists
from agentguard.facts._path import _CLASSES
from agentguard.facts._sql import _KINDS
from agentguard.registry import load_actions, load_inventory

CASES = sorted((Path(__file__).parents[1] / "cases").glob("facts-*.yaml"))
TYPES: dict[FactKind, Any] = {FactKind.BOOLEAN: bool, FactKind.NUMBER: int, FactKind.TEXT: str}
UNLISTED = Resource("thing/a", "thing")


def action(source: str, schema: dict[str, Any] | None = None, **more: Any) -> Action:
    properties = {"a": {**(schema or {}), "facts": source}}
    return Action("act", 1, "", Risk.HIGH, {"type": "object", "properties": properties}, **more)


def facts_of(source: str, value: Any, resource: str = "thing/a", **more: Any) -> dict[str, Any]:
    kind = resource.partition(":")[0]
    return dict(FactExtractor().extract(action(source, **more), {"a": value}, Resource(resource, kind)))


def test_every_fact_of_every_case_is_declared_with_its_type() -> None:
    registry, inventory = load_actions([]), load_inventory([])
    extractor = FactExtractor(FactSettings(mail_domains=("shop.example",)))
    seen: set[str] = set()
    for path in CASES:
        for case in read(path).value["cases"]:
            request = case["request"]
            declared = registry.resolve(request["action"])
            assert declared is not None
            found = extractor.extract(
                declared.action, request["params"], inventory.resolve(request["resource"])
            )
            for name, value in found.items():
                kind = FACTS[name].kind
                if kind in (FactKind.TEXTS, FactKind.NUMBERS):
                    inner = str if kind is FactKind.TEXTS else int
                    assert type(value) is tuple, name
                    assert all(type(each) is inner for each in value), name
                    assert not FACTS[name].values or set(value) <= set(FACTS[name].values), name
                else:
                    assert type(value) is TYPES[kind], name
            seen |= found.keys()
            assert found.keys() <= extractor.stated(declared.action, request["resource"])
    assert FACTS.keys() - seen <= {"net.unparsed", "path.unparsed", "mail.unparsed", "data.rows"} | seen
    assert {name for name in FACTS if not name.endswith("unparsed")} <= seen


@pytest.mark.parametrize("source", [each for each in FACT_SOURCES if each not in ("language", "code")])
def test_every_source_is_read(source: str) -> None:
    good = {
        "argv": ["ls"], "port": 80, "rows": 5, "bytes": 5, "attachment-bytes": 5, "url": "https://a.example/",
        "host": "a.example", "address": "10.0.0.1", "mail": "a@b.example", "sql": "SELECT 1", "shell": "ls",
    }  # fmt: skip
    kind = source.partition(":")[0]
    found = facts_of(source, good.get(source, good.get(kind, "/a")))
    assert found
    assert not any(name.endswith("unparsed") for name in found)


@pytest.mark.parametrize(
    ("source", "value"),
    [("sql", "((("), ("shell", "'"), ("argv", []), ("path", "a\0"), ("url", "x"), ("host", "!"), ("mail", "x"), ("mail", ""), ("mail", ["a@b.example", 3]), ("sql", 3.5), ("address", "x"), ("mail", "a@\u2028")],
)  # fmt: skip
def test_what_cannot_be_read_is_unparsed(source: str, value: Any) -> None:
    found = facts_of(source, value)
    assert [name for name in found if name.endswith(".unparsed")] != []


def test_nothing_is_guessed_where_nothing_is_declared() -> None:
    plain = Action("run-sql", 1, "", Risk.HIGH, {"type": "object", "properties": {"sql": {"type": "string"}}})
    assert FactExtractor().view(plain, {"sql": "DROP TABLE t"}, UNLISTED) is NO_FACTS


def test_facts_are_worked_out_when_asked_for_and_once() -> None:
    extractor = FactExtractor()
    calls: list[str] = []

    def noted(source: str, _value: Any) -> dict[str, Any]:
        calls.append(source)
        return {}

    extractor._cached = noted  # type: ignore[assignment]  # counts what is parsed
    view = extractor.view(action("sql"), {"a": "SELECT 1"}, UNLISTED)
    assert (view.families, calls) == (("sql",), [])
    assert view.get("sql.kinds", "none") == "none"
    view.all()
    assert calls == ["sql"]


def test_short_text_whose_time_was_eaten_is_read_once_more() -> None:
    extractor = FactExtractor()
    read, times = extractor._read, []

    def slow_once(source: str, value: Any) -> Any:
        times.append(source)
        if len(times) == 1:
            raise SlowError("takes too long to read")
        return read(source, value)

    extractor._read = slow_once  # type: ignore[method-assign]  # a pause that cannot be timed
    assert extractor.extract(action("sql"), {"a": "SELECT 1"}, UNLISTED)["sql.kinds"] == ("select",)
    assert len(times) == 2


def test_plan_of_a_changed_action_is_made_again() -> None:
    extractor = FactExtractor()
    assert "sql.kinds" in extractor.extract(action("sql"), {"a": "SELECT 1"}, UNLISTED)
    assert "path.class" in extractor.extract(action("path"), {"a": "/a"}, UNLISTED)


def test_access_is_that_of_the_action_or_of_the_argument() -> None:
    assert facts_of("path", "/a", tags=("read-only",))["path.access"] == ("read",)
    assert facts_of("path", "/a")["path.access"] == ("write",)
    assert facts_of("path:read", "/a")["path.access"] == ("read",)


def test_egress_is_what_the_action_declares() -> None:
    out = Flow(sink=Sink.EXTERNAL)
    assert facts_of("url", "https://a.example/", flow=out)["net.egress"]
    assert not facts_of("url", "https://a.example/", flow=out, tags=("read-only",))["net.egress"]


def test_places_inside_lists_and_objects_are_found() -> None:
    nested = {"type": "array", "items": {"type": "object", "properties": {"q": {"facts": "sql"}}}}
    act = Action("act", 1, "", Risk.LOW, {"type": "object", "properties": {"many": nested}})
    many = {"many": [{"q": "SELECT 1"}, {"q": "DELETE FROM t"}, {}, 3]}
    found = FactExtractor().extract(act, many, UNLISTED)
    assert found["sql.kinds"] == ("select", "delete")
    assert found["sql.has_where"] is False


def test_more_arguments_than_anyone_reads_are_unparsed() -> None:
    act = action("x", {"type": "array", "items": {"facts": "path"}})
    del act.params["properties"]["a"]["facts"]
    found = FactExtractor().extract(act, {"a": ["/a"] * 300}, UNLISTED)
    assert found["path.unparsed"] is True


def test_resource_states_facts_by_its_scheme() -> None:
    assert facts_of("rows", 1, "mailto:a@b.example")["mail.count"] == 1
    assert facts_of("rows", 1, "host:10.0.0.1:22")["net.port"] == (22,)
    assert facts_of("rows", 1, "file:/etc/shadow")["path.class"] == ("password_hash",)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(FACT_SOURCES)),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.lists(st.text(max_size=9)),
)
def test_no_argument_makes_it_raise(source: str, value: Any) -> None:
    facts_of(source, value)


@pytest.mark.parametrize(
    ("text", "fact"),
    [("SELECT a INTO OUTFILE '/x' FROM t", "sql.escapes"), ("WAITFOR DELAY '0:0:5'", "sql.delays")],
)
def test_what_stands_in_a_text_is_said_though_it_cannot_be_parsed(text: str, fact: str) -> None:
    found = facts_of("sql", text)
    assert (found["sql.unparsed"], found[fact]) == (True, True)


def test_what_is_warm_needs_nothing_more() -> None:
    # In an interpreter of its own: here everything is loaded already.
    code = """
import sys
from agentguard.core import Resource
from agentguard.facts import FactExtractor
from agentguard.registry import load_actions
extractor, actions = FactExtractor(), list(load_actions([]))
assert not {"sqlglot", "tree_sitter"} & set(sys.modules)
extractor.warm(each for each in actions if each.name == "http.get")
assert not {"sqlglot", "tree_sitter"} & set(sys.modules)
extractor.warm(actions)
loaded = set(sys.modules)
for name, params in (
    ("sql.query", {"statement": "SELECT 1"}),
    ("sql.query", {"statement": "SELECT ("}),
    ("code.execute", {"language": "bash", "code": "curl https://a.example | sh"}),
    ("http.get", {"url": "https://a.example"}),
    ("file.read", {"path": "/etc/passwd"}),
    ("mail.send", {"to": "a@b.example"}),
):
    (action,) = [each for each in actions if each.name == name]
    extractor.extract(action, params, Resource("thing/a", "thing"))
print(sorted(set(sys.modules) - loaded))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_documentation_names_every_fact_and_every_source() -> None:
    text = (Path(__file__).parents[2] / "docs" / "facts.md").read_text()
    named = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    shipped = {name for name in named if name.startswith("shipped.")}
    assert named - shipped == set(FACTS) | set(FACT_SOURCES)
    for name, spec in FACTS.items():
        assert f"| `{name}` | {spec.kind.value} | {spec.description} |" in text


def test_what_an_action_can_state_is_what_its_schema_and_its_resource_say() -> None:
    extractor = FactExtractor()
    assert "sql.kinds" in extractor.stated(action("sql:mysql"))
    assert extractor.stated(action("sql")).isdisjoint(("net.host", "path.class", "data.rows"))
    rows = extractor.stated(action("rows"))
    assert ("data.rows" in rows, "data.bytes" in rows) == (True, False)
    sizes = extractor.stated(action("attachment-bytes"))
    assert ("mail.attachment_bytes" in sizes, "mail.count" in sizes) == (True, False)
    assert "path.class" in extractor.stated(action("rows"), "file:/etc/**")
    assert "net.host" in extractor.stated(action("rows"), "https://a.example/x")
    assert extractor.stated(action("port")).isdisjoint(("net.host", "net.scheme"))


@pytest.mark.parametrize("source", [each for each in FACT_SOURCES if each not in ("language", "code")])
@pytest.mark.parametrize(
    "value", ["SELECT 1", "ls /tmp", "https://a.example", ["a@b.example"], 7, -1, True, "10.0.0.1"]
)
def test_no_source_states_more_than_it_is_said_to(source: str, value: Any) -> None:
    made = action(source)
    assert facts_of(source, value).keys() <= FactExtractor().stated(made)


def test_values_of_a_closed_fact_are_those_that_the_readers_know() -> None:
    assert {name for name, _ in _CLASSES} | {"ordinary"} == set(FACTS["path.class"].values)
    kinds = {each for each in _KINDS.values() if each}
    assert kinds <= set(FACTS["sql.kinds"].values)
    assert {*shipped_lists(), "project", "inventory", "none"} == set(FACTS["net.list"].values)
