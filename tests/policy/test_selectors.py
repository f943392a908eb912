from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Action, Principal, Resource, Risk
from agentguard.policy import PrincipalSelector, ResourceSelector
from agentguard.policy._selectors import action_vector, compile_principal, compile_resource, resource_keys
from property import oracle

TEXTS = st.text("ab/*", min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("patterns", "vector"),
    [
        (None, (0, 0)),
        (("file.read@2",), (2, 1)),
        (("file.read",), (2, 0)),
        (("file.*",), (1, 5)),
        (("*", "file.*"), (1, 5)),
        (("*", "file.read"), (2, 0)),
        (("file.read@1",), None),
        (("mail.*",), None),
    ],
)
def test_best_pattern_for_an_action_counts(
    patterns: tuple[str, ...] | None, vector: tuple[int, int] | None
) -> None:
    assert action_vector(patterns, Action("file.read", 2, "", Risk.LOW)) == vector


@pytest.mark.parametrize(
    ("pattern", "vector"),
    [
        ("a", (5, 0)),
        (PrincipalSelector(role="a"), (4, 0)),
        (PrincipalSelector(group="a"), (4, 0)),
        (PrincipalSelector(), None),
        ("ab*", (1, 2)),
        ("**", (1, 0)),
    ],
)
def test_principals_by_specificity(pattern: str | PrincipalSelector, vector: tuple[int, int] | None) -> None:
    if vector is not None:
        assert compile_principal(pattern).vector == vector


@pytest.mark.parametrize(
    ("pattern", "vector", "names"),
    [
        ("a/b", (4, 0), True),
        (ResourceSelector(type="a", owner="b"), (3, 0), False),
        (ResourceSelector(owner="b"), (2, 0), False),
        ("a/*", (1, 2), True),
        ("**", (1, 0), False),
    ],
)
def test_resources_by_specificity(
    pattern: str | ResourceSelector,
    vector: tuple[int, int],
    names: bool,  # noqa: FBT001
) -> None:
    head = compile_resource(pattern, unknown=False)
    assert (head.vector, head.names) == (vector, names)


@given(pattern=TEXTS, id_=st.text("ab/", min_size=1, max_size=6))
def test_key_of_a_glob_is_a_key_of_all_that_it_matches(pattern: str, id_: str) -> None:
    try:
        head = compile_resource(pattern, unknown=False)
    except Exception:  # noqa: BLE001 - most random texts are no ids
        return
    if oracle.glob(pattern, id_):
        assert set(head.keys) & set(resource_keys(Resource(id_, "a")))


def test_principal_text_says_what_is_asked() -> None:
    assert compile_principal(PrincipalSelector(role=("a", "b"))).text == "principal role=a|b"
    assert Principal("x").roles == ()
