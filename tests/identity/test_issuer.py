from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentguard.core import IdentityError, Principal, PrincipalKind
from agentguard.identity import MAX_TTL_S, StateFolder, TokenIssuer, TokenKeys, TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PEOPLE = {
    each.id: each
    for each in (
        Principal(id="agent", roles=("deployer", "reader"), groups=("ops", "sre")),
        Principal(id="anna", kind=PrincipalKind.HUMAN, roles=("admin", "reader"), groups=("ops",)),
        Principal(
            id="planner", kind=PrincipalKind.SERVICE, roles=("admin", "deployer", "reader"), groups=("ops",)
        ),
    )
}


@pytest.fixture
def keys(tmp_path: Path) -> TokenKeys:
    return TokenKeys(StateFolder.open("demo-1234", {"XDG_STATE_HOME": str(tmp_path)}))


def principal(keys: TokenKeys, id_: str, **options: Any) -> Principal:
    token = TokenIssuer(keys).issue(id_, ttl_s=60, **options)
    return TokenVerifier(keys, PEOPLE.get).verify(token).principal


def test_chain_goes_from_the_immediate_delegator_to_the_first(keys: TokenKeys) -> None:
    acting = principal(keys, "agent", on_behalf_of=("planner", "anna"))
    assert acting.id == "agent"
    assert acting.on_behalf_of == ("planner", "anna")
    assert acting.roles == ("reader",)
    assert acting.groups == ("ops",)


@pytest.mark.parametrize(
    ("id_", "options", "roles"),
    [
        ("agent", {}, ("deployer", "reader")),
        ("agent", {"roles": ["deployer"]}, ("deployer",)),
        ("agent", {"roles": []}, ()),
        ("agent", {"roles": ["admin", "deployer"]}, ("deployer",)),
        ("agent", {"roles": ["admin"], "on_behalf_of": ["planner", "anna"]}, ()),
        ("agent", {"on_behalf_of": ["planner"]}, ("deployer", "reader")),
        ("agent", {"on_behalf_of": ["stranger"]}, ()),
        ("agent", {"on_behalf_of": ["planner", "stranger"]}, ()),
        ("stranger", {"roles": ["admin"]}, ()),
        ("stranger", {"roles": ["admin"], "on_behalf_of": ["anna"]}, ()),
    ],
)
def test_roles_are_what_token_actor_and_every_delegator_share(
    keys: TokenKeys, id_: str, options: dict[str, Any], roles: tuple[str, ...]
) -> None:
    assert principal(keys, id_, **options).roles == roles


def test_groups_are_narrowed_by_the_token(keys: TokenKeys) -> None:
    assert principal(keys, "agent", groups=["sre", "board"]).groups == ("sre",)


def test_kind_of_the_inventory_counts_before_that_of_the_token(keys: TokenKeys) -> None:
    assert principal(keys, "anna", kind=PrincipalKind.AGENT).kind is PrincipalKind.HUMAN
    assert principal(keys, "stranger", kind=PrincipalKind.SERVICE).kind is PrincipalKind.SERVICE
    assert principal(keys, "stranger").kind is PrincipalKind.AGENT


def test_act_as_has_to_be_given(keys: TokenKeys) -> None:
    issuer, verifier = TokenIssuer(keys), TokenVerifier(keys, PEOPLE.get)
    assert verifier.verify(issuer.issue("agent", ttl_s=60, act_as=True)).act_as is True
    assert verifier.verify(issuer.issue("agent", ttl_s=60)).act_as is False


@pytest.mark.parametrize(
    ("id_", "options", "code"),
    [
        ("agent", {"ttl_s": 0}, "token_lifetime"),
        ("agent", {"ttl_s": MAX_TTL_S + 1}, "token_lifetime"),
        ("agent", {"on_behalf_of": ["a", "b", "c", "d", "e"]}, "token_delegation"),
        ("agent", {"on_behalf_of": ["agent"]}, "token_delegation"),
        ("agent", {"on_behalf_of": ["anna", "anna"]}, "token_delegation"),
        ("", {}, "token_malformed"),
        ("agent\n", {}, "token_malformed"),
        ("agent", {"roles": ["r" * 257]}, "token_malformed"),
        ("agent", {"roles": [f"role-{number}" for number in range(1000)]}, "token_malformed"),
    ],
)
def test_token_that_would_be_refused_is_not_issued(
    keys: TokenKeys, id_: str, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(IdentityError) as caught:
        TokenIssuer(keys).issue(id_, **({"ttl_s": 60} | options))
    assert caught.value.code == code


@pytest.mark.parametrize("ttl_s", [1, MAX_TTL_S])
def test_shortest_and_longest_token_pass(keys: TokenKeys, ttl_s: int) -> None:
    keys.now = lambda: 1_800_000_000.0
    TokenVerifier(keys, PEOPLE.get).verify(TokenIssuer(keys).issue("agent", ttl_s=ttl_s))


def test_audience_of_another_service_is_refused(keys: TokenKeys) -> None:
    token = TokenIssuer(keys, audience="billing").issue("agent", ttl_s=60)
    assert TokenVerifier(keys, PEOPLE.get, audience="billing").verify(token).principal.id == "agent"
    with pytest.raises(IdentityError) as caught:
        TokenVerifier(keys, PEOPLE.get).verify(token)
    assert caught.value.code == "token_audience"


NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
ROLES = st.lists(st.sampled_from(["r1", "r2", "r3", "r4"]), unique=True)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    chain=st.lists(NAMES, min_size=1, max_size=5, unique=True),
    held=st.dictionaries(NAMES, ROLES),
    granted=st.none() | ROLES,
)
def test_delegation_never_widens(
    keys: TokenKeys, chain: list[str], held: dict[str, list[str]], granted: Sequence[str] | None
) -> None:
    people = {id_: Principal(id=id_, roles=tuple(roles), groups=tuple(roles)) for id_, roles in held.items()}
    verifier = TokenVerifier(keys, people.get)

    def roles(length: int, grant: Sequence[str] | None) -> set[str]:
        token = TokenIssuer(keys).issue(
            chain[0], ttl_s=60, on_behalf_of=chain[1:length], roles=grant, groups=grant
        )
        found = verifier.verify(token).principal
        assert found.roles == found.groups
        return set(found.roles)

    effective = roles(len(chain), granted)
    for each in chain:
        assert effective <= set(held.get(each, ()))
    assert effective <= roles(len(chain), None) <= roles(1, None)
    if granted is not None:
        assert effective <= set(granted)
    for length in range(1, len(chain)):
        assert roles(length + 1, granted) <= roles(length, granted)
