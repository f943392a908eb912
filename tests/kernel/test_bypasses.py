"""Ways round the jail, as root and as an ordinary user: each runs first where nothing guards."""

from __future__ import annotations

import os

import pytest

from agentguard.kernel.jail._landlock import abi
from bypasses import ATTEMPTS, NEIGHBOURS
from jail_lab import NOBODY, Outcome, as_user, benign, matrix, outside

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="lays out files of other users"),
    pytest.mark.skipif(abi() < 6, reason="this kernel has no Landlock with scopes"),
]


def tell(outcome: Outcome, who: str) -> None:
    possible = outcome.possible
    print(f"{who}: {len(possible)} of {len(outcome.unguarded)} attempts possible here")
    for name in outcome.unguarded:
        if name not in possible:
            print(f"  not possible here: {name}")


def test_no_attempt_of_root_that_works_outside_works_inside() -> None:
    with outside() as made:
        outcome = matrix(made)
    tell(outcome, "root")
    assert outcome.bypasses == []
    assert len(outcome.possible) >= 44
    assert len(outcome.unguarded) == len(ATTEMPTS)


def test_no_attempt_of_a_user_that_works_outside_works_inside() -> None:
    with outside() as made:
        os.chmod(made.base, 0o777)
        found = as_user(NOBODY, lambda: vars(matrix(made)))
    outcome = Outcome(**found)
    tell(outcome, "user")
    assert outcome.bypasses == []
    assert len(outcome.possible) >= 25


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_what_agents_ordinarily_do_works_inside(uid: int) -> None:
    with outside() as made:
        os.chmod(made.base, 0o777)
        found = as_user(uid, lambda: vars(benign(made))) if uid else vars(benign(made))
    outcome = Outcome(**found)
    assert len(outcome.possible) == len(NEIGHBOURS) >= 40
    assert [name for name in outcome.possible if not outcome.guarded[name]] == []
