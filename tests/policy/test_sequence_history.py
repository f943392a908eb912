from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import Action, Context, Effect, IntegrityError, PolicyError, Principal, Resource, Risk
from agentguard.policy import Facts, History, SequenceRules, SequenceRuling, SequenceSet, compile_policies
from agentguard.policy._sequence_cells import Mark
from agentguard.policy._sequence_scope import ScopeState, prune
from agentguard.policy._sequence_store import encode

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
BAN = {
    "id": "ban",
    "effect": "deny",
    "after": {"actions": ["a"]},
    "then": {"actions": ["b"]},
    "unless": {"actions": ["c"]},
    "within": "10m",
}
NEED = {"id": "need", "effect": "deny", "then": {"actions": ["b"]}, "requires": {"actions": ["a"]}}
COUNT = {"id": "count", "effect": "deny", "of": {"actions": ["a"]}, "count": 3, "per": "1h"}
DISTINCT = {"id": "hosts", "effect": "deny", "of": {"actions": ["a"]}, "distinct": "resource", "max": 2}
SUM = {"id": "sum", "effect": "deny", "of": {"actions": ["a"]}, "sum": "/n", "max": 10}
BREAKER = {"denials": 2, "within": "5m", "pause": "10m"}
RISK = {"window": "1h", "approval_from": 10, "deny_from": 20}


def rules(*entries: dict[str, Any], **more: Any) -> SequenceSet:
    written = {
        "sequences": [each for each in entries if "then" in each],
        "limits": [each for each in entries if "of" in each],
        **more,
    }
    return compile_policies([], msgspec.convert(written, SequenceRules)).sequences


def ask(
    name: str,
    minutes: float = 0,
    *,
    session: str = "s",
    resource: str = "x/y",
    who: str = "bob",
    params: dict[str, Any] | None = None,
) -> Facts:
    return Facts(
        Principal(who),
        Action(name, 1, "", Risk.LOW),
        Resource(resource, "x"),
        params or {},
        Context(session=session),
        NOON + timedelta(minutes=minutes),
    )


def passes(history: History, sequences: SequenceSet, facts: Facts, score: int = 0) -> bool:
    """Decide as an enforcement point does: reserve, then settle with what came of it."""
    made = history.reserve(sequences, facts, Effect.ALLOW, score=score)
    if made is None:
        return True
    effect = made.ruling.effect if made.ruling is not None else Effect.ALLOW
    history.settle(made, effect)
    return effect is Effect.ALLOW


def test_nothing_is_noted_where_nothing_is_asked() -> None:
    history = History()
    assert history.reserve(rules(), ask("a"), Effect.ALLOW) is None
    assert history.evaluate(rules(), ask("a")) is None
    assert history.reserve(rules(COUNT), ask("z"), Effect.ALLOW) is None
    history.commit(rules(), ask("a"), Effect.ALLOW)
    history.denied(rules(COUNT), Principal("bob"), Context(), NOON)
    assert len(history) == 0


def test_evaluate_notes_nothing_and_moves_no_time() -> None:
    history, sequences = History(), rules(COUNT)
    for _ in range(3):
        assert passes(history, sequences, ask("a"))
    before = history.snapshot()
    assert history.evaluate(sequences, ask("a", minutes=10_000)) is None
    said = history.evaluate(sequences, ask("a"))
    told = "3 of 3 so far in 1h; free again in 1h"
    assert said == SequenceRuling(
        Effect.DENY, "budget", "more than 3 times of a in 1h", "count", explanation=told
    )
    assert history.snapshot() == before


@pytest.mark.parametrize(
    ("entry", "asks"),
    [
        (COUNT, [ask("a")] * 3),
        (SUM, [ask("a", params={"n": 10})]),
        (SUM, [ask("a", params={"n": 2.5})] * 4),
        (DISTINCT, [ask("a", resource="x/1"), ask("a", resource="x/2")]),
        (BAN, [ask("a")]),
    ],
    ids=["count", "sum", "fractions", "distinct", "ban"],
)
def test_reservation_that_came_to_nothing_leaves_nothing(entry: dict[str, Any], asks: list[Facts]) -> None:
    history, sequences = History(), rules(entry)
    for _ in range(3):
        for facts in asks:
            made = history.reserve(sequences, facts, Effect.ALLOW)
            assert made is not None
            assert made.ruling is None
            history.settle(made, Effect.DENY)
            history.settle(made, Effect.DENY)
    for facts in asks:
        assert passes(history, sequences, facts)
    last = ask("b") if entry is BAN else ask("a", resource="x/3", params={"n": 1})
    assert not passes(history, sequences, last)


def test_mark_taken_back_brings_the_one_before_it_back() -> None:
    history, sequences = History(), rules(BAN)
    assert passes(history, sequences, ask("a"))
    made = history.reserve(sequences, ask("a", 5), Effect.ALLOW)
    assert made is not None
    history.settle(made, Effect.REQUIRE_APPROVAL)
    assert not passes(history, sequences, ask("b", 10))
    assert passes(history, sequences, ask("b", 10.1))


def test_taking_back_leaves_what_others_noted_since() -> None:
    history, sequences = History(), rules(BAN)
    made = history.reserve(sequences, ask("a"), Effect.ALLOW)
    assert made is not None
    assert passes(history, sequences, ask("a", 1))
    history.settle(made, Effect.DENY)
    assert not passes(history, sequences, ask("b", 2))


def test_reservation_holds_while_its_decision_is_open() -> None:
    history, sequences = History(), rules(BAN, {**COUNT, "count": 1})
    made = history.reserve(sequences, ask("a"), Effect.ALLOW)
    assert made is not None
    assert not passes(history, sequences, ask("b"))
    assert not passes(history, sequences, ask("a"))


def test_what_frees_does_so_only_when_it_is_settled() -> None:
    history, sequences = History(), rules(BAN)
    assert passes(history, sequences, ask("a"))
    made = history.reserve(sequences, ask("c"), Effect.ALLOW)
    assert made is not None
    assert not passes(history, sequences, ask("b"))
    history.settle(made, Effect.ALLOW)
    assert passes(history, sequences, ask("b"))


def test_first_step_after_what_frees_was_asked_counts() -> None:
    history, sequences = History(), rules(BAN)
    assert passes(history, sequences, ask("a"))
    made = history.reserve(sequences, ask("c"), Effect.ALLOW)
    assert passes(history, sequences, ask("a"))
    assert made is not None
    history.settle(made, Effect.ALLOW)
    assert not passes(history, sequences, ask("b"))


def test_request_that_is_first_step_and_frees_at_once_counts_as_first_step() -> None:
    history = History()
    sequences = rules({**BAN, "unless": {"actions": ["a", "c"]}})
    assert passes(history, sequences, ask("a"))
    assert not passes(history, sequences, ask("b"))


def test_what_is_required_counts_only_when_it_is_settled() -> None:
    history, sequences = History(), rules(NEED)
    made = history.reserve(sequences, ask("a"), Effect.ALLOW)
    assert not passes(history, sequences, ask("b"))
    assert made is not None
    history.settle(made, Effect.ALLOW)
    assert passes(history, sequences, ask("b"))


def test_effect_that_is_strict_already_notes_nothing() -> None:
    history, sequences = History(), rules(COUNT, BAN)
    assert history.reserve(sequences, ask("a"), Effect.DENY) is None
    assert history.reserve(sequences, ask("a"), Effect.REQUIRE_APPROVAL) is None
    assert len(history) == 0


def test_clock_that_goes_back_gives_nothing_free() -> None:
    history, sequences = History(), rules(COUNT, {**NEED, "within": "10m"}, {**BAN, "scope": "agent"})
    for _ in range(3):
        assert passes(history, sequences, ask("a", 60))
    assert not passes(history, sequences, ask("a", -1000))
    assert not passes(history, sequences, ask("b", -1000))
    free = rules({**NEED, "within": "10m"})
    assert passes(history, free, ask("a", 60))
    assert passes(history, free, ask("b", 65))
    assert not passes(history, free, ask("b", 90))
    assert not passes(history, free, ask("b", 65))  # back within the time, by the clock


def test_clock_that_jumps_forward_expires_as_time_does() -> None:
    history, sequences = History(), rules(COUNT)
    for _ in range(3):
        assert passes(history, sequences, ask("a"))
    assert not passes(history, sequences, ask("a"))
    assert passes(history, sequences, ask("a", 61))


def test_what_was_decided_elsewhere_is_noted_whatever_the_rules_say() -> None:
    history, sequences = History(), rules(COUNT, SUM, DISTINCT, breaker=BREAKER, cumulative_risk=RISK)
    for place in range(5):
        history.commit(sequences, ask("a", resource=f"x/{place}"), Effect.ALLOW, score=1)
    assert not passes(history, rules(COUNT), ask("a"))
    assert not passes(history, rules(SUM), ask("a", params={"n": 0.1}))
    assert not passes(history, rules(DISTINCT), ask("a", resource="x/9"))
    for _ in range(2):
        history.commit(sequences, ask("a"), Effect.DENY)
    said = history.evaluate(sequences, ask("z"))
    assert said is not None
    assert said.stage == "breaker"
    history.commit(rules(BAN), ask("z"), Effect.ALLOW)


def test_cumulative_risk_escalates() -> None:
    history, sequences = History(), rules(cumulative_risk=RISK)
    effects = []
    for _ in range(7):
        made = history.reserve(sequences, ask("a"), Effect.ALLOW, score=4)
        assert made is not None
        effect = made.ruling.effect if made.ruling is not None else Effect.ALLOW
        history.settle(made, effect)
        effects.append(effect.value)
    assert effects == ["allow"] * 2 + ["require_approval"] * 2 + ["deny"] * 3


def test_risk_of_what_was_denied_later_is_taken_back() -> None:
    history, sequences = History(), rules(COUNT, cumulative_risk=RISK)
    for effect in (Effect.ALLOW, Effect.REQUIRE_APPROVAL):
        made = history.reserve(sequences, ask("a"), effect, score=9)
        assert made is not None
        history.settle(made, Effect.DENY)
    assert passes(history, sequences, ask("a"), score=9)


@pytest.mark.parametrize(
    ("entry", "before", "frees"), [(BAN, ["a"], "c"), (NEED, [], "a")], ids=["unless", "requires"]
)
def test_what_another_one_asked_for_frees_only_the_scopes_that_it_is_about(
    entry: dict[str, Any], before: list[str], frees: str
) -> None:
    history, sequences = History(), rules(entry)
    for name in before:
        assert passes(history, sequences, ask(name))
    history.free(rules(), ask(frees, who="anna"), Principal("bob"), Context(session="s"))
    history.free(sequences, ask("other", who="anna"), Principal("bob"), Context(session="s"))
    history.free(sequences, ask(frees, who="anna"), Principal("eve"), Context(session="s"))
    assert not passes(history, sequences, ask("b"))
    history.free(sequences, ask(frees, who="anna"), Principal("bob"), Context(session="s"))
    assert passes(history, sequences, ask("b"))


def test_stricter_of_sequence_and_cumulative_risk_holds() -> None:
    ask_first = {**BAN, "effect": "require_approval"}
    sequences = rules(ask_first, {**BAN, "id": "ban-2", "effect": "require_approval"}, cumulative_risk=RISK)
    history = History()
    history.commit(sequences, ask("a"), Effect.ALLOW)
    for score, rule in ((0, "ban"), (15, "ban"), (25, "cumulative-risk")):
        said = history.evaluate(sequences, ask("b"), score=score)
        assert said is not None
        assert said.rule == rule


def test_branch_sees_what_was_and_leaves_no_trace() -> None:
    history, sequences = History(), rules(COUNT, BAN)
    assert passes(history, sequences, ask("a"))
    before = history.snapshot()
    branch = history.branch()
    assert [passes(branch, sequences, ask("a")) for _ in range(3)] == [True, True, False]
    assert not passes(branch, sequences, ask("b"))
    assert history.snapshot() == before
    assert branch.snapshot() != before
    assert not passes(branch.branch(), sequences, ask("a"))


def test_many_threads_never_pass_a_limit_together() -> None:
    history = History()
    sequences = rules({**COUNT, "count": 100, "scope": "all"}, {**SUM, "max": 1000, "scope": "agent"})
    start, passed = threading.Barrier(8), []

    def work(number: int) -> None:
        start.wait(timeout=10)
        for turn in range(60):
            facts = ask("a", session=f"{number}", who=f"agent-{turn % 2}", params={"n": 9.5})
            made = history.reserve(sequences, facts, Effect.ALLOW)
            assert made is not None
            # Each third is denied by a later stage, and gives back what it had reserved.
            effect = made.ruling.effect if made.ruling is not None else Effect.ALLOW
            effect = Effect.DENY if turn % 3 == 0 else effect
            history.settle(made, effect)
            if effect is Effect.ALLOW:
                passed.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert 90 <= len(passed) <= 100


def test_full_history_denies_new_sessions_and_keeps_the_old() -> None:
    history, sequences = History(limit=3), rules({**BAN, "scope": "session"}, cumulative_risk=RISK)
    only = rules({**BAN, "unless": {"actions": ["c"]}})
    for number in range(3):
        assert passes(history, only, ask("a", session=f"s{number}"))
    made = history.reserve(only, ask("a", session="s9"), Effect.ALLOW)
    assert made is not None
    assert made.ruling is not None
    assert (made.ruling.effect, made.ruling.rule) == (Effect.DENY, None)
    assert made.ruling.reason == "the history is full: it has room for 3 scopes, 3 of one principal"
    history.settle(made, Effect.DENY)
    assert passes(history, only, ask("b", session="s9"))
    assert not passes(history, only, ask("b", session="s1"))
    assert not passes(history, sequences, ask("z", session="s9"), score=1)
    # When the windows have passed there is room again.
    assert passes(history, only, ask("a", minutes=11, session="s9"))
    assert len(history) == 1


def test_full_history_takes_back_what_it_had_begun() -> None:
    history = History(limit=1)
    sequences = rules({**COUNT, "scope": "agent", "count": 1}, {**BAN, "id": "zz", "scope": "session"})
    assert passes(history, rules({**BAN, "scope": "agent"}), ask("a"))
    assert not passes(history, sequences, ask("a"))
    assert passes(history, rules({**COUNT, "scope": "agent", "count": 1}), ask("a"))


def test_full_history_counts_no_denials_and_no_prerequisites() -> None:
    history = History(limit=1)
    assert passes(history, rules(BAN), ask("a", session="other"))
    sequences = rules(NEED, breaker=BREAKER)
    assert passes(history, sequences, ask("a"))
    assert not passes(history, sequences, ask("b"))
    history.denied(sequences, Principal("bob"), Context(), NOON)
    assert len(history) == 1


def test_principal_that_begins_ever_more_sessions_does_not_lock_out_others() -> None:
    history, sequences = History(limit=5000), rules(BAN)
    passed = [passes(history, sequences, ask("a", session=f"s{number}")) for number in range(1200)]
    assert passed == [True] * 1000 + [False] * 200
    assert passes(history, sequences, ask("a", who="ann"))
    again = History(limit=5000)
    again.restore(history.snapshot())
    assert not passes(again, sequences, ask("a", session="new"))
    assert passes(again, sequences, ask("a", minutes=11, session="new"))


def test_history_needs_room() -> None:
    with pytest.raises(PolicyError):
        History(limit=0)


def test_sessions_that_never_end_are_forgotten_after_a_day_of_silence() -> None:
    history = History(limit=10)
    session, agent = rules({**SUM, "per": "session"}), rules({**SUM, "id": "z", "scope": "agent"})
    for each in (session, agent):
        assert passes(history, each, ask("a", params={"n": 6}))
    day = 25 * 60
    for number in range(9):
        assert passes(history, rules(BAN), ask("a", day, session=f"n{number}"))
    assert passes(history, session, ask("a", day + 11, params={"n": 6}))
    assert not passes(history, agent, ask("a", day + 11, params={"n": 6}))


def test_ten_thousand_sessions_and_long_ones_stay_small() -> None:
    history, sequences = History(limit=2000), rules(COUNT, DISTINCT, {**COUNT, "id": "wide", "count": 10**6})
    for number in range(10_000):
        passes(history, sequences, ask("a", number, session=f"s{number}", resource=f"x/{'y' * 500}{number}"))
    assert len(history) <= 2000
    one = History()
    for number in range(20_000):
        passes(one, rules({**COUNT, "count": 10**6}, BAN), ask("a", number / 100))
    assert len(one) == 1
    assert len(one.snapshot()) < 5_000


def test_policy_swap_keeps_history_of_rules_that_did_not_change() -> None:
    history, before = History(), rules(COUNT, BAN)
    for _ in range(3):
        assert passes(history, before, ask("a"))
    after = rules(COUNT, {**BAN, "within": "20m"})
    assert not passes(history, after, ask("a"))
    assert passes(history, after, ask("b"))


def test_cells_of_rules_long_gone_are_dropped() -> None:
    history = History()
    for number in range(300):
        assert passes(history, rules({**COUNT, "id": f"c{number}"}), ask("a"))
    assert len(history.snapshot()) < 20_000
    state = ScopeState(0.0, cells={})
    prune(state, frozenset())
    assert state.cells == {}


def everything(history: History, sequences: SequenceSet) -> None:
    for number in range(100):
        passes(history, sequences, ask("a", number / 10, resource=f"x/{number}", params={"n": 0.3}), score=1)
        passes(history, sequences, ask("b", number / 10, session=f"s{number}"))
    for number in range(3):
        history.denied(sequences, Principal(f"p{number % 2}"), Context(), NOON)


def test_snapshot_and_restore_give_the_same_history(tmp_path: Path) -> None:
    wide = {**COUNT, "count": 10**6, "scope": "all", "id": "wide"}
    sequences = rules(
        {**BAN, "scope": "agent"}, NEED, wide, {**DISTINCT, "max": 99}, {**SUM, "max": 99}, breaker=BREAKER
    )
    history, again, third = History(), History(), History()
    everything(history, sequences)
    again.restore(history.snapshot())
    assert again.snapshot() == history.snapshot()
    path = tmp_path / "history"
    assert not third.load(path)
    history.save(path)
    again.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["history"]
    assert third.load(path)
    for each in (history, again, third):
        everything(each, sequences)
    assert history.snapshot() == again.snapshot() == third.snapshot()


def test_history_that_was_changed_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    history, sequences = History(), rules(COUNT)
    assert passes(history, sequences, ask("a"))
    data = history.snapshot()
    path = tmp_path / "history"
    for damaged in (b"", data[:-1], data + b"x", data[:40], b"\0" + data[1:], data.replace(b"bob", b"eve")):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError) as caught:
            history.load(path)
        assert caught.value.code == "history_damaged"
        assert str(caught.value).startswith(f"{path}: the history is ")
        assert history.snapshot() == data


def test_history_with_a_time_that_is_no_time_is_refused() -> None:
    state = ScopeState(0.0, cells={"d": Mark(float("nan"), 1)})
    with pytest.raises(IntegrityError, match="a time is not finite"):
        History().restore(encode({("all", "", ""): state}))
    body = b"\x93"
    damaged = b"agentguard-history 1\n" + hashlib.sha256(body).digest() + body
    with pytest.raises(IntegrityError, match="is damaged: "):
        History().restore(damaged)


def test_history_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="the history cannot be kept: no such file or directory"):
        History().save(tmp_path / "nowhere" / "history")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IntegrityError, match="is a directory"):
        History().load(tmp_path / "folder")
    with pytest.raises(IntegrityError):
        History().save(tmp_path / "folder")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
