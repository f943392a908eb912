"""The inventory knows resources by id and by pattern, and principals by id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Glob, Principal, RegistryError, Resource, Sensitivity
from agentguard.registry import Inventory, ResourceEntry
from agentguard.registry import _inventory as module

PUBLIC, INTERNAL, RESTRICTED = Sensitivity.PUBLIC, Sensitivity.INTERNAL, Sensitivity.RESTRICTED


def inventory(*entries: ResourceEntry) -> Inventory:
    return Inventory.build(entries, [])


def test_exact_entry_is_resolved_whole() -> None:
    entry = ResourceEntry("prod/api", "deployment", "prod", RESTRICTED, "payments", {"team": "a"})
    found = inventory(entry, ResourceEntry("prod/*", sensitivity=PUBLIC)).resolve("prod/api")
    assert found == Resource(
        "prod/api", "deployment", "prod", RESTRICTED, "payments", {"team": "a"}, listed=True
    )


def test_type_is_read_from_the_id_where_it_is_not_declared() -> None:
    found = inventory(ResourceEntry("file:/etc/*"))
    assert found.resolve("file:/etc/shadow") == Resource("file:/etc/shadow", "file", listed=True)
    assert found.resolve("file:/etc/shadow").weight == 4


def test_unknown_resource_is_not_listed() -> None:
    assert inventory().resolve("mail/outbound") == Resource("mail/outbound", "mail", listed=False)


BEST = [
    (["prod/**", "prod/a*"], "prod/api", 1),
    (["**", "prod/**"], "prod/api/x", 1),
    (["prod/*"], "prod/api/x", None),
    (["prod/api*", "prod/**"], "prod/api/x", 1),
    (["https://*.example.com/**"], "https://a.example.com/x", 0),
    (["host:*:443"], "host:api.example.com:443", 0),
    (["host:*:443"], "host:api.example.com:80", None),
    (["PROD/**"], "prod/api", None),
]


@pytest.mark.parametrize(("patterns", "resource", "best"), BEST)
def test_longest_literal_prefix_counts(patterns: list[str], resource: str, best: int | None) -> None:
    entries = [ResourceEntry(pattern, owner=str(index)) for index, pattern in enumerate(patterns)]
    assert inventory(*entries).resolve(resource).owner == ("" if best is None else str(best))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("one", "two", "stricter"),
    [(PUBLIC, RESTRICTED, RESTRICTED), (PUBLIC, None, None), (INTERNAL, PUBLIC, INTERNAL)],
)
def test_of_equal_patterns_the_more_sensitive_counts(
    one: Sensitivity | None, two: Sensitivity | None, stricter: Sensitivity | None, *, flip: bool
) -> None:
    entries = [ResourceEntry("prod/*", sensitivity=one), ResourceEntry("prod/**", sensitivity=two)]
    found = inventory(*(reversed(entries) if flip else entries)).resolve("prod/api")
    assert found.sensitivity is stricter


patterns = st.lists(st.text("ab/*", min_size=1, max_size=5), unique=True, max_size=6)


@given(
    patterns, st.lists(st.sampled_from(list(Sensitivity)), min_size=6, max_size=6), st.text("ab/", min_size=1)
)
def test_resolve_agrees_with_trying_every_pattern(
    texts: list[str], levels: list[Sensitivity], text: str
) -> None:
    entries = [
        ResourceEntry(pattern, sensitivity=level)
        for pattern, level in zip(texts, levels, strict=False)
        if "*" in pattern
    ]
    fits = [(len(Glob(e.id).prefix), e.weight) for e in entries if Glob(e.id).matches(text)]
    found = Inventory(entries, {}).resolve(text)
    assert found.listed == bool(fits)
    if fits:
        assert found.weight == max(fits)[1]


def test_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CACHED", 10)
    known = inventory(ResourceEntry("prod/*"), ResourceEntry("prod/api", owner="x"))
    for number in range(100):
        assert known.resolve(f"prod/{number}").listed
    assert len(known._cache) <= 10
    assert known.resolve("prod/api").owner == "x"


def test_ids_are_normalised_and_kept_as_declared() -> None:
    known = inventory(ResourceEntry("HTTPS://Example.COM./a"), ResourceEntry("file:///etc/*"))
    assert [entry.id for entry in known.resources] == ["https://example.com/a", "file:/etc/*"]
    assert known.resolve("https://example.com/a").listed


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        (["prod/../x"], "empty, `.` or `..` segment"),
        ([""], "is empty"),
        (["a/b", "a/b"], "resource `a/b` is declared twice"),
        (["HTTPS://x/a", "https://X/a"], "resource `https://x/a` is declared twice"),
        (["p/*", "p/*"], "declared twice"),
        (["prod/**/../x"], "segment"),
    ],
)
def test_wrong_resource_is_refused(ids: list[str], why: str) -> None:
    with pytest.raises(RegistryError, match=why) as caught:
        inventory(*map(ResourceEntry, ids))
    assert f"`{ids[-1]}`" in str(caught.value)


def test_principals_are_found_by_id_and_cannot_be_changed() -> None:
    agent = Principal("deploy-agent", roles=("deployer",), groups=("sre",))
    people = Inventory.build([], [agent]).principals
    assert people["deploy-agent"] is agent
    with pytest.raises(TypeError):
        people["x"] = agent  # type: ignore[index]  # that it cannot be assigned to is the point


@pytest.mark.parametrize(
    "principal",
    [
        Principal(""),
        Principal("a b"),
        Principal("a\u2003b"),
        Principal("a*"),
        Principal("a\x00"),
        Principal("a" * 201),
        Principal("a\u200bb"),
        Principal("a", roles=("",)),
        Principal("a", groups=("x y",)),
    ],
)
def test_wrong_principal_is_refused(principal: Principal) -> None:
    with pytest.raises(RegistryError, match="must be 1 to 200 printable characters"):
        Inventory.build([], [principal])


def test_principal_declared_twice_or_with_a_chain_is_refused() -> None:
    with pytest.raises(RegistryError, match="principal `a` is declared twice"):
        Inventory.build([], [Principal("a"), Principal("a")])
    with pytest.raises(RegistryError, match="delegation comes from a token"):
        Inventory.build([], [Principal("a", on_behalf_of=("b",))])


def test_longest_principal_id_is_taken() -> None:
    assert len(Inventory.build([], [Principal("ä" * 200)]).principals) == 1
