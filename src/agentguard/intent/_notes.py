"""Origins in one sentence, for people."""

from __future__ import annotations

from functools import lru_cache

from agentguard.core import OriginKind

_SAYINGS = {
    OriginKind.USER: "the user said it",
    OriginKind.INVENTORY: "it is in the inventory",
    OriginKind.SUBJECT: "it names the user",
    OriginKind.DERIVED: "nothing but the user's words was there to take it from",
    OriginKind.SELECTED: "the user's words pick out the record that it stands in{by}{place}",
    OriginKind.DELEGATED: "the user referred to the text that says it{by}{place}",
    OriginKind.OWNED: "it belongs to the user{place}",
    OriginKind.CREATED: "this session made it{place}",
    OriginKind.LISTED: "it is one of what the user's task made the agent read{place}",
    OriginKind.COMPOSED: "it is put together from parts that are the user's or were read for the user{by}",
    OriginKind.NEW: "nothing has this name yet",
    OriginKind.AMBIGUOUS: "more than one value fits the user's words{by}{place}",
    OriginKind.SEEN: "it was read, and the user's words do not lead to it{place}",
    OriginKind.CITED: "it stands in a text that the user spoke of, and nobody asked to act on what that says{place}",
    OriginKind.UNKNOWN: "nothing that was said or read has it",
    OriginKind.TEXT: "only what somebody else wrote says it{place}",
    OriginKind.REFUSED: "it was refused before in this session, or too much was",
    OriginKind.FOREIGN: "it belongs to somebody else{place}",
    OriginKind.LOOKALIKE: "it only looks like what the user said{by}",
}


@lru_cache(maxsize=1024)
def note_on(kind: OriginKind, source: str, place: str, words: tuple[str, ...]) -> str:
    """Return in one sentence why a value has its origin."""
    by = f" (by `{', '.join(words[:5])}`)" if words else ""
    where = f", in the result of {source}" if source else ""
    where += f" at {place}" if place and source else ""
    return _SAYINGS.get(kind, "").format(by=by, place=where)
