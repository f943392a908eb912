"""The provenance of a request's arguments.

Each argument is looked up in this order:

1. Words of the user or of the configuration (`vouch`): the whole value counts as theirs. If the value is also
   known from elsewhere and is long (12 letters and digits), its confidentiality is that of both.
2. Truth values, null, numbers below four digits and texts below four letters or digits are too short to tell:
   they match only a whole value that was seen, and otherwise have the label of what a model writes.
3. A whole value that was seen: its label; for up to three words joined with what is common to the labels of
   all places where these words stood.
4. Pieces: sequences of four words, addresses, keys, parts of long keys, also behind encodings. If hardly
   anything is left over (at most a tenth and 12 characters), the label is that of the pieces.
5. Else the session's label, joined with that of the pieces: a model can paraphrase.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentguard.core import Integrity, Label, Match, Provenance, Sensitivity
from agentguard.flow._match import Coverage, match, sources_of
from agentguard.flow._packed import INTEGRITY_BITS, MILDEST, UNVERIFIED
from agentguard.flow._prints import MIN_DIGITS
from agentguard.flow._regrade import Grant, regraded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.flow._packed import LabelTable
    from agentguard.flow._prints import Printer, Short
    from agentguard.flow._session import Origin, Session

MIN_TEXT = 4
LONG = 12
MAX_ARGUMENTS = 1_000
# Characters of one request that are led back to pieces; what is beyond has the session's label.
MAX_TEXT = 262_144
# A key of an inner object is chosen like a value when it is as long as this.
LONG_KEY = 16
_SCALARS = frozenset((int, float, bool, type(None)))


# What is too short to tell has no more than what a model writes.
_TOO_SHORT = Provenance(Label(Integrity.UNVERIFIED, Sensitivity.PUBLIC), Match.SHORT)
_MAX_STEPS = 4_096


class _Steps(dict[str, str]):
    """The names of parameters as JSON pointers, made when first asked for; bounded, since names can be hostile."""

    def __missing__(self, name: str) -> str:
        if len(self) >= _MAX_STEPS:
            self.clear()
        pointer = self[name] = f"/{name.replace('~', '~0').replace('/', '~1')}"
        return pointer


_STEPS = _Steps()


class Traced(Mapping[str, Provenance]):
    """The provenance of each argument of one request by its JSON pointer, worked out when it is first asked for."""

    __slots__ = ("_found", "_params", "_tracer")

    def __init__(self, tracer: Tracer, params: dict[str, Any]) -> None:
        self._tracer = tracer
        self._params = params
        self._found: dict[str, Provenance] | None = None

    def _all(self) -> dict[str, Provenance]:
        found = self._found
        if found is None:
            found = self._found = self._tracer.params(self._params)
        return found

    def __getitem__(self, path: str) -> Provenance:
        """Return the provenance of one argument."""
        return self._all()[path]

    def __contains__(self, path: object) -> bool:
        """Tell whether there is such an argument."""
        return path in self._all()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the pointers."""
        return iter(self._all())

    def __len__(self) -> int:
        """Return the number of arguments."""
        return len(self._all())

    def get(self, path: str, default: Any = None) -> Any:
        """Return the provenance of one argument, or `default` where it is not known."""
        return self._all().get(path, default)


class Tracer:
    """Traces the arguments of one request in one session. `ambient` is the label of what cannot be told."""

    __slots__ = ("action", "ambient", "left", "printer", "session", "table")

    def __init__(self, session: Session, printer: Printer, table: LabelTable, action: str = "") -> None:
        self.session = session
        self.printer = printer
        self.table = table
        self.action = action
        self.ambient = session.label | UNVERIFIED
        self.left = MAX_TEXT

    def params(self, params: dict[str, Any]) -> dict[str, Provenance]:
        """Return the provenance of each argument by its JSON pointer (RFC 6901)."""
        found: dict[str, Provenance] = {}
        for name, value in params.items():
            path, kind = _STEPS[name], type(value)
            if kind is str:
                found[path] = self.text(value, path)
            elif kind in _SCALARS:
                found[path] = self._scalar(value, path)
            else:
                self._walk(value, path, found)
        if len(found) >= MAX_ARGUMENTS:
            found[""] = self.fallback()
        return found

    def text(self, value: str, path: str) -> Provenance:
        """Return the provenance of a text or of a number as it is written."""
        session = self.session
        short = self.printer.short(value)
        number = session.vouched.get(short.key) if short.size else None
        if number is not None:
            return self._vouched(session.origins[number], short, path)
        origin = session.find(short.key) if short.size else None
        if origin is not None:
            return self._exact(origin, short, path)
        if short.size < MIN_TEXT:
            packed = UNVERIFIED | (self.ambient & INTEGRITY_BITS if session.lost else MILDEST)
            # Signs that are no letters can still be many.
            return self.fallback() if len(value) > LONG else self._made(packed, Match.SHORT, (), 0.0)
        if short.size < LONG and short.alone:
            # Too little to hold a piece of anything.
            return self._unknown(short, path)
        return self._pieces(value, short, path)

    def fallback(self) -> Provenance:
        """Return the provenance of what cannot be led back to anything: the session's label."""
        return Provenance(self.table.unpack(self.ambient), Match.SESSION)

    def _unknown(self, short: Short, path: str) -> Provenance:
        if not self.session.grants:
            return self.fallback()
        return self._made(self._granted(short, path, self.ambient), Match.SESSION, (), 0.0)

    def _walk(self, value: Any, path: str, found: dict[str, Provenance]) -> None:
        stack: list[tuple[str, Any]] = [(path, value)]
        short: list[tuple[str, str]] = []
        while stack:
            if len(found) + len(stack) > MAX_ARGUMENTS:
                found[""] = self.fallback()
                return
            at, item = stack.pop()
            if isinstance(item, dict):
                for key, inner in item.items():
                    below = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
                    stack.append((below, inner))
                    if len(key) >= LONG_KEY:
                        # No pointer has `~k` in it, so this cannot stand for another argument.
                        found[f"{below}/~key"] = self.text(key, below)
            elif isinstance(item, list | tuple):
                stack += ((f"{at}/{number}", inner) for number, inner in enumerate(item))
            else:
                found[at] = self._scalar(item, at)
                if found[at].how is Match.SHORT and not isinstance(item, bool | None):
                    short.append((at, str(item)))
        # Many that are too short to tell can be one that is not: a text as a list of its letters.
        joined = "".join(text for _, text in reversed(short))
        if self.printer.short(joined).size >= LONG:
            whole = self.text(joined, path)
            found.update((at, whole) for at, _ in short)

    def _scalar(self, value: Any, path: str) -> Provenance:
        if isinstance(value, str):
            return self.text(value, path)
        if value is None or isinstance(value, bool):
            return _TOO_SHORT
        written = str(value)
        if len(written) < MIN_DIGITS:
            vouched = self.session.vouched
            if not vouched or self.printer.short(written).key not in vouched:
                return _TOO_SHORT
        return self.text(written, path)

    def _vouched(self, origin: Origin, short: Short, path: str) -> Provenance:
        packed = origin.packed
        elsewhere = self.session.find(short.key) if short.size >= LONG else None
        if elsewhere is not None:
            packed |= elsewhere.packed & ~INTEGRITY_BITS
        return self._made(self._granted(short, path, packed), Match.EXACT, origin.sources, 1.0)

    def _exact(self, origin: Origin, short: Short, path: str) -> Provenance:
        session = self.session
        if not session.grants and origin.packed == session.label:
            # Nothing is stricter than the session.
            return Provenance(self.table.unpack(origin.packed), Match.EXACT, origin.sources, 1.0)
        packed = self._of(origin, path) | session.lossy
        if short.alone:
            common = -1
            for fingerprint in short.alone:
                place = session.find(fingerprint)
                common &= MILDEST if place is None else self._of(place, path)
            packed |= common
        if session.grants:
            packed = self._granted(short, path, packed)
        return self._made(packed, Match.EXACT, origin.sources, 1.0)

    def _pieces(self, value: str, short: Short, path: str) -> Provenance:
        self.left -= len(value)
        if self.left < 0:
            return self.fallback()
        coverage = match(self.session, self.printer, value)
        if not coverage.origins:
            return self._unknown(short, path)
        packed = self.session.lossy
        for origin in coverage.origins:
            packed |= self._of(origin, path)
        if not coverage.enough:
            packed |= self.ambient
        elif len(coverage.origins) > 1:
            # Who puts pieces together says something new.
            packed |= UNVERIFIED
        how = Match.DECODED if coverage.decoded else Match.NGRAM
        return self._made(
            self._granted(short, path, packed), how, tuple(sources_of(coverage.origins)), _share(coverage)
        )

    def _of(self, origin: Origin, path: str) -> int:
        grants = self.session.grants
        return regraded(self._fitting(grants, path), origin) if grants else origin.packed

    def _granted(self, short: Short, path: str, packed: int) -> int:
        if not self.session.grants:
            return packed
        for grant in self._fitting(self.session.grants, path):
            if grant.value == short.key and not grant.source:
                packed = grant.regrade(packed)
        return packed

    def _fitting(self, grants: tuple[Grant, ...], path: str) -> tuple[Grant, ...]:
        return tuple(each for each in grants if each.covers(self.action, path))

    def _made(self, packed: int, how: Match, sources: tuple[str, ...], share: float) -> Provenance:
        return Provenance(self.table.unpack(packed), how, sources, share)


def _share(coverage: Coverage) -> float:
    return round(coverage.share, 3)
