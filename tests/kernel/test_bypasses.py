"""Ways round the jail, as root and as an ordinary user: each runs first where nothing guards."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agentguard.kernel.jail._confine import MOST_PROCESSES
from agentguard.kernel.jail._landlock import abi
from bypasses import ATTEMPTS, NEIGHBOURS
from jail_lab import NOBODY, Outcome, as_user, benign, make_enforcement, matrix, outside, tell

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="lays out files of other users"),
    pytest.mark.skipif(abi() < 6, reason="this kernel has no Landlock with scopes"),
]


def test_no_attempt_of_root_that_works_outside_works_inside() -> None:
    with outside() as made:
        outcome = matrix(made)
    tell(outcome, "root, T1")
    assert outcome.bypasses == []
    assert len(outcome.possible) >= 44
    assert len(outcome.unguarded) == len(ATTEMPTS)


def test_no_attempt_of_a_user_that_works_outside_works_inside() -> None:
    with outside() as made:
        os.chmod(made.base, 0o777)
        found = as_user(NOBODY, lambda: vars(matrix(made)))
    outcome = Outcome(**found)
    tell(outcome, "nobody, T0")
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


FORKS = """
import errno, os, resource, sys
resource.setrlimit(resource.RLIMIT_NPROC, (40, 40))
try:
    resource.setrlimit(resource.RLIMIT_NPROC, (9000, 9000))
except (OSError, ValueError):
    pass
made, said = 0, ""
while made < 500:
    try:
        pid = os.fork()
    except OSError as error:
        said = errno.errorcode[error.errno]
        break
    if pid == 0:
        os.read(0, 1)
        os._exit(0)
    made += 1
open("found", "w").write(f"{limit} {made < 40} {said}")
""".replace(
    "import errno", "import resource; limit = resource.getrlimit(resource.RLIMIT_NPROC)[1]\nimport errno", 1
)


def test_forks_of_a_user_stop_at_a_limit_that_the_agent_cannot_raise() -> None:
    def go() -> str:
        world = made.world()
        enforcement = make_enforcement(world, [])
        jail = enforcement.make_child(
            ["/bin/sh", "-c", f"cd {world.work} && sleep 60 | exec /usr/bin/python3 -I -c '{FORKS}'"]
        )
        try:
            jail.settle(None)
            enforcement.judge()
            jail.go()
            deadline = time.monotonic() + 20
            while not (found := Path(world.work, "found")).exists() or not found.read_text():
                if time.monotonic() > deadline:
                    return "nothing"
                time.sleep(0.02)
            return found.read_text()
        finally:
            jail.kill()
            jail.wait()
            jail.abandon()

    with outside() as made:
        os.chmod(made.base, 0o777)
        assert as_user(NOBODY, go) == f"{MOST_PROCESSES} True EAGAIN"
