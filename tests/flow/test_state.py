"""Sessions survive a restart, and what was lost counts as the worst."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Flow as ActionFlow
from agentguard.core import Integrity, Label, Match, Principal, Regrade, Sensitivity, Sink
from agentguard.flow import FlowStore, load, restore, save, snapshot, trifecta
from agentguard.flow import _state as module

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("agent", "session")
WEB = Label(Integrity.UNTRUSTED, Sensitivity.PUBLIC, ("web",), ("anna", "b.example"))
FILE = Label(Integrity.VERIFIED, Sensitivity.CRITICAL)
PARAMS = {"to": "eve@shop.example", "n": 3, "body": "a memo of the third quarter says nothing", "who": "bob"}
EXTERNAL = ActionFlow(sink=Sink.EXTERNAL)


def filled() -> FlowStore:
    store = FlowStore()
    store.observe(KEY, "ask eve@shop.example about it", WEB, "tool:http.get", 1.0)
    store.observe(KEY, {"memo": PARAMS["body"]}, FILE, "tool:file.read", 2.0)
    store.vouch(KEY, "tell bob 3 times", "user", 3.0)
    wish = Regrade(
        by=Principal("anna"),
        principal=KEY[0],
        session=KEY[1],
        action="mail.send",
        param="/to",
        source="tool:http.get",
        integrity=Integrity.VERIFIED,
        reason="known",
    )
    store.regrade(wish, 3.0)
    store.observe(("other", "gone"), "x", FILE, "tool:x", 3.0)
    store.end(("other", "gone"))
    store.floors["third"] = store.table.pack(WEB)
    return store


def test_restored_store_answers_as_before() -> None:
    store = filled()
    again = restore(snapshot(store, closing=True))
    assert again.trace(KEY, PARAMS, "mail.send") == store.trace(KEY, PARAMS, "mail.send")
    assert again.trace(KEY, PARAMS) == store.trace(KEY, PARAMS)
    for key in (KEY, ("other", "gone"), ("other", "new"), ("third", "new"), ("agent", "")):
        assert again.label(key) == store.label(key), key
    assert again.prints == store.prints
    assert snapshot(again, closing=True) == snapshot(store, closing=True)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=60), st.sampled_from([WEB, FILE])), max_size=8)
)
def test_snapshot_of_a_restored_store_is_the_same(seen: list[tuple[str, str, Label]]) -> None:
    store = FlowStore(max_prints=60)
    for name, text, label in seen:
        store.observe(("agent", name), text, label, f"tool:{name}", 1.0)
    content = snapshot(store, closing=True)
    again = restore(content, max_prints=60)
    assert snapshot(again, closing=True) == content
    for _, text, _ in seen:
        for name in "ab":
            assert again.trace(("agent", name), {"x": text}) == store.trace(("agent", name), {"x": text})


def test_no_text_is_kept() -> None:
    store = filled()
    content = snapshot(store)
    for word in (b"eve", b"quarter", b"memo", b"bob"):
        assert word not in content


def test_file_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "flow.state"
    store = filled()
    save(store, path, closing=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["flow.state"]
    again = load(path, 4.0)
    assert again.trace(KEY, PARAMS) == store.trace(KEY, PARAMS)
    assert again.label(("new", "session")).integrity is Integrity.UNVERIFIED


def test_missing_file_is_a_first_start(tmp_path: Path) -> None:
    assert load(tmp_path / "flow.state", 1.0).label(KEY).integrity is Integrity.UNVERIFIED


def corrupt(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "another version":
        path.write_bytes(content.replace(b"agentguard-flow 1", b"agentguard-flow 9"))
    elif how == "one bit":
        content[-20] ^= 1
        path.write_bytes(content)
    elif how == "another shape":
        body = b"\x90"
        digest = blake2b(body, digest_size=32).digest()
        path.write_bytes(module.MAGIC + digest + body)
    else:
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize(
    "how", ["cut off", "empty", "another version", "one bit", "another shape", "a folder", "not closed"]
)
def test_lost_state_counts_as_the_worst_for_a_while(tmp_path: Path, how: str) -> None:
    path = tmp_path / "flow.state"
    save(filled(), path, closing=how != "not closed")
    if how != "not closed":
        corrupt(path, how)
    store = load(path, 1_000.0, ttl_s=100.0)
    for key in (KEY, ("new", "session")):
        found: Any = next(iter(store.trace(key, {"x": "anything at all, really"}).values()))
        assert found.label.integrity is Integrity.UNTRUSTED
        assert found.label.confidentiality.weight >= Sensitivity.RESTRICTED.weight
        assert trifecta(store.label(key), EXTERNAL) is not None
        # Not even a short word is taken for harmless.
        short: Any = next(iter(store.trace(key, {"x": "eve"}).values()))
        assert short.label.integrity is Integrity.UNTRUSTED
    store.observe(("new", "s"), "mail@shop.example", FILE, "tool:x", 1_001.0)
    assert store.trace(("new", "s"), {"x": "mail@shop.example"})["/x"].label.integrity is Integrity.UNTRUSTED
    store.tick(1_101.0)
    assert store.label(("later", "session")).integrity is Integrity.UNVERIFIED


def test_another_interpreter_keeps_labels_and_forgets_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    content = snapshot(filled(), closing=True)
    monkeypatch.setattr(module, "DIALECT", "another")
    store = restore(content)
    found = store.trace(KEY, {"x": "eve@shop.example"})["/x"]
    assert found.how is Match.SESSION
    assert found.label == store.label(KEY)


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flow.state"
    save(filled(), path, closing=True)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        save(FlowStore(), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["flow.state"]


@given(st.binary(max_size=300))
def test_any_bytes_can_be_restored(content: bytes) -> None:
    for each in (content, module.MAGIC + blake2b(content, digest_size=32).digest() + content):
        assert restore(each).label(KEY).integrity is Integrity.UNTRUSTED
