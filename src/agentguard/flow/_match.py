"""Leading one text back to what a session has seen, piece by piece."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from agentguard.core import fold_spelling
from agentguard.flow._decode import MAX_DECODED, MAX_DEPTH, MAX_PIECE, decoded
from agentguard.flow._prints import GRAM, MIN_ATOM, SHINGLE
from agentguard.flow._text import atom_spans, squash, word_spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.flow._prints import Printer
    from agentguard.flow._session import Origin, Session

# Fewer letters and digits in a row than this are a turn of phrase, unless they are the whole text.
MIN_RUN = 20
# So much of a word's characters must lie in known pieces for the word to count.
WORD_SHARE = 0.6
# A text counts as matched if hardly anything of it is left: what a model adds can carry a secret.
ENOUGH = 0.9
MAX_REST = 12
_MAX_WORD = 1_024


class Coverage:
    """Which words of a text were seen before, and where."""

    def __init__(self, raw: str) -> None:
        self.raw = raw[:MAX_PIECE]
        self.normal = fold_spelling(self.raw)
        self.spans = word_spans(self.normal)
        self.covered = bytearray(len(self.spans))
        self.origins: set[Origin] = set()
        self.decoded = False
        # Letters and digits that are beyond what is looked at count as never seen.
        self.beyond = len(raw) - len(self.raw)

    @property
    def total(self) -> int:
        """Letters and digits of the text."""
        return sum(end - start for start, end in self.spans) + self.beyond

    @property
    def seen(self) -> int:
        """Letters and digits of the words that were seen before."""
        return sum(end - start for (start, end), hit in zip(self.spans, self.covered, strict=True) if hit)

    @property
    def share(self) -> float:
        """The share of the text that was seen before, 0..1."""
        return self.seen / self.total if self.total else 0.0

    @property
    def enough(self) -> bool:
        """Whether so little is left that it says nothing."""
        seen, total = self.seen, self.total
        return seen >= ENOUGH * total > 0 and total - seen <= MAX_REST

    def cover(self, start: int, end: int, origins: set[Origin]) -> None:
        """Mark the words between two places of the normalised text."""
        self.origins |= origins
        first = bisect_left(self.spans, (start, 0))
        last = bisect_left(self.spans, (end, 0), lo=first)
        self.covered[first:last] = b"\1" * (last - first)


def match(
    session: Session,
    printer: Printer,
    raw: str,
    *,
    depth: int = MAX_DEPTH,
    budget: list[int] | None = None,
) -> Coverage:
    """Return what of `raw` the session has seen, also behind encodings.

    `budget` holds how many decoded characters may still be looked at, in all.
    """
    budget = [MAX_DECODED] if budget is None else budget
    coverage = Coverage(raw)
    if not coverage.spans and not coverage.raw:
        return coverage
    _phrases(session, printer, coverage)
    _atoms(session, printer, coverage)
    if depth and not coverage.enough:
        _encoded(session, printer, coverage, depth, budget)
    return coverage


def _phrases(session: Session, printer: Printer, coverage: Coverage) -> None:
    normal, spans = coverage.normal, coverage.spans
    numbers = printer.numbers([normal[start:end] for start, end in spans])
    run: list[Origin] = []
    first = last = 0
    for at, fingerprint in enumerate(printer.shingles(numbers)):
        origin = session.find(fingerprint)
        if origin is None:
            continue
        if run and at > last:
            _end_run(coverage, first, last, run)
            run = []
        if not run:
            first = at
        run.append(origin)
        last = at + SHINGLE
    if run:
        _end_run(coverage, first, last, run)


def _end_run(coverage: Coverage, first: int, last: int, run: list[Origin]) -> None:
    spans = coverage.spans
    size = sum(end - start for start, end in spans[first:last])
    if size >= MIN_RUN or last - first == len(spans):
        coverage.covered[first:last] = b"\1" * (last - first)
        coverage.origins.update(run)


def _atoms(session: Session, printer: Printer, coverage: Coverage) -> None:
    for start, end in atom_spans(coverage.normal, coverage.spans):
        atom = squash(coverage.normal[start:end])
        if len(atom) < MIN_ATOM:
            continue
        origin = session.find(printer.keyed(atom))
        if origin is not None:
            coverage.cover(start, end, {origin})
        elif len(atom) >= GRAM:
            _pieces_of_atom(session, printer, coverage, start, end)


def _pieces_of_atom(session: Session, printer: Printer, coverage: Coverage, start: int, end: int) -> None:
    """Cover an atom that is a piece of a longer one, or that holds one."""
    atom = squash(coverage.normal[start:end])[:_MAX_WORD]
    marks = bytearray(len(atom))
    origins: set[Origin] = set()
    for at, fingerprint in enumerate(printer.grams(atom)):
        origin = session.find(fingerprint)
        if origin is not None:
            marks[at : at + GRAM] = b"\1" * GRAM
            origins.add(origin)
    if sum(marks) >= WORD_SHARE * (end - start):
        coverage.cover(start, end, origins)


def _encoded(session: Session, printer: Printer, coverage: Coverage, depth: int, budget: list[int]) -> None:
    for inner in decoded(coverage.raw):
        budget[0] -= len(inner.text)
        if budget[0] < 0:
            return
        found = _whole(session, printer, inner.text)
        if found is None:
            found = match(session, printer, inner.text, depth=depth - 1, budget=budget)
        if not found.origins:
            continue
        coverage.decoded = True
        coverage.origins |= found.origins
        if not found.enough:
            continue
        whole = inner.start == 0 and inner.end == len(coverage.raw)
        # Places in the raw text are places in the normalised one as long as both are ASCII.
        if whole or coverage.raw.isascii():
            coverage.cover(inner.start, len(coverage.normal) if whole else inner.end, found.origins)


def _whole(session: Session, printer: Printer, text: str) -> Coverage | None:
    """Return the coverage of a text that was seen as a whole."""
    short = printer.short(text)
    origin = session.find(short.key) if short.size >= MIN_ATOM else None
    if origin is None:
        return None
    coverage = Coverage(text)
    coverage.cover(0, len(coverage.normal), {origin})
    return coverage


def sources_of(origins: set[Origin]) -> Iterator[str]:
    """Yield the names of the sources, each once, in a fixed order."""
    yield from sorted({source for origin in origins for source in origin.sources})
