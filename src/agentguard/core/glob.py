"""Globs over ids: `*` stays within a segment, `**` crosses segments; all else is literal.

Matching runs all the ways through the pattern at once (one bit each), so its cost is the length of the
pattern times the length of the text whatever an attacker writes; there is nothing to backtrack.
"""

from __future__ import annotations

import re
from collections import deque

_TOKEN = re.compile(r"\*\*|\*|[^*]", re.DOTALL)
_MANY = "**"
_SOME = "*"


class Glob:
    """A compiled glob, case-sensitive. Segments end at `/`."""

    __slots__ = ("_tokens", "is_literal", "prefix", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        # `***` is `**`: runs of stars collapse into the widest of them.
        self._tokens = tuple(_TOKEN.findall(re.sub(r"\*{2,}", _MANY, text)))
        self.is_literal = "*" not in text
        self.prefix = text.partition("*")[0]

    def matches(self, text: str) -> bool:
        """Tell whether the whole of `text` matches."""
        prefix = self.prefix
        if not text.startswith(prefix):
            return False
        if self.is_literal:
            return text == prefix
        rest = self._tokens[len(prefix) :]
        if rest == (_MANY,):
            return True
        if rest == (_SOME,):
            return "/" not in text[len(prefix) :]
        return self._run(rest, text[len(prefix) :])

    def _run(self, tokens: tuple[str, ...], text: str) -> bool:
        literals: dict[str, int] = {}
        some = many = 0
        for index, token in enumerate(tokens):
            if token == _MANY:
                many |= 1 << index
            elif token == _SOME:
                some |= 1 << index
            else:
                literals[token] = literals.get(token, 0) | 1 << index
        stars = some | many
        states = _skip_stars(1, stars)
        for char in text:
            stay = states & (many if char == "/" else stars)
            states = stay | ((states & literals.get(char, 0)) << 1)
            if not states:
                return False
            states = _skip_stars(states, stars)
        return bool(states >> len(tokens) & 1)

    def overlap(self, other: Glob) -> str | None:
        """Return a shortest text that both match, or None: a search through the product of the two."""
        mine, theirs = self._tokens, other._tokens
        alphabet = sorted({t for t in (*mine, *theirs) if t not in (_SOME, _MANY)} | {"x"})
        start = (0, 0)
        came: dict[tuple[int, int], tuple[tuple[int, int], str] | None] = {start: None}
        queue = deque([start])
        while queue:
            state = queue.popleft()
            if state == (len(mine), len(theirs)):
                return _path(came, state)
            for following, char in _steps(mine, theirs, state, alphabet):
                if following not in came:
                    came[following] = (state, char)
                    if char:
                        queue.append(following)
                    else:
                        queue.appendleft(following)
        return None

    def __repr__(self) -> str:
        return f"Glob({self.text!r})"


def _skip_stars(states: int, stars: int) -> int:
    """Add the states reached by letting a star match nothing."""
    while True:
        wider = states | ((states & stars) << 1)
        if wider == states:
            return states
        states = wider


def _moves(tokens: tuple[str, ...], at: int, char: str) -> tuple[int, ...]:
    """Return where one side can be after reading `char` (empty: after reading nothing)."""
    if at == len(tokens):
        return ()
    token = tokens[at]
    if not char:
        return (at + 1,) if token in (_SOME, _MANY) else ()
    if token == _MANY or (token == _SOME and char != "/"):
        return (at,)
    return (at + 1,) if token == char else ()


def _steps(
    mine: tuple[str, ...], theirs: tuple[str, ...], state: tuple[int, int], alphabet: list[str]
) -> list[tuple[tuple[int, int], str]]:
    left, right = state
    steps = [((after, right), "") for after in _moves(mine, left, "")]
    steps += [((left, after), "") for after in _moves(theirs, right, "")]
    for char in alphabet:
        for after_left in _moves(mine, left, char):
            steps += [((after_left, after_right), char) for after_right in _moves(theirs, right, char)]
    return steps


def _path(came: dict[tuple[int, int], tuple[tuple[int, int], str] | None], state: tuple[int, int]) -> str:
    chars: list[str] = []
    step = came[state]
    while step is not None:
        state, char = step
        chars.append(char)
        step = came[state]
    return "".join(reversed(chars))
