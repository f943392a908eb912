"""Files become values with lines, and wrong shapes become errors that say what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import pytest

from agentguard.core import DocumentError, Effect, Sensitivity
from agentguard.documents import find_documents, parse, read

if TYPE_CHECKING:
    from pathlib import Path


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    sensitivity: Sensitivity | None = None
    effects: list[Effect] = []
    labels: dict[str, str] = {}
    levels: dict[str, Sensitivity] = {}
    mode: Literal["on", "off"] = "on"
    pair: tuple[Effect, ...] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    entries: list[_Entry]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("entries: 3", "x.yaml:1: entries: expected `array`, got `int`"),
        ("entries:\n- {}", "x.yaml:2: entries[0]: object missing required field `id`"),
        ("entries:\n- id: 3", "x.yaml:2: entries[0].id: expected `str`, got `int`"),
        ("entries:\n- id: a\n  idd: b", "x.yaml:3: entries[0].idd: unknown key `idd`"),
        ("entires: []", "x.yaml:1: entires: unknown key `entires`"),
        (
            "entries:\n- id: a\n  sensitivity: high",
            "x.yaml:3: entries[0].sensitivity: must be one of `public`, `internal`, `restricted`, `critical`",
        ),
        (
            "entries:\n- id: a\n  effects: [allow,\n   permit]",
            "x.yaml:4: entries[0].effects[1]: must be one of `allow`, `transform`, `require_approval`, `deny`",
        ),
        ("entries:\n- id: a\n  mode: auto", "x.yaml:3: entries[0].mode: must be one of `off`, `on`"),
        (
            "entries:\n- id: a\n  levels: {a.b: high}",
            "x.yaml:3: entries[0].levels: must be one of `public`, `internal`, `restricted`, `critical`",
        ),
        (
            "entries:\n- id: a\n  pair: [permit]",
            "x.yaml:3: entries[0].pair[0]: must be one of `allow`, `transform`, `require_approval`, `deny`",
        ),
        ("entries:\n- id: a\n  labels: {x: 3}", "x.yaml:3: entries[0].labels: expected `str`, got `int`"),
        ("", "x.yaml:1: expected `object`, got `null`"),
    ],
)
def test_wrong_shape_names_line_field_and_what_was_expected(text: str, error: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(text, file="x.yaml").convert(_File)
    assert str(caught.value) == error


def test_wrong_key_of_a_map_names_the_map() -> None:
    with pytest.raises(DocumentError) as caught:
        parse("a:\n  high: 1", file="x.yaml").convert(dict[str, dict[Sensitivity, int]])
    assert caught.value.location is not None
    assert caught.value.location.line == 1
    assert "at `" not in str(caught.value)


def test_right_shape_is_converted() -> None:
    value = parse("entries: [{id: a, sensitivity: public}]", file="x.yaml").convert(_File)
    assert value == _File([_Entry("a", Sensitivity.PUBLIC)])


def test_location_of_an_unknown_part_is_that_of_the_nearest_one() -> None:
    document = parse("a:\n  b: 1\n", file="x.yaml")
    assert document.location("a", "b").line == 2
    assert document.location("a", "c", 3).line == 1
    assert document.location().field is None
    assert str(document.error("is wrong", "a", "c", hint="mend it")) == "x.yaml:1: a.c: is wrong; mend it"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a: \xff\xfe", "is not UTF-8"),
        ("a: é".encode("utf-16"), "is not UTF-8"),
        (b"a: " + b"x" * (16 * 1024 * 1024), "is larger than 16 MiB"),
    ],
)
def test_bytes_that_cannot_be_read_are_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match=why):
        read(path)


def test_undecodable_byte_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(DocumentError, match=r"x\.yaml:2: is not UTF-8"):
        read(path)


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_byte_order_mark_is_skipped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read(path).value == {"a": 1}


@pytest.mark.parametrize(("name", "why"), [("missing.yaml", "no such file"), (".", "is a directory")])
def test_path_that_is_no_file_is_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(DocumentError, match=f"cannot be read: {why}"):
        read(tmp_path / name)


def test_name_in_errors_can_be_set(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"^policies/x\.yaml: cannot"):
        read(tmp_path / "x.yaml", name="policies/x.yaml")


def test_documents_of_a_folder_are_found_sorted_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c/d.json", "notes.txt", ".hidden.yaml", ".git/x.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a: 1")
    (tmp_path / "folder.yaml").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_documents(tmp_path)]
    assert found == ["a.yml", "b.yaml", "c/d.json"]
