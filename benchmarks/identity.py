"""Cost of a token: verified anew, and known already. Prints the best of several rounds."""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING

from agentguard.core import Principal
from agentguard.identity import StateFolder, TokenIssuer, TokenKeys, TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7


def best_us(call: Callable[[], object], count: int) -> float:
    """Return the microseconds of processor time of one call, in the best round."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(count):
            call()
        rounds.append((time.process_time_ns() - start) / count / 1000)
    return min(rounds)


def measure(keys: TokenKeys) -> None:
    person = Principal(id="deploy-agent", roles=("deployer",), groups=("sre",))
    issuer = TokenIssuer(keys)
    verifier = TokenVerifier(keys, {person.id: person}.get)
    token = issuer.issue(person.id, ttl_s=3600, roles=["deployer"])

    def verify_anew() -> None:
        verifier.forget()
        verifier.verify(token)

    name = f"{keys.algorithms[-1]:8} {len(token)} bytes"
    print(f"{name}  issue          {best_us(lambda: issuer.issue(person.id, ttl_s=60), 300):8.2f} us")
    print(f"{name}  verify, anew   {best_us(verify_anew, 300):8.2f} us")
    print(f"{name}  verify, known  {best_us(lambda: verifier.verify(token), 100_000):8.2f} us")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = StateFolder.open("bench-project", {"XDG_STATE_HOME": folder})
        for hs256 in (False, True):
            measure(TokenKeys(state, hs256=hs256))


if __name__ == "__main__":
    main()
