from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from agentguard.console import (
    Chain,
    render_docs,
    render_live,
    render_login,
    render_policies,
    row_of,
    static_files,
)
from agentguard.policy import describe, parse_policies
from agentguard.server import openapi
from sidecar import POLICIES

CHAIN = Chain(seq=2, head="ab" * 32, signed=1, healthy=True)
ROW = row_of(
    {"seq": 2, "timestamp": "2026-01-31T12:00:00Z", "effect": "allow", "principal": "p", "reason": "r"}
)
assert ROW
POLICY = describe(parse_policies(POLICIES), problem="policies/a.yaml:3: <i>broken</i>")
PAGES = {
    "policies": render_policies(POLICY, csrf="t", version="0.1.0"),
    "no policies": render_policies(describe(parse_policies("version: 1\nrules: []")), csrf="t", version="0"),
    "login": render_login(problem="no"),
    "code": render_login(code="c"),
    "live": render_live(rows=[ROW], chain=CHAIN, after="2", csrf="t", version="0.1.0"),
    "empty": render_live(rows=[], chain=CHAIN, after="0", csrf="t", version="0.1.0"),
    "docs": render_docs(openapi()),
}
VOID = {"meta", "link", "img", "input", "br"}


class Outline(HTMLParser):
    """Collects elements and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    assert parsed.open == []
    return parsed


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_nothing_inline_and_nothing_from_elsewhere(name: str) -> None:
    for tag, attrs in outline(PAGES[name]).elements:
        assert tag != "style"
        assert not [each for each in attrs if each.startswith("on") or each == "style"]
        for target in (attrs.get("src"), attrs.get("href"), attrs.get("action")):
            assert target is None or re.match(r"/(?!/)|#", target)
        if tag == "script":
            assert attrs["src"]


@pytest.mark.parametrize("name", PAGES)
def test_pages_name_what_they_show(name: str) -> None:
    page = outline(PAGES[name])
    tags = [tag for tag, _ in page.elements]
    assert page.elements[0] == ("html", {"lang": "en"})
    assert (tags.count("h1"), tags.count("main"), tags.count("title")) == (1, 1, 1)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.elements:
        if tag == "img":
            assert "alt" in attrs
        if tag == "th":
            assert attrs.get("scope") in ("col", "row")


def test_the_empty_page_teaches_the_command() -> None:
    assert "agentguard check" in PAGES["empty"]
    assert '<section class="empty" id="empty">' in PAGES["empty"]
    assert '<section class="empty" id="empty" hidden>' in PAGES["live"]


def test_the_docs_list_each_endpoint_with_an_example() -> None:
    for path in openapi()["paths"]:
        assert f"<code>{path}</code>" in PAGES["docs"]
    assert "Production actions need a person" in PAGES["docs"]


def test_scripts_set_text_and_never_markup() -> None:
    for name, file in static_files().items():
        if name.endswith(".js"):
            text = file.body.decode()
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", text
            )
            assert len(text.splitlines()) < 220


def test_what_the_pages_load_exists() -> None:
    files = {f"/static/{name}" for name in static_files()}
    for page in PAGES.values():
        assert set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page)) <= files


def test_policies_page_shows_each_kind_where_it_stands_and_no_markup_of_others() -> None:
    page = PAGES["policies"]
    for shown in ("table", "no-send", "few-restarts", "breaker", "cumulative-risk", "policy.yaml:14"):
        assert shown in page
    assert "{provenance: {to: {integrity: untrusted}}}" in page
    assert "&lt;b&gt;free&lt;/b&gt;⟨U+202E⟩" in page
    assert "&lt;i&gt;broken&lt;/i&gt;" in page
    assert "<b>free" not in page
    assert "2 own, 1 shipped" in page
    assert "There is no rule" in PAGES["no policies"]


@pytest.mark.parametrize(
    ("text", "there", "missing"),
    [
        ("MAIL.send untrusted", "no-planted-recipients", "no-send"),
        ("few-restarts", "few-restarts", "breaker"),
    ],
)
def test_policies_are_filtered_by_words(text: str, there: str, missing: str) -> None:
    page = render_policies(POLICY, csrf="t", version="0", text=text)
    assert there in page
    assert missing not in page
    assert "Nothing has these words" in render_policies(POLICY, csrf="t", version="0", text="zzz")
