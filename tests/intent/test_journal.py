"""Sessions as files: what is written is read again as a whole, or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentguard.core import Principal, RequestError, SessionOpening
from agentguard.intent import Event, Journals, Seen
from agentguard.intent._journal import MAGIC, MAX_BYTES, Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = ("helper", "s")
OPENING = SessionOpening(
    Principal("helper", on_behalf_of=("emma",)), "Tell Bob.", [{"name": "a"}], "s", ("emma@corp.example",)
)
EVENTS: list[Event] = [
    Seen("list", {"query": "Bob"}, [{"name": "Bób", "size": 2**70}]),
    Refused(("eve@evil.example",), is_denied=True),
    Seen("send", {}, None, "it \u2028 failed"),
]


def written(folder: Path, boot: str = "one") -> Journals:
    """Return the files of a process that wrote one session and ended without a word."""
    journals = Journals(folder)
    journals.boot = boot
    journal = journals.create(KEY, OPENING)
    for event in EVENTS:
        journal.append(event)
    return journals


def again(folder: Path, boot: str = "one") -> Journals:
    journals = Journals(folder)
    journals.boot = boot
    return journals


def file_in(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_what_was_written_is_read_again_and_handed_out_until_it_is_taken(tmp_path: Path) -> None:
    written(tmp_path / "s")
    journals = again(tmp_path / "s")
    assert journals.knows(KEY)
    assert journals.is_waiting(KEY)
    found = journals.take(KEY)
    assert found is not None
    assert (found.opening, found.events) == (OPENING, EVENTS)
    journals.taken(KEY)
    assert journals.take(KEY) is None
    assert not journals.is_waiting(KEY)
    assert not journals.has_ended(KEY)
    found.journal.append(EVENTS[0])
    later = again(tmp_path / "s").take(KEY)
    assert later is not None
    assert later.events == [*EVENTS, EVENTS[0]]


def test_only_its_owner_can_read_a_file(tmp_path: Path) -> None:
    written(tmp_path / "s")
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    assert file_in(tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_names_are_kept_apart(tmp_path: Path) -> None:
    journals = written(tmp_path / "s")
    assert not again(tmp_path / "s").knows(("helpe", "rs"))
    with pytest.raises(FileExistsError):
        journals.create(KEY, OPENING)
    assert again(tmp_path / "s").take(("helper", "other")) is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_byte_can_be_changed_or_cut_off(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / os.urandom(4).hex()
    written(folder)
    file = file_in(folder)
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        # An empty file is a session that has ended.
        content = content[: max(1, at)]
    file.write_bytes(content)
    journals = again(folder)
    if bytes(content) in _beginnings(folder.parent / f"{folder.name}-whole"):
        # Cut between two frames: as if the last ones had never been written.
        found = journals.take(KEY)
        assert found is not None
        assert found.events == EVENTS[: len(found.events)]
        return
    with pytest.raises(RequestError) as caught:
        journals.take(KEY)
    assert caught.value.code == "session_unrestored"
    assert journals.has_ended(KEY)
    assert not journals.is_waiting(KEY)


def _beginnings(folder: Path) -> list[bytes]:
    """Return the file as it was after each event."""
    journals = Journals(folder)
    journals.boot = "one"
    journal = journals.create(KEY, OPENING)
    file = file_in(folder)
    found = [file.read_bytes()]
    for event in EVENTS:
        journal.append(event)
        found.append(file.read_bytes())
    return found


def _close(journals: Journals) -> None:
    found = journals.take(KEY)
    assert found is not None
    found.journal.close(1_000.0)


def _cut_off(_: Journals) -> None:
    return


def _close_and_open(journals: Journals) -> None:
    _close(journals)
    again(journals.folder, journals.boot).take(KEY)


@pytest.mark.parametrize(
    ("before", "boot", "is_whole"),
    [
        (_cut_off, "one", True),
        (_cut_off, "two", False),
        (_close, "one", True),
        (_close, "two", True),
        (_close_and_open, "one", True),
        (_close_and_open, "two", False),
    ],
)
def test_after_the_machine_went_down_only_what_was_closed_is_whole(
    tmp_path: Path, before: Callable[[Journals], None], boot: str, *, is_whole: bool
) -> None:
    written(tmp_path / "s")
    before(again(tmp_path / "s"))
    journals = again(tmp_path / "s", boot)
    if is_whole:
        found = journals.take(KEY)
        assert found is not None
        assert found.events == EVENTS
    else:
        with pytest.raises(RequestError, match="lost"):
            journals.take(KEY)


def test_the_moment_of_the_last_use_is_kept(tmp_path: Path) -> None:
    written(tmp_path / "s")
    _close(again(tmp_path / "s"))
    found = again(tmp_path / "s").take(KEY)
    assert found is not None
    assert found.used == 1_000.0


def test_an_end_is_remembered_and_nothing_is_written_after_it(tmp_path: Path) -> None:
    journals = written(tmp_path / "s")
    journal = journals.create(("helper", "t"), OPENING)
    journal.end()
    journal.append(EVENTS[0])
    journals.end(KEY)
    journals = again(tmp_path / "s")
    for key in (KEY, ("helper", "t")):
        assert journals.has_ended(key)
        assert journals.knows(key)
        assert journals.take(key) is None


def test_what_is_too_large_ends_with_the_process(tmp_path: Path) -> None:
    journals = Journals(tmp_path / "s")
    journal = journals.create(KEY, OPENING)
    with pytest.raises(ValueError, match="too large"):
        journal.append(Seen("list", {}, "x" * MAX_BYTES))
    assert again(tmp_path / "s").has_ended(KEY)


def test_those_unused_for_longest_and_the_old_end(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    journals = Journals(folder)
    for number in range(4):
        journals.create(("helper", f"s-{number}"), OPENING).close(100.0 + number)
    journals = Journals(folder)
    journals.end_older(101.0, most=2)
    assert [journals.has_ended(("helper", f"s-{number}")) for number in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    assert [Journals(folder).has_ended(("helper", f"s-{number}")) for number in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file")
    with pytest.raises(OSError, match="s"):
        list(Journals(tmp_path / "s").folder.iterdir())


def test_a_file_that_says_nothing_of_how_it_was_opened_is_lost(tmp_path: Path) -> None:
    journals = Journals(tmp_path / "s")
    journals.create(KEY, OPENING)
    file = file_in(tmp_path / "s")
    file.write_bytes(MAGIC)
    with pytest.raises(RequestError, match="lost"):
        again(tmp_path / "s").take(KEY)


def test_the_oldest_ends_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.intent._journal.MAX_FILES", 2)
    journals = Journals(tmp_path / "s")
    for number in range(3):
        journals.create(("helper", f"s-{number}"), OPENING).end()
        journals.end(("helper", f"s-{number}"))
    assert [journals.knows(("helper", f"s-{number}")) for number in range(3)] == [False, True, True]
    assert len(list((tmp_path / "s").iterdir())) == 2
    assert not Journals(tmp_path / "s").knows(("helper", "s-0"))


def test_where_the_machine_has_no_name_for_its_run_only_what_was_closed_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentguard.intent._journal._BOOT", tmp_path / "none")
    Journals(tmp_path / "s").create(KEY, OPENING)
    with pytest.raises(RequestError, match="lost"):
        Journals(tmp_path / "s").take(KEY)
