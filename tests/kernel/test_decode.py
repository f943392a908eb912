"""Rows as the kernel would write them."""

from __future__ import annotations

import socket
import struct
from typing import Any

import numpy as np
import pytest

from agentguard.kernel import _decode
from agentguard.kernel._decode import Decoder
from agentguard.kernel._layout import SEC_SLOT, SHORT, Flag, Kind
from agentguard.kernel._seen import read_address


def rows(*made: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.void]]:
    found = np.zeros(len(made), SEC_SLOT)
    found["parts"] = 1
    for index, fields in enumerate(made):
        # The ring is not emptied between records.
        found["data"][index] = np.void(b"\xa5" * 256)
        for name, value in {"time_ns": index, "pid": 7, "tid": 7, "cgroup": 1, **fields}.items():
            if name == "text":
                found["data"][index] = np.void(value.ljust(256, b"\xa5"))
                found["len"][index] = fields.get("len", len(value))
            else:
                found[name][index] = value
    return found


def path_row(path: str, ino: int, **more: Any) -> dict[str, Any]:
    return {"kind": Kind.PATH, "ino": ino, "dev": 1, "flags": Flag.FD, "text": path.encode(), **more}


def open_row(ino: int, claimed: bytes = b"", **more: Any) -> dict[str, Any]:
    return {
        "kind": Kind.OPEN,
        "ino": ino,
        "dev": 1,
        "flags": Flag.FD | Flag.CLAIMED,
        "ret": 3,
        "text": claimed,
        **more,
    }


def failed_row(claimed: bytes, **more: Any) -> dict[str, Any]:
    return {"kind": Kind.OPEN, "flags": Flag.CLAIMED, "ret": -2, "text": claimed, **more}


def test_open_has_the_path_that_the_kernel_sent_before() -> None:
    (seen,) = Decoder().feed(rows(path_row("/etc/passwd", 5), open_row(5, b"../x")))
    assert (seen.path, seen.flags, seen.ret) == ("/etc/passwd", Flag.FD, 3)


@pytest.fixture(params=[0, 1 << 30], ids=["many rows", "few rows"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at rows in both ways: with numpy, and one by one."""
    monkeypatch.setattr(_decode, "_SMALL", request.param)


def test_same_open_again_is_counted_and_not_told() -> None:
    decoder = Decoder()
    assert len(decoder.feed(rows(path_row("/a", 5), open_row(5), open_row(5), open_row(5)))) == 1
    assert decoder.feed(rows(open_row(5), open_row(5))) == []
    assert decoder.repeated == 4


@pytest.mark.parametrize(
    "other",
    [{"ino": 6}, {"dev": 2}, {"cgroup": 2}, {"a0": 1}],
    ids=["inode", "device", "cgroup", "for writing"],
)
def test_open_that_differs_is_told(other: dict[str, int]) -> None:
    assert len(Decoder().feed(rows(open_row(5), {**open_row(5), **other}))) == 2


def test_open_in_vain_is_told_once_for_each_text_and_error() -> None:
    again = failed_row(b"/missing")
    found = Decoder().feed(
        rows(again, again, failed_row(b"/missinG"), {**again, "ret": -13}, failed_row(b"/missing" * 4), again)
    )
    assert [(each.path, each.ret) for each in found] == [
        ("/missing", -2), ("/missinG", -2), ("/missing", -13), ("/missing" * 4, -2),
    ]  # fmt: skip


def test_relative_path_starts_from_the_folder_that_the_kernel_named() -> None:
    folder = path_row("/srv/project", 9)
    relative = failed_row(b"../other/x", base_ino=9, base_dev=1)
    relative["flags"] |= Flag.BASED
    (seen,) = Decoder().feed(rows(folder, relative))
    assert seen.path == "/srv/other/x"
    assert seen.flags & Flag.CLAIMED


def test_of_several_names_of_a_file_the_latest_counts() -> None:
    decoder = Decoder()
    decoder.feed(rows(path_row("/safe/b", 5), path_row("/secret/a", 5)))
    assert (decoder.path(1, 5), decoder.path(1, 6)) == ("/secret/a", "")


def test_file_that_is_renamed_within_a_batch_was_opened_by_its_old_name() -> None:
    decoder = Decoder()
    batch = rows(path_row("/w/a", 5), open_row(5), path_row("/w/b", 5), open_row(5, a0=2))
    assert [each.path for each in decoder.feed(batch)] == ["/w/a", "/w/b"]


def named_row(path: str, ino: int, **more: Any) -> dict[str, Any]:
    return {**open_row(ino, path.encode(), **more), "flags": Flag.FD | Flag.NAMED}


def test_open_that_brings_its_name_is_news_and_others_go_by_it() -> None:
    decoder = Decoder()
    batch = rows(
        named_row("/a", 5), named_row("/b", 6, a0=1), open_row(5, a0=1), failed_row(b"/c"), named_row("/d", 5),
        named_row("/d", 5), open_row(5, a0=2),
    )  # fmt: skip
    found = decoder.feed(batch)
    assert [each.path for each in found] == ["/a", "/b", "/a", "/c", "/d", "/d", "/d"]
    assert {each.flags for each in found if each.ret > 0} == {int(Flag.FD)}
    assert decoder.path(1, 5) == "/d"
    assert [each.path for each in decoder.feed(rows(open_row(6, a0=1), open_row(6, a0=2)))] == ["/b"]


def in_folder(name: bytes, ino: int, number: int = 77, **more: Any) -> dict[str, Any]:
    made = {**open_row(ino, name, **more), "flags": Flag.FD | Flag.IN_FOLDER, "base_ino": number}
    return {**made, "text": name.ljust(SHORT, b"\0"), "len": len(name)}


LONG = b"n" * 200


def test_open_in_a_folder_that_was_told_has_the_whole_path() -> None:
    decoder = Decoder()
    found = decoder.feed(
        rows(
            named_row("/srv/a b/one", 5, base_ino=77), in_folder(b"two", 6, ret=4), path_row("/x", 9), in_folder(LONG, 7),
            named_row("/top", 8, base_ino=78), in_folder(b"\xff\n", 10, 78, a0=1), in_folder(b"s" * SHORT, 11, uid=5),
        )
    )  # fmt: skip
    assert [each.path for each in found] == [
        "/srv/a b/one", "/srv/a b/two", f"/srv/a b/{LONG.decode()}", "/top", "/\\xff\n", f"/srv/a b/{'s' * SHORT}",
    ]  # fmt: skip
    assert [(each.ret, each.a0, each.uid) for each in found][1:] == [
        (4, 0, 0), (3, 0, 0), (3, 0, 0), (3, 1, 0), (3, 0, 5),
    ]  # fmt: skip
    assert {each.flags for each in found} == {int(Flag.FD)}
    assert (decoder.path(1, 6), decoder.path(1, 10)) == ("/srv/a b/two", "/\\xff\n")


def test_open_in_a_folder_that_nobody_told_counts_as_cut() -> None:
    decoder = Decoder()
    (seen,) = decoder.feed(rows(in_folder(b"passwd", 5)))
    assert (seen.path, seen.truncated, decoder.broken) == ("/?/passwd", True, 1)


def test_folders_that_were_told_long_ago_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decode, "MAX_FOLDERS", 8)
    decoder = Decoder()
    for number in range(1, 9):
        decoder.feed(rows(named_row(f"/{number}/a", number, base_ino=number)))
    # The first one is told again, so that it is the latest.
    decoder.feed(rows(named_row("/1/a", 1, base_ino=1), named_row("/9/a", 9, base_ino=9)))
    found = decoder.feed(rows(*(in_folder(b"b", 20, number) for number in (1, 2, 3, 4, 9))))
    assert [each.path for each in found] == ["/1/b", "/?/b", "/?/b", "/4/b", "/9/b"]


def test_record_is_laid_out_for_struct_as_for_numpy() -> None:
    batch = rows(named_row("/a", 5, comm=b"cat", tid=9))
    (row,) = _decode.rows_in(batch.tobytes())
    assert _decode.pack_row(row) == batch.tobytes()
    for name, value in zip(batch.dtype.names or (), row, strict=True):
        told = batch[name].tolist()[0]
        assert value == (told.ljust(16, b"\0") if name == "comm" else told)


def test_parts_are_joined_even_between_those_of_another_thread() -> None:
    first = {"kind": Kind.EXEC, "parts": 3, "text": b"/bin/x"}
    (one, two) = Decoder().feed(
        rows(
            {**first, "tid": 1, "pid": 1},
            {**first, "tid": 2, "pid": 2, "parts": 2},
            {**first, "tid": 1, "part": 1, "text": b"x\0long argu"},
            {**first, "tid": 2, "part": 1, "parts": 2, "text": b"y\0"},
            {**first, "tid": 1, "part": 2, "text": b"ment\0\0"},
        )
    )
    assert (one.argv, two.argv) == (("y",), ("x", "long argument", ""))


def test_part_that_was_dropped_breaks_the_whole() -> None:
    decoder = Decoder()
    first = {"kind": Kind.EXEC, "parts": 3, "text": b"x"}
    assert decoder.feed(rows(first, {**first, "part": 2})) == []
    assert decoder.broken == 1


def test_cut_part_marks_the_whole() -> None:
    first = {"kind": Kind.EXEC, "parts": 2, "text": b"x"}
    (seen,) = Decoder().feed(rows(first, {**first, "part": 1, "flags": Flag.TRUNCATED}))
    assert seen.truncated


def test_rename_has_both_paths() -> None:
    first = {"kind": Kind.RENAME, "parts": 2, "flags": Flag.CLAIMED, "text": b"/a"}
    (seen,) = Decoder().feed(rows(first, {**first, "part": 1, "text": b"/b"}))
    assert (seen.path, seen.other) == ("/a", "/b")


def test_hostile_names_become_text() -> None:
    (seen,) = Decoder().feed(rows(failed_row(b"/\xff\n\x1b")))
    assert seen.path == "/\\xff\n\x1b"


def test_memory_file_has_a_name_and_no_path() -> None:
    (seen,) = Decoder().feed(
        rows({"kind": Kind.MEMFD, "flags": Flag.CLAIMED | Flag.BASED, "text": b"payload"})
    )
    assert seen.path == "payload"


def v4(address: str, port: int) -> bytes:
    return struct.pack("<H", socket.AF_INET) + port.to_bytes(2, "big") + socket.inet_aton(address)


def v6(address: str, port: int) -> bytes:
    head = struct.pack("<H", socket.AF_INET6) + port.to_bytes(2, "big") + b"\0" * 4
    return head + socket.inet_pton(socket.AF_INET6, address)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (v4("192.0.2.1", 443), ("inet", "192.0.2.1", 443)),
        (v6("2001:db8::1", 80), ("inet6", "2001:db8::1", 80)),
        (v6("::ffff:192.0.2.1", 80), ("inet6", "192.0.2.1", 80)),
        (b"\x01\0/run/x.sock\0rest", ("unix", "/run/x.sock", 0)),
        (b"\x01\0\0name", ("unix", "@name", 0)),
        (b"\x10\0" + b"\0" * 10, ("netlink", "", 0)),
        (b"\x63\0", ("family-99", "", 0)),
    ],
)
def test_addresses_are_read(data: bytes, expected: tuple[str, str, int]) -> None:
    address = read_address(data, 6 << 16)
    assert address is not None
    assert (address.family, address.host, address.port) == expected


@pytest.mark.parametrize("data", [b"", b"\x02"])
def test_nothing_is_no_address(data: bytes) -> None:
    assert read_address(data, 0) is None
