"""Reserve, settle, release and expire in any order: the ledgers agree with a model that knows no window or file."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentguard.backends import MemoryLedger, SqliteLedger
from agentguard.core import AttemptState, Bill, Claim, Reservation, SpendFilter, Unit

_START = datetime(2026, 1, 31, 12, tzinfo=UTC)
_LIMITS = {"all": 100, "a": 60, "b": 50}
_NAMES = st.sampled_from([f"n-{number}" for number in range(12)])


class LedgerMachine(RuleBasedStateMachine):
    """`held` and `booked` are what each attempt counts as, by the model."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite"
        self.memory, self.sqlite = MemoryLedger(), SqliteLedger(self.path)
        self.now = _START
        self.wishes: dict[str, Reservation] = {}
        self.states: dict[str, AttemptState] = {}
        self.counts: dict[str, int] = {}

    def used(self, meter: str) -> int:
        return sum(
            count
            for name, count in self.counts.items()
            if any(claim.meter == meter for claim in self.wishes[name].claims)
        )

    def expire(self) -> None:
        for name, wish in self.wishes.items():
            if self.states[name] is AttemptState.OPEN and wish.expires <= self.now:
                self.states[name] = AttemptState.EXPIRED

    @rule(name=_NAMES, part=st.sampled_from(["a", "b"]), amount=st.integers(0, 40), lease=st.integers(1, 9))
    def reserve(self, name: str, part: str, amount: int, lease: int) -> None:
        claims = tuple(Claim(meter, Unit.USD, amount, _LIMITS[meter]) for meter in ("all", part))
        expires = self.now + timedelta(seconds=lease)
        wish = Reservation(name, self.now, expires, claims=claims, amounts={Unit.USD: amount})
        holds = [ledger.reserve(wish) for ledger in (self.memory, self.sqlite)]
        assert holds[0].admitted == holds[1].admitted
        assert holds[0].refused == holds[1].refused
        if name in self.wishes:
            assert holds[0].state is holds[1].state is self.states[name]
            known = self.wishes[name].amounts == wish.amounts
            assert holds[0].admitted is (self.states[name] is AttemptState.OPEN and known)
            return
        self.expire()
        assert holds[0].admitted is all(self.used(each.meter) + amount <= each.limit for each in claims)
        if holds[0].admitted:
            self.wishes[name], self.states[name], self.counts[name] = wish, AttemptState.OPEN, amount
            # INVARIANT: what is admitted is within every limit.
            assert all(self.used(each.meter) <= each.limit for each in claims)

    @precondition(lambda self: self.wishes)
    @rule(data=st.data(), amount=st.integers(0, 60))
    def settle(self, data: st.DataObject, amount: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.wishes)))
        bill = Bill({Unit.USD: amount})
        one, two = (ledger.settle(name, bill, at=self.now) for ledger in (self.memory, self.sqlite))
        assert (one.state, one.overrun, one.repeated) == (two.state, two.overrun, two.repeated)
        assert sorted(one.rises, key=str) == sorted(two.rises, key=str)
        assert one.repeated is (self.states[name] is AttemptState.SETTLED)
        if not one.repeated:
            held = self.wishes[name].amounts[Unit.USD]
            assert one.overrun is (amount > (0 if self.states[name] is AttemptState.RELEASED else held))
            self.states[name], self.counts[name] = AttemptState.SETTLED, amount

    @precondition(lambda self: self.wishes)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.wishes)))
        one, two = (ledger.release(name, at=self.now) for ledger in (self.memory, self.sqlite))
        assert one == two
        if self.states[name] is not AttemptState.SETTLED:
            self.states[name], self.counts[name] = AttemptState.RELEASED, 0

    @rule(seconds=st.integers(1, 10))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def open_the_file_again(self) -> None:
        self.sqlite.close()
        self.sqlite = SqliteLedger(self.path)

    @invariant()
    def what_counts_is_what_the_model_says(self) -> None:
        if not hasattr(self, "wishes"):
            return
        claims = [Claim(meter, Unit.USD, 0, limit) for meter, limit in _LIMITS.items()]
        levels = self.memory.levels(claims)
        assert levels == self.sqlite.levels(claims)
        assert [level.used for level in levels] == [self.used(meter) for meter in _LIMITS]
        assert self.memory.entries(SpendFilter()) == self.sqlite.entries(SpendFilter())

    def teardown(self) -> None:
        if hasattr(self, "sqlite"):
            self.sqlite.close()
            self.folder.cleanup()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
