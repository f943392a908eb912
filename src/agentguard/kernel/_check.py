"""One verdict of the self-test."""

from __future__ import annotations

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One verdict: what a process did, and whether it was seen."""

    name: str
    ok: bool
    detail: str
    needed: bool
