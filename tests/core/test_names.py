"""One thing has one spelling, or none."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import (
    RequestError,
    action_reference,
    normalise_action,
    normalise_resource_id,
    resource_type_of,
)


@pytest.mark.parametrize(
    "name",
    ["restart-deployment", "file.read", "file.read@2", "a", "a1", "http2.get", "sql.query@999999", "a-b.c-d"],
)
def test_well_formed_action_is_returned_as_it_is(name: str) -> None:
    assert normalise_action(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "A", "Restart-deployment", "file..read", ".read", "read.", "-a", "a-", "a--b", "a@",
        "a@0", "a@01", "a@1000000", "a@1@2", "a b", "a\n", "é", "a/b", "1a", "a*", "a@٣", "a" * 201, None, 3,
    ],
)  # fmt: skip
def test_malformed_action_is_refused(name: object) -> None:
    with pytest.raises(RequestError) as caught:
        normalise_action(name)  # type: ignore[arg-type]  # callers pass on what an agent wrote
    assert caught.value.code == "action_invalid"


def test_reference_is_name_and_version() -> None:
    assert action_reference("file.read", 2) == "file.read@2"
    assert normalise_action(action_reference("file.read", 2)) == "file.read@2"


NORMAL = [
    ("prod/api", "prod/api", "prod"),
    ("prod", "prod", "prod"),
    ("prod/", "prod/", "prod"),
    ("prod/..api", "prod/..api", "prod"),
    ("file:/etc/shadow", "file:/etc/shadow", "file"),
    ("file:///etc/shadow", "file:/etc/shadow", "file"),
    ("file://localhost/etc/shadow", "file:/etc/shadow", "file"),
    ("FILE:/etc/Shadow", "file:/etc/Shadow", "file"),
    ("HTTPS://Example.COM/A", "https://example.com/A", "https"),
    ("https://example.com./a?b=../c", "https://example.com/a?b=../c", "https"),
    ("https://example.com", "https://example.com", "https"),
    ("https://Example.com:8443?q", "https://example.com:8443?q", "https"),
    ("https://example.com:443/a", "https://example.com/a", "https"),
    ("https://example.com:/a", "https://example.com/a", "https"),
    ("https://example.com:00443/a", "https://example.com/a", "https"),
    ("host:example.com:0443", "host:example.com:443", "host"),
    ("host:example.com:0", "host:example.com:0", "host"),
    ("host:::1", "host:::1", "host"),
    ("https://[::1]:443/", "https://[::1]/", "https"),
    ("http://example.com:443/a", "http://example.com:443/a", "http"),
    ("ws://example.com:80/a", "ws://example.com/a", "ws"),
    ("https://example.com/a%20b?q=%61", "https://example.com/a%20b?q=%61", "https"),
    ("host:API.example.com.:443", "host:api.example.com:443", "host"),
    ("host:[::1]:80", "host:[::1]:80", "host"),
    ("host:example.com", "host:example.com", "host"),
    ("s3://Bucket/Key", "s3://Bucket/Key", "s3"),
    ("database:orders", "database:orders", "database"),
    ("mail/Ame\u0301lie", "mail/Am\u00e9lie", "mail"),
    ("a b/c", "a b/c", "a b"),
    ("file:/a/%20b", "file:/a/%20b", "file"),
    ("prod/*", "prod/*", "prod"),
]


@pytest.mark.parametrize(("text", "normal", "kind"), NORMAL)
def test_resource_id_is_brought_to_its_one_form(text: str, normal: str, kind: str) -> None:
    assert normalise_resource_id(text) == normal
    assert normalise_resource_id(normal) == normal
    assert resource_type_of(normal) == kind


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "/etc/shadow", "a//b", "a/../b", "a/./b", "..", ".", "a/..", "file:/a/../b", "file:/a//b", "file:a/./b",
        "file:/a/%2e%2e/b", "file:/a%2Fb", "file:/a%5cb", "file:/a%00", "a\\b", "a\x00", "a\nb", " a", "a ", "a\u200bb",
        "a\u202eb", "a\ud800", "a\ue000", "x" * 2049, "https://user@example.com/", "https:///path", "https://", "https://.",
        "host::443", "https://a/../b",
        # other spellings of https://example.com/admin, as clients read them
        "https:example.com/admin", "https:/example.com/admin", "https:///example.com/admin", "https://example.com/%61dmin",
        "http:example.com", "host://example.com:443", "https://:443/a", "https://.:80/",  "https://example.com/a%2D",
        "s3://", "s3://../x", "s3://.", "file://../etc/shadow", "file://server/share", "file://localhost", "file://", None, 3, b"a",
    ],
)  # fmt: skip
def test_resource_id_without_a_normal_form_is_refused(text: object) -> None:
    with pytest.raises(RequestError) as caught:
        normalise_resource_id(text)  # type: ignore[arg-type]  # callers pass on what an agent wrote
    assert caught.value.code == "resource_invalid"


hostile = st.text() | st.text(st.sampled_from("aA.:/%2eEfF?#@[]*\\ \u0301é-"), max_size=20)


@given(
    hostile
    | st.tuples(
        st.sampled_from(
            [
                "file:",
                "https://",
                "host:",
                "HTTPS:",
                "s3://",
                "s3://../x",
                "s3://.",
                "file://../etc/shadow",
                "file://server/share",
                "file://localhost",
                "file://",
                "a/",
            ]
        ),
        hostile,
    ).map("".join)
)
def test_normal_form_is_stable_and_has_no_way_up(text: str) -> None:
    with contextlib.suppress(RequestError):
        normal = normalise_resource_id(text)
        assert normalise_resource_id(normal) == normal
        scheme = re.match(r"[a-z][a-z0-9+-]*:(?=.)", normal)
        path = normal[scheme.end() :].partition("?")[0].partition("#")[0] if scheme else normal
        assert not {".", ".."} & set(path.split("/"))
        assert resource_type_of(normal) == resource_type_of(normalise_resource_id(normal))
        assert normal.isprintable()


@given(st.text())
def test_any_text_is_an_action_or_a_request_error(text: str) -> None:
    with contextlib.suppress(RequestError):
        assert normalise_action(text) == text
