"""The files beside the pages, read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is sent."""

    content_type: str
    body: bytes


def static_files() -> dict[str, StaticFile]:
    """Return the files by name; a name that is none of these does not exist, whatever it looks like."""
    folder = Path(__file__).parent / "static"
    return {
        path.name: StaticFile(_TYPES[path.suffix], path.read_bytes())
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES
    }
