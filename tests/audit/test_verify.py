from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentguard.audit import SegmentLog, Verification, verify
from agentguard.audit._record import hash_of
from agentguard.core import ConfigError
from audit_doubles import Ed25519Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 12


def write(
    folder: Path, signer: Ed25519Signer | None, count: int = COUNT, segment_bytes: int = 1 << 20
) -> None:
    log = SegmentLog(folder, signer=signer, max_segment_bytes=segment_bytes, reserve_bytes=0)
    for number in range(count):
        log.append({"type": "decision", "action": "file.read", "params": {"n": number}, "reason": "ünïcode"})
    log.close()


@pytest.fixture
def folder(tmp_path: Path, signer: Ed25519Signer) -> Path:
    write(tmp_path / "log", signer)
    return tmp_path / "log"


def only(folder: Path) -> Path:
    (path,) = folder.glob("*.jsonl")
    return path


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.chmod(0o600)
    path.write_bytes(b"".join(change(lines)))


def test_an_untouched_log_is_good_and_its_end_protected(folder: Path, signer: Ed25519Signer) -> None:
    seen: list[tuple[int, int]] = []
    result = verify(
        folder, public_keys=signer.public_keys, progress=lambda done, total: seen.append((done, total))
    )
    assert result.ok
    assert (result.records, result.first, result.last, result.segments) == (COUNT, 1, COUNT, 1)
    assert result.end_protected
    assert result.after_head == 0
    assert seen == [(result.bytes, result.bytes)]


def test_without_a_head_the_end_is_said_to_be_unprotected(folder: Path) -> None:
    (folder / "head").unlink()
    result = verify(folder)
    assert result.ok
    assert not result.end_protected
    assert "not protected" in result.notes[0]


def test_without_keys_the_head_counts_and_the_end_is_unprotected(folder: Path) -> None:
    assert verify(folder).head_state == "unchecked"
    assert not verify(folder).end_protected
    edit(only(folder), lambda lines: lines[:-1])
    problem = verify(folder).problem
    assert problem is not None
    assert problem.kind == "truncated"


def test_records_written_since_the_head_are_counted(folder: Path, signer: Ed25519Signer) -> None:
    head = (folder / "head").read_bytes()
    write(folder, signer, 3)
    (folder / "head").write_bytes(head)
    result = verify(folder, public_keys=signer.public_keys)
    assert result.ok
    assert result.after_head == 3
    assert result.notes == ("3 records after the head, whose end is not protected yet",)


def swap(i: int, j: int) -> Callable[[list[bytes]], list[bytes]]:
    def change(lines: list[bytes]) -> list[bytes]:
        lines[i], lines[j] = lines[j], lines[i]
        return lines

    return change


def forge(lines: list[bytes]) -> list[bytes]:
    record = orjson.loads(lines[4]) | {"prev": hash_of(lines[4][:-1]), "seq": 6, "reason": "forged"}
    return [*lines[:5], orjson.dumps(record) + b"\n", *lines[5:]]


def rewrite(lines: list[bytes]) -> list[bytes]:
    """Change record 5 and compute every later hash again, as whoever has no key can."""
    result, prev = lines[:4], hash_of(lines[3][:-1])
    for line in lines[4:]:
        record = orjson.loads(line) | {"prev": prev}
        if record["seq"] == 5:
            record["reason"] = "rewritten"
        result.append(orjson.dumps(record) + b"\n")
        prev = hash_of(result[-1][:-1])
    return result


TAMPERINGS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str, int, int]] = {
    "a field changed": (
        lambda ls: [*ls[:4], ls[4].replace(b"file.read", b"file.less"), *ls[5:]],
        "changed",
        5,
        5,
    ),
    "many changed alike": (
        lambda ls: [line.replace(b"file.read", b"file.less") for line in ls],
        "changed",
        1,
        1,
    ),
    "the last one changed": (lambda ls: [*ls[:-1], ls[-1].replace(b"read", b"less")], "changed", 12, 12),
    "prev zeroed": (lambda ls: [*ls[:4], ls[4][:9] + b"0" * 64 + ls[4][73:], *ls[5:]], "changed", 5, 5),
    "one deleted": (lambda ls: ls[:4] + ls[5:], "removed", 5, 5),
    "the first deleted": (lambda ls: ls[1:], "removed", 1, 1),
    "some deleted": (lambda ls: ls[:4] + ls[7:], "removed", 5, 5),
    "one doubled": (lambda ls: [*ls[:5], ls[4], *ls[5:]], "inserted", 5, 6),
    "an old one again later": (lambda ls: [*ls[:8], ls[2], *ls[8:]], "inserted", 3, 9),
    "a later one early as well": (lambda ls: [*ls[:3], ls[8], *ls[3:]], "inserted", 9, 4),
    "a block doubled": (lambda ls: [*ls[:8], *ls[4:8], *ls[8:]], "inserted", 5, 9),
    "an old one at the end": (lambda ls: [*ls, ls[2]], "inserted", 3, 13),
    "a forged one that links": (forge, "inserted", 6, 6),
    "no record inserted": (lambda ls: [*ls[:4], b"hello\n", *ls[4:]], "inserted", 5, 5),
    "an empty line inserted": (lambda ls: [*ls[:4], b"\n", *ls[4:]], "inserted", 5, 5),
    "neighbours swapped": (swap(4, 5), "reordered", 5, 5),
    "two far apart swapped": (swap(2, 9), "reordered", 3, 3),
    "one moved down": (lambda ls: [*ls[:4], *ls[5:9], ls[4], *ls[9:]], "reordered", 5, 5),
    "the end cut off": (lambda ls: ls[:-2], "truncated", 11, 11),
    "all cut off": (lambda _: [], "truncated", 1, 1),
    "cut within a record": (lambda ls: [*ls[:-1], ls[-1][:-20]], "truncated", 12, 12),
    "the last newline gone": (lambda ls: [*ls[:-1], ls[-1][:-1]], "truncated", 12, 12),
    "the last newline changed": (lambda ls: [*ls[:-1], ls[-1][:-1] + b" "], "changed", 12, 12),
    "garbage after the end": (lambda ls: [*ls, b"\0" * 40], "torn", 13, 13),
    "a garbage line after the end": (lambda ls: [*ls, b"\0" * 40 + b"\n"], "torn", 13, 13),
    "CRLF": (lambda ls: [line[:-1] + b"\r\n" for line in ls], "changed", 1, 1),
    "a NUL": (lambda ls: [*ls[:4], ls[4].replace(b"file", b"fi\0e"), *ls[5:]], "changed", 5, 5),
    "rewritten from one on": (rewrite, "changed", 12, 12),
    "a seq changed": (lambda ls: [*ls[:4], ls[4].replace(b'"seq":5', b'"seq":7'), *ls[5:]], "changed", 5, 5),
    "the last newline but one gone": (lambda ls: [*ls[:-2], ls[-2][:-1] + b" ", ls[-1]], "changed", 11, 11),
    "a newline gone": (lambda ls: [*ls[:4], ls[4][:-1] + b" ", *ls[5:]], "changed", 5, 5),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_named_and_localised(name: str, folder: Path, signer: Ed25519Signer) -> None:
    change, kind, seq, line = TAMPERINGS[name]
    path = only(folder)
    edit(path, change)
    result = verify(folder, public_keys=signer.public_keys)
    assert result.problem is not None, result
    assert (result.problem.kind, result.problem.seq, result.problem.line) == (kind, seq, line), result.problem
    assert result.problem.file == path.name
    assert not result.ok
    assert not result.end_protected


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    signer = Ed25519Signer()
    folder = tmp_path_factory.mktemp("fuzz") / "log"
    write(folder, signer, 20, segment_bytes=1500)
    assert len(list(folder.glob("*.jsonl"))) > 2
    return folder, signer.public_keys


FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def verify_changed(pristine: tuple[Path, dict[str, bytes]], changed: dict[str, bytes]) -> Verification:
    folder, keys = pristine
    copy = folder.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in folder.iterdir():
        data = changed.get(path.name, path.read_bytes())
        (copy / path.name).write_bytes(data)
    return verify(copy, public_keys=keys)


@FUZZ
@given(data=st.data())
def test_any_byte_flipped_before_the_head_is_found_in_its_record(
    pristine: tuple[Path, dict[str, bytes]], data: st.DataObject
) -> None:
    paths = sorted(pristine[0].glob("*.jsonl"))
    path = data.draw(st.sampled_from(paths))
    original = path.read_bytes()
    offset = data.draw(st.integers(0, len(original) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = original[:offset] + bytes([original[offset] ^ flip]) + original[offset + 1 :]
    line = original[:offset].count(b"\n") + 1
    seq = orjson.loads(original.splitlines()[line - 1])["seq"]
    problem = verify_changed(pristine, {path.name: changed}).problem
    assert problem is not None
    assert (problem.kind, problem.seq, problem.file, problem.line) == ("changed", seq, path.name, line)


@FUZZ
@given(offset=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_any_byte_flipped_in_the_head_is_found(
    pristine: tuple[Path, dict[str, bytes]], offset: int, flip: int
) -> None:
    head = bytearray((pristine[0] / "head").read_bytes())
    head[offset % len(head)] ^= flip
    problem = verify_changed(pristine, {"head": bytes(head)}).problem
    assert problem is not None
    assert problem.kind == "head_invalid"


@FUZZ
@given(data=st.data())
def test_any_cut_deletion_swap_or_copy_of_lines_is_found(
    pristine: tuple[Path, dict[str, bytes]], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(pristine[0].glob("*.jsonl"))))
    original = path.read_bytes()
    lines = original.splitlines(keepends=True)
    first = orjson.loads(lines[0])["seq"]
    i = data.draw(st.integers(0, len(lines) - 1))
    j = data.draw(st.integers(0, len(lines) - 1))
    how = data.draw(st.sampled_from(["cut", "delete", "swap", "copy"]))
    if how == "cut":
        lines = lines[:i]
        expected, seq = {"removed", "truncated"}, first + i
    elif how == "delete":
        del lines[i]
        expected, seq = {"removed", "truncated"}, first + i
    elif how == "swap":
        if i == j:
            return
        lines[i], lines[j] = lines[j], lines[i]
        expected, seq = {"reordered"}, first + min(i, j)
    else:
        lines.insert(j, lines[i])
        expected, seq = {"inserted"}, first + i
    problem = verify_changed(pristine, {path.name: b"".join(lines)}).problem
    assert problem is not None
    assert problem.kind in expected
    assert problem.seq == seq


@pytest.mark.parametrize(("which", "kind"), [(0, "removed"), (1, "removed"), (-1, "truncated")])
def test_a_missing_segment_is_found(tmp_path: Path, signer: Ed25519Signer, which: int, kind: str) -> None:
    write(tmp_path / "log", signer, 20, segment_bytes=1500)
    path = sorted((tmp_path / "log").glob("*.jsonl"))[which]
    seq = orjson.loads(path.read_bytes().splitlines()[0])["seq"]
    path.unlink()
    problem = verify(tmp_path / "log", public_keys=signer.public_keys).problem
    assert problem is not None
    assert (problem.kind, problem.seq) == (kind, seq)


def test_a_head_of_another_key_is_invalid(folder: Path, tmp_path: Path, signer: Ed25519Signer) -> None:
    other = type(signer)()
    write(tmp_path / "other", other)
    shutil.copy(tmp_path / "other" / "head", folder / "head")
    problem = verify(folder, public_keys=signer.public_keys).problem
    assert problem is not None
    assert (problem.kind, problem.file) == ("head_invalid", "head")


def test_one_segment_alone_is_checked_from_its_first_record(tmp_path: Path) -> None:
    write(tmp_path / "log", None, segment_bytes=1500)
    path = sorted((tmp_path / "log").glob("*.jsonl"))[1]
    result = verify(path)
    assert result.ok
    assert result.first > 1
    edit(path, swap(0, 1))
    assert not verify(path).ok


def test_a_log_of_many_chunks_is_followed(tmp_path: Path, signer: Ed25519Signer) -> None:
    write(tmp_path / "log", signer, 6000)
    assert verify(tmp_path / "log", public_keys=signer.public_keys).records == 6001


def test_an_empty_folder_is_an_empty_log_and_no_folder_is_an_error(tmp_path: Path) -> None:
    assert verify(tmp_path).ok
    with pytest.raises(ConfigError) as caught:
        verify(tmp_path / "nowhere")
    assert caught.value.code == "audit_missing"
