"""The store keeps what it must, within its bounds, and forgets on the strict side."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentguard.core import (
    Integrity,
    Label,
    Match,
    Principal,
    PrincipalKind,
    Regrade,
    RequestError,
    Sensitivity,
)
from agentguard.flow import NOTHING_SEEN, FlowStore
from agentguard.flow import _store as module
from agentguard.flow._prints import BUDGET
from agentguard.flow._session import MAX_ORIGINS, MAX_VOUCHED

KEY = ("agent", "session")
ANNA = Principal("anna", PrincipalKind.HUMAN)
WEB = Label(Integrity.UNTRUSTED, Sensitivity.PUBLIC)
FILE = Label(Integrity.VERIFIED, Sensitivity.RESTRICTED)
TAINTED = Label(Integrity.UNTRUSTED, Sensitivity.RESTRICTED)


def test_nothing_seen_means_that_a_model_wrote_it() -> None:
    store = FlowStore()
    found = store.trace(KEY, {"to": "bob@corp.example"})
    assert found is NOTHING_SEEN
    assert found[""].label == store.label(KEY) == Label(Integrity.UNVERIFIED, Sensitivity.PUBLIC)


def test_label_of_a_session_is_that_of_all_it_saw() -> None:
    store = FlowStore()
    store.observe(KEY, "x", Label(Integrity.TRUSTED, Sensitivity.PUBLIC), "user", 1.0)
    assert store.label(KEY).integrity is Integrity.UNVERIFIED
    store.observe(KEY, None, FILE, "tool:file.read", 2.0)
    store.observe(KEY, b"\xff\x00", Label(Integrity.UNTRUSTED, categories=("health",)), "net:host", 3.0)
    assert store.label(KEY) == Label(Integrity.UNTRUSTED, Sensitivity.RESTRICTED, ("health",))


def test_sessions_of_two_principals_have_nothing_to_do_with_each_other() -> None:
    store = FlowStore()
    store.observe(("mallory", "session"), "poison for the well", WEB, "tool:http.get", 1.0)
    assert store.trace(KEY, {"x": "poison for the well"}) is NOTHING_SEEN
    assert store.label(KEY).integrity is Integrity.UNVERIFIED


def test_request_without_session_counts_all_sessions_of_its_principal() -> None:
    store = FlowStore()
    store.observe(KEY, "something", WEB, "tool:http.get", 1.0)
    assert store.trace(("agent", ""), {"x": "anything else"})["/x"].label.integrity is Integrity.UNTRUSTED
    store.observe(("agent", ""), "private", FILE, "tool:file.read", 2.0)
    assert store.trace(("agent", ""), {"x": "anything else"})["/x"].label == TAINTED
    assert store.label(("agent", "")) == TAINTED


def test_ended_session_that_comes_back_is_no_milder() -> None:
    store = FlowStore(ttl_s=10)
    store.observe(KEY, "user@corp.example", WEB, "tool:http.get", 1.0)
    store.tick(12.0)
    assert not store.sessions
    assert store.trace(KEY, {"x": "user@corp.example"})["/x"].label.integrity is Integrity.UNTRUSTED
    store.observe(KEY, "new@corp.example", FILE, "tool:file.read", 13.0)
    assert store.trace(KEY, {"x": "new@corp.example"})["/x"].label == TAINTED
    store.end(KEY)
    store.end(KEY)
    assert store.label(KEY) == TAINTED


def test_what_ended_long_ago_is_forgotten() -> None:
    store = FlowStore(ttl_s=10)
    store.observe(KEY, "user@corp.example", WEB, "tool:http.get", 1.0)
    store.tick(20.0)
    store.observe(("other", "s"), "x", WEB, "tool:http.get", 20.0 + 31 * 86_400)
    store.tick(20.0 + 32 * 86_400)
    assert KEY not in store.ended
    assert store.label(KEY).integrity is Integrity.UNVERIFIED


def test_names_that_no_longer_fit_taint_their_principal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENDED", 3)
    monkeypatch.setattr(module, "MAX_FLOORS", 1)
    store = FlowStore()
    for number in range(6):
        store.observe(("mallory", f"s{number}"), "x", WEB, "tool:http.get", 1.0)
        store.end(("mallory", f"s{number}"))
    assert store.label(("mallory", "new")).integrity is Integrity.UNTRUSTED
    assert store.label(KEY).integrity is Integrity.UNVERIFIED
    for number in range(6):
        store.observe(("eve", f"s{number}"), "x", FILE, "tool:file.read", 1.0)
        store.end(("eve", f"s{number}"))
    # No room to tell principals apart any more: it counts for all.
    assert store.label(KEY).confidentiality is Sensitivity.RESTRICTED


def test_sessions_are_bounded_and_one_principal_cannot_crowd_out_another() -> None:
    store = FlowStore(max_sessions=20, max_each=5)
    store.observe(KEY, "mine@corp.example", FILE, "tool:file.read", 1.0)
    for number in range(100):
        store.observe(("mallory", f"s{number}"), "x", WEB, "tool:http.get", 2.0)
    assert len(store.sessions) == 6
    assert store.trace(KEY, {"x": "mine@corp.example"})["/x"].how is Match.EXACT
    for number in range(100):
        store.observe((f"p{number}", "s"), "x", WEB, "tool:http.get", 3.0)
    assert len(store.sessions) == 20
    assert store.label(KEY).confidentiality is Sensitivity.RESTRICTED


def test_fingerprints_of_a_session_are_bounded_and_losing_them_is_strict() -> None:
    store = FlowStore(max_prints=2_000)
    store.observe(KEY, "old-secret@corp.example", FILE, "tool:file.read", 1.0)
    store.observe(KEY, "fresh", Label(Integrity.VERIFIED, Sensitivity.PUBLIC), "tool:x", 1.0)
    for number in range(2_000):
        store.observe(KEY, f"row {number} of mail{number}@shop.example", WEB, "tool:http.get", 2.0)
    assert len(store.sessions[KEY]) <= 2_000
    assert store.prints == len(store.sessions[KEY])
    assert store.trace(KEY, {"x": "old-secret@corp.example"})["/x"].label == TAINTED
    # Known, but it may have been in what was forgotten too.
    found = store.trace(KEY, {"x": "mail1999@shop.example"})["/x"]
    assert (found.how, found.label) == (Match.EXACT, TAINTED)


def test_one_value_larger_than_the_session_keeps_within_bounds() -> None:
    store = FlowStore(max_prints=100)
    store.observe(KEY, " ".join(f"word{number}" for number in range(1_000)), FILE, "tool:x", 1.0)
    assert len(store.sessions[KEY]) <= 100
    assert store.trace(KEY, {"x": "word999 word998"})["/x"].label.confidentiality is Sensitivity.RESTRICTED


def test_fingerprints_of_all_sessions_are_bounded() -> None:
    store = FlowStore(max_total=3_000)
    for number in range(40):
        store.observe(
            ("agent", f"s{number}"), " ".join(f"w{number}x{at}" for at in range(80)), FILE, "tool:x", 1.0
        )
    assert store.prints <= 3_000
    assert store.prints == sum(map(len, store.sessions.values()))
    assert store.trace(("agent", "s39"), {"x": "w39x7"})["/x"].how is Match.EXACT
    found = store.trace(("agent", "s0"), {"x": "w0x7 w0x8 w0x9 w0x10"})["/x"]
    assert (found.how, found.label.confidentiality) == (Match.SESSION, Sensitivity.RESTRICTED)


def test_huge_value_costs_little_and_its_label_counts() -> None:
    store = FlowStore()
    text = "".join(f"line {number} says {number * 7919 % 10007} things. " for number in range(350_000))
    assert len(text) > 9_000_000
    start = time.process_time()
    store.observe(KEY, text, TAINTED, "tool:http.get", 1.0)
    store.observe(KEY, {"rows": [[str(n), {"n": n}] for n in range(200_000)]}, TAINTED, "tool:sql", 1.0)
    assert time.process_time() - start < 1.5
    assert store.printer.value(text).partial
    assert not store.printer.value(text[:BUDGET]).partial
    assert store.trace(KEY, {"x": text[:200]})["/x"].share > 0.9
    middle = store.trace(KEY, {"x": text[3_000_000:3_000_200]})["/x"]
    assert middle.label == TAINTED


def test_huge_and_hostile_arguments_cost_little() -> None:
    store = FlowStore()
    store.observe(KEY, "some-token-1234567890@corp.example and more", FILE, "tool:x", 1.0)
    hostile = {
        "atoms": "a@b.c1 " * 60_000,
        "base64": "QUFBQUFB" * 40_000,
        "percent": "%25" * 60_000,
        "escapes": "\\\\u0041" * 40_000,
        "many": [f"some-token-{n}" for n in range(3_000)],
        "long": "a1" * 100_000,
    }
    for name, value in hostile.items():
        start = time.process_time()
        found = store.trace(KEY, {name: value})
        assert time.process_time() - start < 1.0, name
        assert all(each.label.confidentiality is Sensitivity.RESTRICTED for each in found.values()), name
    start = time.process_time()
    store.trace(KEY, {f"p{at}": value for at, value in enumerate(hostile.values())})
    assert time.process_time() - start < 2.0


@pytest.mark.slow
def test_lookup_costs_the_same_after_a_hundred_thousand_events() -> None:
    store = FlowStore()
    params = {"namespace": "staging", "deployment": "billing-api", "to": "user7@shop.example"}
    costs: list[float] = []
    for events in (100, 100_000):
        for number in range(len(costs) and 100, events):
            store.observe(KEY, {"id": number, "mail": f"user{number}@shop.example"}, WEB, "tool:sql", 1.0)
        params["to"] = f"user{events - 1}@shop.example"
        costs.append(min(_cost_s(store, params) for _ in range(7)))
    assert costs[1] < costs[0] * 3
    assert store.sessions[KEY].events == 100_000


def _cost_s(store: FlowStore, params: dict[str, str]) -> float:
    start = time.process_time()
    for _ in range(2_000):
        store.trace(KEY, params)
    return time.process_time() - start


def test_sources_without_end_share_a_name_and_the_strictest_label() -> None:
    store = FlowStore()
    for number in range(MAX_ORIGINS + 10):
        store.observe(KEY, f"mail{number}@shop.example", WEB if number % 2 else FILE, f"net:h{number}", 1.0)
    assert len(store.sessions[KEY].origins) <= MAX_ORIGINS
    found = store.trace(KEY, {"x": f"mail{MAX_ORIGINS + 9}@shop.example"})["/x"]
    assert (found.sources, found.label) == (("other",), TAINTED)


def test_words_of_the_user_are_bounded() -> None:
    store = FlowStore()
    for number in range(400):
        store.vouch(KEY, " ".join(f"u{number}x{at}" for at in range(50)), "user", 1.0)
    assert len(store.sessions[KEY].vouched) == MAX_VOUCHED


@given(st.lists(st.floats() | st.floats(0, 1e6), max_size=30))
def test_clock_that_jumps_loses_no_label(times: list[float]) -> None:
    store = FlowStore(ttl_s=100)
    store.observe(KEY, "x", TAINTED, "tool:x", 50.0)
    last = 0.0
    for now in times:
        store.observe(("other", "s"), "y", WEB, "tool:y", now)
        assert store.now >= last
        assert math.isfinite(store.now)
        last = store.now
    if last < 50.0 + 30 * 86_400:
        assert store.label(KEY) == TAINTED


def test_many_threads_at_once_lose_nothing() -> None:
    store = FlowStore(max_prints=4_000, max_sessions=3)
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(150):
                key = ("agent", f"s{(worker + number) % 5}")
                store.observe(key, f"value {worker} {number} mail{number}@shop.example", WEB, "tool:x", 1.0)
                found = store.trace(key, {"x": f"mail{number}@shop.example"}, now=float(number))
                assert found["/x"].label.integrity is Integrity.UNTRUSTED
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert store.prints == sum(map(len, store.sessions.values()))
    assert all(store.label(("agent", f"s{number}")).integrity is Integrity.UNTRUSTED for number in range(5))


def change(action: str = "x.y", param: str = "*", source: str = "tool:x", **more: Any) -> Regrade:
    fields: dict[str, Any] = {"principal": KEY[0], "session": KEY[1], "by": ANNA, "reason": "it was read"}
    return Regrade(action=action, param=param, source=source, **(fields | more))


def test_endorsed_source_is_trusted_for_one_argument_of_one_action() -> None:
    store = FlowStore()
    store.observe(KEY, "pay to DE89370400440532013000", WEB, "tool:mail.read", 1.0)
    done = store.regrade(
        change("payment.transfer", "/to", "tool:mail.read", integrity=Integrity.VERIFIED), 2.0
    )
    assert (done.before.integrity, done.after.integrity) == (Integrity.UNTRUSTED, Integrity.VERIFIED)
    params = {"to": "DE89370400440532013000", "memo": "DE89370400440532013000"}
    found = store.trace(KEY, params, "payment.transfer")
    assert found["/to"].label.integrity is Integrity.VERIFIED
    assert found["/memo"].label.integrity is Integrity.UNTRUSTED
    assert store.trace(KEY, params, "mail.send")["/to"].label.integrity is Integrity.UNTRUSTED
    assert store.label(KEY).integrity is Integrity.UNTRUSTED
    store.observe(KEY, "also to DE89370400440532013000", WEB, "tool:http.get", 3.0)
    assert store.trace(KEY, params, "payment.transfer")["/to"].label.integrity is Integrity.UNTRUSTED


def test_declassified_value_may_go_out_and_nothing_else() -> None:
    store = FlowStore()
    memo = "The figures of the third quarter: revenue 48 million, profit 5 million, 212 people."
    store.observe(
        KEY, {"memo": memo, "rest": "The plan is to sell the northern plant in spring."}, FILE, "tool:x", 1.0
    )
    done = store.regrade(change("mail.send", source="", value=memo, confidentiality=Sensitivity.PUBLIC), 2.0)
    assert done.after.confidentiality is Sensitivity.PUBLIC
    trace = store.trace(
        KEY, {"body": memo, "other": "The plan is to sell the northern plant in spring."}, "mail.send"
    )
    assert trace["/body"].label.confidentiality is Sensitivity.PUBLIC
    assert trace["/other"].label.confidentiality is Sensitivity.RESTRICTED
    unseen = change(param="/z", source="", value="new text", confidentiality=Sensitivity.PUBLIC)
    assert store.regrade(unseen, 2.0).before.confidentiality is Sensitivity.RESTRICTED
    for level in (Sensitivity.INTERNAL, Sensitivity.PUBLIC):
        store.regrade(change(confidentiality=level), 2.0)
    store.regrade(change(integrity=Integrity.TRUSTED), 2.0)
    found = store.trace(KEY, {"q": "sell the northern plant in spring"}, "x.y")["/q"]
    assert found.label == Label(Integrity.TRUSTED, Sensitivity.PUBLIC)


BAD = [
    ({"session": "other"}, "session_unknown"),
    ({"principal": "other"}, "session_unknown"),
    ({"source": "tool:y"}, "source_unknown"),
    ({"action": ""}, "flow_invalid"),
    ({"param": "to"}, "flow_invalid"),
]


@pytest.mark.parametrize(("what", "code"), BAD)
def test_change_of_a_label_that_speaks_of_nothing_is_refused(what: dict[str, str], code: str) -> None:
    store = FlowStore()
    store.observe(KEY, "text", WEB, "tool:x", 1.0)
    regrade = change(integrity=Integrity.TRUSTED, **what)
    for refused in (store.regrade, store.find_subject):
        with pytest.raises(RequestError) as caught:
            refused(regrade, 1.0)
        assert caught.value.code == code
    assert store.sessions[KEY].grants == ()


def test_change_of_a_label_in_a_session_that_ended_is_refused() -> None:
    store = FlowStore(ttl_s=10)
    store.observe(KEY, "text", WEB, "tool:x", 1.0)
    store.find_subject(change(integrity=Integrity.TRUSTED), 10.0)
    with pytest.raises(RequestError, match="no session"):
        store.regrade(change(integrity=Integrity.TRUSTED), 12.0)


def test_changes_of_labels_are_bounded_and_one_said_again_takes_no_room() -> None:
    store = FlowStore()
    store.observe(KEY, "text", WEB, "tool:x", 1.0)
    for number in range(256):
        store.regrade(change(param=f"/{number}", integrity=Integrity.TRUSTED), 1.0)
    store.regrade(change(param="/7", integrity=Integrity.TRUSTED), 1.0)
    with pytest.raises(RequestError, match="256 changed labels"):
        store.regrade(change(param="/256", integrity=Integrity.TRUSTED), 1.0)


def test_value_with_more_sources_than_are_named_is_not_endorsed() -> None:
    store = FlowStore()
    for number in range(12):
        store.observe(KEY, "DE89370400440532013000", WEB, f"tool:t{number}", 1.0)
    for number in range(8):
        store.regrade(change(source=f"tool:t{number}", integrity=Integrity.TRUSTED), 1.0)
    found = store.trace(KEY, {"to": "DE89370400440532013000"}, "x.y")["/to"]
    assert found.label.integrity is Integrity.UNTRUSTED


ACTIONS, PARAMS, SOURCES = ("mail.send", "x.y"), ("/to", "/to/0", "/other", "*"), ("tool:x", "tool:y")
TEXTS = ("eve@shop.example", "bob@corp.example and eve@shop.example", "a memo of the third quarter says so")
REGRADES = st.builds(
    change,
    st.sampled_from(ACTIONS),
    st.sampled_from(PARAMS),
    st.sampled_from(SOURCES),
    integrity=st.sampled_from(Integrity),
) | st.builds(
    change,
    st.sampled_from(ACTIONS),
    st.sampled_from(PARAMS),
    st.just(""),
    value=st.sampled_from(TEXTS),
    confidentiality=st.sampled_from(Sensitivity),
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from(SOURCES), st.sampled_from([WEB, FILE]))),
    st.lists(REGRADES, max_size=4),
    st.sampled_from(TEXTS),
)
def test_regrade_makes_nothing_stricter_and_what_it_did_not_name_stays(
    seen: list[tuple[str, str, Label]], regrades: list[Regrade], text: str
) -> None:
    store = FlowStore()
    store.observe(KEY, "first", WEB, "tool:x", 1.0)
    store.observe(KEY, "second", FILE, "tool:y", 1.0)
    for value, source, label in seen:
        store.observe(KEY, value, label, source, 1.0)
    params = {"to": [text, "eve@shop.example"], "other": text}
    for regrade in regrades:
        before = {action: dict(store.trace(KEY, params, action)) for action in ACTIONS}
        ambient = store.label(KEY)
        store.regrade(regrade, 2.0)
        assert store.label(KEY) == ambient
        for action in ACTIONS:
            for path, now in store.trace(KEY, params, action).items():
                old = before[action][path].label
                assert old.join(now.label) == old, "a regrade made something stricter"
                inside = regrade.param in ("*", path) or path.startswith(f"{regrade.param}/")
                if action != regrade.action or not inside:
                    assert now == before[action][path]
                if regrade.integrity is None:
                    assert now.label.integrity is old.integrity
                else:
                    assert now.label.confidentiality is old.confidentiality
