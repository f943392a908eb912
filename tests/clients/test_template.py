from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.clients._template import ResourceTemplate
from agentguard.core import ConfigError, RequestError

NAMES = {"to", "n"}


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("mail/outbound", {}, "mail/outbound"),
        ("mail/{to}", {"to": "ann@example.com"}, "mail/ann@example.com"),
        ("mail/{to}/{n}", {"to": "a b", "n": 7}, "mail/a b/7"),
        ("mail/{to}-{to}", {"to": "x"}, "mail/x-x"),
        ("{to}/x", {"to": "mail"}, "mail/x"),
        ("file:/tmp/{to}", {"to": "a.txt"}, "file:/tmp/a.txt"),
        ("https://{to}/x", {"to": "API.example.com"}, "https://api.example.com/x"),
        ("mail/{{{to}}}", {"to": "x"}, "mail/{x}"),
        ("mail/{to}", {"to": "e\u0301"}, "mail/\u00e9"),
        ("mail/{to}", {"to": "{n}"}, "mail/{n}"),
    ],
)
def test_values_fill_their_places(text: str, values: dict[str, Any], expected: str) -> None:
    assert ResourceTemplate(text, names=NAMES).render(values) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mail/{to",
        "mail/to}",
        "mail/{}",
        "mail/{0}",
        "mail/{to.x}",
        "mail/{to[0]}",
        "mail/{to!r}",
        "mail/{to:>10}",
        "mail/{to:{n}}",
        "mail/{other}",
        "mail/../{to}",
        "/mail/{to}",
        "mail//{to}",
        7,
    ],
)
def test_template_that_cannot_be_used_is_refused_at_once(text: Any) -> None:
    with pytest.raises(ConfigError, match="resource"):
        ResourceTemplate(text, names=NAMES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mail/{to}", "a/b"),
        ("mail/{to}", ".."),
        ("mail/{to}", "."),
        ("mail/{to}", "a\\b"),
        ("mail/{to}", "a?b"),
        ("mail/{to}", "a#b"),
        ("mail/{to}", "a\nb"),
        ("mail/{to}", "a\x00"),
        ("mail/{to}", "a\u200b"),
        ("mail/{to}", "%2e%2e"),
        ("mail/{to}", " x"[:1]),
        ("mail/{to}", ""),
        ("mail/{to}", None),
        ("mail/{to}", True),
        ("mail/{to}", 1.5),
        ("mail/{to}", ["a"]),
        ("mail/{to}", "x" * 3000),
        ("{to}/x", "https:"),
        ("mail-{to}", "x:y"),
        ("https://{to}/x", "evil.example#"),
        ("https://{to}.example.com/x", "user@evil"),
        ("https://{to}/x", "evil.example:444"),
        ("mail/{to}{to}", "."),
    ],
)
def test_value_that_would_change_the_structure_is_refused(text: str, value: Any) -> None:
    with pytest.raises((RequestError, ConfigError)) as caught:
        ResourceTemplate(text, names=NAMES).render({"to": value})
    if isinstance(value, str) and len(value) > 2:
        assert value not in str(caught.value)


def test_missing_value_is_refused() -> None:
    with pytest.raises(RequestError, match="`to`"):
        ResourceTemplate("mail/{to}", names=NAMES).render({})


@given(value=st.text(max_size=12))
def test_no_value_changes_the_number_of_segments(value: str) -> None:
    template = ResourceTemplate("mail/{to}/inbox", names=NAMES)
    try:
        rendered = template.render({"to": value})
    except RequestError:
        return
    first, middle, last = rendered.split("/")
    assert (first, last) == ("mail", "inbox")
    assert middle not in ("", ".", "..")
