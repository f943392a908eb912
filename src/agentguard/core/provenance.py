"""Where an argument of a request came from."""

from __future__ import annotations

import enum

import msgspec

from agentguard.core.label import Label


class Match(enum.Enum):
    """How an argument was led back to what was seen before.

    `exact`: the whole value; `decoded`: after undoing an encoding; `ngram`: by pieces of it; `session`: not
    at all or not wholly, so that the label of the whole session counts; `short`: too short to tell.
    """

    EXACT = "exact"
    DECODED = "decoded"
    NGRAM = "ngram"
    SESSION = "session"
    SHORT = "short"


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The label of one argument, the sources that it was matched to, and the share (0..1) that matched."""

    label: Label
    how: Match
    sources: tuple[str, ...] = ()
    share: float = 0.0
