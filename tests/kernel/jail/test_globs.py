from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentguard.kernel.jail._globs import Shape, shape_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("/srv/data/**", ("/srv/data",)),
        ("/**", ("/",)),
        ("**", ("/",)),
        ("/srv/none.txt", ("/srv/none.txt",)),
    ],
)
def test_file_and_tree_are_exact(pattern: str, paths: tuple[str, ...]) -> None:
    assert shape_of(pattern, forbids=False) == Shape(paths, exact=True)
    assert shape_of(pattern, forbids=True) == Shape(paths, exact=True)


def test_folder_itself_is_a_tree_where_it_is_forbidden_and_nothing_where_it_is_permitted(
    tmp_path: Path,
) -> None:
    assert shape_of(str(tmp_path), forbids=True) == Shape((str(tmp_path),), exact=True)
    assert shape_of(str(tmp_path), forbids=False) == Shape((), exact=False)


def test_other_pattern_is_what_matches_now(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.env", "b.env", "c.txt", "deep/d.env"):
        (tmp_path / name).write_text("x")
    flat = shape_of(f"{tmp_path}/*.env", forbids=True)
    assert (sorted(flat.paths), flat.exact) == ([f"{tmp_path}/a.env", f"{tmp_path}/b.env"], False)
    deep = shape_of(f"{tmp_path}/**/*.env", forbids=True)
    assert sorted(deep.paths) == [f"{tmp_path}/deep/d.env"]
