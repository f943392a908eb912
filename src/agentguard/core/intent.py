"""What an intent session knows of a call: where its targets come from, and what the user asked for.

The user's words are trusted, what tools give back is not. So each argument that says to whom or to what
something is done has an origin, and rules decide by it.
"""

from __future__ import annotations

import enum

import msgspec

from agentguard.core.action import Access


class OriginKind(enum.Enum):
    """Where a value comes from, from the best to the worst; `rank` grows with the doubt.

    `none`: there is no such argument. `user`: the user's own words. `inventory`: the project lists it.
    `subject`: it names the user. `derived`: a model wrote it when nothing but the user's words was there.
    `selected`: a record that the user's words pick out. `delegated`: the one such value in a text that the user
    referred to. `owned`: a thing of the user's. `created`: made by an allowed call of this session. `listed`: one
    of several that a read on the user's words gave. `composed`: put together from good parts.
    `new`: a name for something new, which nothing else has. `ambiguous`:
    several fit the user's words. `seen`: a record that the user's words do not pick out. `cited`: stands in
    the text of a record that they do. `unknown`: never seen. `text`: stands in what somebody else wrote.
    `refused`: was refused in this session. `foreign`: belongs to somebody else. `lookalike`: looks like a
    word of the user's and is none.
    """

    NONE = "none"
    USER = "user"
    INVENTORY = "inventory"
    SUBJECT = "subject"
    DERIVED = "derived"
    SELECTED = "selected"
    DELEGATED = "delegated"
    OWNED = "owned"
    CREATED = "created"
    LISTED = "listed"
    COMPOSED = "composed"
    NEW = "new"
    AMBIGUOUS = "ambiguous"
    SEEN = "seen"
    CITED = "cited"
    UNKNOWN = "unknown"
    TEXT = "text"
    REFUSED = "refused"
    FOREIGN = "foreign"
    LOOKALIKE = "lookalike"

    rank: int

    # One object for each, so its identity is its hash; that of `Enum` is a call of Python for each look-up.
    __hash__ = object.__hash__


for _rank, _kind in enumerate(OriginKind):
    _kind.rank = _rank


class Asked(enum.Enum):
    """Whether the user's words ask for what an action does.

    `this`: for its kind. `other`: for changes, and not evidently for this kind. `nothing`: for no change.
    """

    THIS = "this"
    OTHER = "other"
    NOTHING = "nothing"


class Reach(enum.Enum):
    """Whether the targets of a call are inside, or endpoints of others: addresses, accounts, URLs, hosts."""

    INTERNAL = "internal"
    EXTERNAL = "external"


class ArgumentOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where one argument came from. The value itself is not in here.

    `argument` is its JSON pointer, `role` what it is: `target`, `amount` or `secret`. `source` is the tool
    whose result gave it, `field` the place in it, `words` the user's words that led there; `note` says it
    in one sentence.
    """

    argument: str
    role: str
    kind: OriginKind
    source: str = ""
    field: str = ""
    words: tuple[str, ...] = ()
    note: str = ""


class CallOrigins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The origins of one call's arguments, the worst of each role, and what the user asked for.

    `carries` tells whether a text among the arguments could take along what was read.
    """

    access: Access
    asked: Asked
    reach: Reach
    targets: OriginKind = OriginKind.NONE
    amounts: OriginKind = OriginKind.NONE
    secrets: OriginKind = OriginKind.NONE
    arguments: tuple[ArgumentOrigin, ...] = ()
    carries: bool = True
