"""One session: what the user asked for, what has been seen since, and what that says of the next call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentguard.core import (
    Access,
    ArgumentOrigin,
    Asked,
    CallOrigins,
    Effect,
    Match,
    Reach,
    Role,
)
from agentguard.intent._arguments import EXTERNAL_KINDS, NETWORK_KINDS, Shape, Value
from agentguard.intent._forms import (
    ACCOUNT,
    ENDPOINTS,
    ID,
    MAIL,
    PATH,
    URL,
    atoms_of,
    is_made_of,
    is_moment,
    key_of,
    measure_of,
    shape_of,
    tokens_of,
)
from agentguard.intent._journal import Refused, Seen
from agentguard.intent._judging import (
    TARGET,
    asked_by_targets,
    deed_of,
    is_asked_there,
    is_rich,
    is_setting_asked,
    is_spelt_out,
    taken_along,
    with_parts,
)
from agentguard.intent._kind import K
from agentguard.intent._memory import MAX_ASKS, MAX_STRIKES, Memory
from agentguard.intent._notes import note_on
from agentguard.intent._origin import GOOD, Found, Judge
from agentguard.intent._parse import parse_result
from agentguard.intent._records import is_text, parts_of
from agentguard.intent._verbs import is_asked, singular
from agentguard.intent._vocabulary import is_telling
from agentguard.intent._words import Words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentguard.core import Provenance
    from agentguard.intent._journal import Event
    from agentguard.intent._parse import Parsed

AMOUNT, SECRET = "amount", "secret"
# An attribute of an enumeration takes as long as a call.
_READ, _WRITE = Access
_THIS, _OTHER, _ = Asked
_INTERNAL, _EXTERNAL = Reach
_ROLE_TARGET, _ROLE_PAYLOAD, _ROLE_CONTROL = Role
# Longer is no name of a thing.
_NAME, _NAME_WORDS = 60, 4
# Kinds that say how or when, and nothing about to whom.
_NEUTRAL = frozenset(("date", "amount", "secret"))
_DOUBTS = frozenset((K.AMBIGUOUS, K.SEEN, K.CITED, K.UNKNOWN, K.TEXT))
_LED_BACK = frozenset((Match.EXACT, Match.DECODED, Match.NGRAM))


class IntentSession:
    """The state of one session. Safe to use from many threads.

    `prompt` are the user's words, `identities` names of the user that the host program vouches for, `is_listed`
    tells whether the inventory knows an id. `note` is handed each event before it counts; what it raises is passed on,
    and the event does not count.
    """

    def __init__(
        self,
        prompt: str,
        shapes: Mapping[str, Shape],
        *,
        identities: Iterable[str] = (),
        is_listed: Callable[[str], bool] = lambda _: False,
        note: Callable[[Event], None] | None = None,
    ) -> None:
        self.shapes = shapes
        self.words = Words(prompt)
        self.memory = Memory(self.words, frozenset(filter(None, map(key_of, identities))))
        self.lock = threading.RLock()
        self._is_listed = is_listed
        # Tools of which nothing else is known than that they gave back what reads give.
        self._gave_records: set[str] = set()
        self._note = note
        # What the words ask for does not change, nor what a tool does.
        self._asks: dict[tuple[str, bool, str], Asked] = {}

    def judge(
        self, name: str, params: dict[str, Any], provenance: Mapping[str, Provenance] | None = None
    ) -> CallOrigins:
        """Return where the arguments of a call come from. `provenance` is what fingerprints say of them."""
        shape = self.shapes[name]
        with self.lock:
            return self._judge(shape, params, provenance)

    def _judge(
        self, shape: Shape, params: dict[str, Any], provenance: Mapping[str, Provenance] | None
    ) -> CallOrigins:
        values = shape.values(params)
        is_write = shape.is_write and shape.name not in self._gave_records
        is_external = shape.is_sink or _names_outside(values)
        words = self.words
        deed = deed_of(shape, values) if is_write and shape.has_deeds else ""
        asked = self._asked(shape, deed=deed)
        if asked is not _THIS and words.leaves_deeds and is_asked_there(shape, self.memory):
            asked = _THIS
        judge = self._judge_for(shape, is_external=is_external, is_asked=asked is _THIS or words.is_open)
        worst = {TARGET: K.NONE, AMOUNT: K.NONE, SECRET: K.NONE}
        told: list[ArgumentOrigin] = []
        judged: list[tuple[Value, str, Any, Found]] = []
        reaches_out = is_made_up = False
        for each in self._settled(values) if is_write and shape.has_doubts else values:
            role = _role_of(each, is_write=is_write)
            if role is None:
                continue
            for part in _parts(each, role):
                # To look somebody up by his name in this place reaches nobody.
                kinds = EXTERNAL_KINDS if is_write else NETWORK_KINDS
                endpoint = is_external and each.kind in kinds
                is_address = shape_of(key_of(part)) in ENDPOINTS
                reaches_out = reaches_out or endpoint or is_address
                found = self._found(judge, part, each, role, provenance, is_endpoint=endpoint)
                is_made_up = is_made_up or (
                    found.kind is K.UNKNOWN and (is_address or each.kind in NETWORK_KINDS)
                )
                judged.append((each, role, part, found))
        for each, role, found in with_parts(judged):
            told.append(_explained(each.pointer, role, found))
            if found.kind.rank > worst[role].rank:
                worst[role] = found.kind
        is_named = worst[TARGET] is not K.NONE or any(_is_setting(each, self.words) for each in values)
        if shape.is_unknown and is_spelt_out(values, words, worst[TARGET]):
            asked = _THIS
        if asked is _OTHER:
            asked = asked_by_targets(
                shape, words, lambda: self._asked(shape, is_named=True, deed=deed),
                worst=worst[TARGET], is_named=is_named, reaches_out=reaches_out, is_external=is_external,
                sets_asked=is_setting_asked(values, words),
            )  # fmt: skip
        if asked is not _THIS and is_write:
            for pointer, found in taken_along(values, judge):
                told.append(_explained(pointer, TARGET, found))
                worst[TARGET] = max(worst[TARGET], found.kind, key=lambda kind: kind.rank)
        # What names an outsider only if it is given goes nowhere without.
        carries = (reaches_out or not shape.has_endpoint) and _carry(values, words)
        return CallOrigins(
            _WRITE if is_write else _READ,
            asked,
            # A name or a handle that nobody said reaches nobody unknown to the tool: a person can judge it.
            _EXTERNAL if reaches_out and (is_made_up or worst[TARGET] is not K.UNKNOWN) else _INTERNAL,
            worst[TARGET],
            worst[AMOUNT],
            worst[SECRET],
            tuple(told),
            carries,
        )

    def _settled(self, values: list[Value]) -> list[Value]:
        """Return the values with a role for each of which no word tells what it is: by what it looks like.

        A short name that was never read can be a title or a person. If nothing else is a target, it counts as one.
        """
        if all(each.is_sure for each in values):
            return values
        settled = [each if each.is_sure else self._by_value(each) for each in values]
        if any(_role_of(each, is_write=True) == TARGET for each in settled):
            return settled
        first = next(
            (at for at, each in enumerate(values) if not each.is_sure and _is_short(each.value)), None
        )
        if first is not None:
            settled[first] = values[first]
        return settled

    def _by_value(self, value: Value) -> Value:
        if value.kind in _NEUTRAL or value.role is None or value.role is _ROLE_CONTROL:
            return value
        key = key_of(value.value)
        shape = shape_of(key)
        if measure_of(value.value) is not None and is_moment(value.value):
            return replace(value, role=_ROLE_PAYLOAD, kind="date")
        known = key in self.memory.values or self.words.says(key) is not None
        if (
            shape in ENDPOINTS
            or (known and _is_short(value.value))
            or (shape in (ID, PATH) and _is_short(value.value))
        ):
            kind = "recipient" if shape in (MAIL, ACCOUNT) else "url" if shape == URL else value.kind
            return replace(value, role=_ROLE_TARGET, kind=kind)
        return replace(value, role=_ROLE_PAYLOAD, kind="text")

    def _judge_for(self, shape: Shape, *, is_external: bool, is_asked: bool = True) -> Judge:
        # Looking is never asked for in so many words.
        is_asked = is_asked or not shape.is_write
        return Judge(
            self.memory,
            self._is_listed,
            is_external=is_external,
            is_risky=shape.is_risky,
            is_asked=is_asked,
            is_read=not shape.is_write,
            makes=shape.makes,
            names_object=not shape.craft.objects.isdisjoint(self.words.wish.words),
        )

    def _found(
        self,
        judge: Judge,
        part: Any,
        value: Value,
        role: str,
        provenance: Mapping[str, Provenance] | None,
        *,
        is_endpoint: bool,
    ) -> Found:
        if role == AMOUNT:
            found = judge.amount(part)
        else:
            found = judge.origin(
                part, is_endpoint=is_endpoint, is_traced=lambda: _is_traced(provenance, value.pointer)
            )
        if self.memory.strikes >= MAX_STRIKES and found.kind in _DOUBTS:
            return Found(K.REFUSED)
        return found

    def _asked(self, shape: Shape, *, is_named: bool = False, deed: str = "") -> Asked:
        found = self._asks.get((shape.name, is_named, deed))
        if found is None:
            words = self.words
            craft = shape.craft.of_deed(deed) if deed else shape.craft
            found = is_asked(craft, words.wish, hands_over=words.hands_over, is_named=is_named)
            self._asks[shape.name, is_named, deed] = found
        return found

    def decided(self, name: str, params: dict[str, Any], origins: CallOrigins, effect: Effect) -> None:
        """Remember what was decided: what was refused once is not asked about again."""
        if effect is not Effect.DENY and effect is not Effect.REQUIRE_APPROVAL:
            return
        with self.lock:
            bad = {
                each.argument
                for each in origins.arguments
                if each.kind in _DOUBTS or each.kind is K.LOOKALIKE
            }
            if not bad:
                return
            values = [each for each in self.shapes[name].values(params) if each.pointer in bad]
            keys = tuple(key_of(part) for value in values for part in parts_of(value.value))
            event = Refused(keys, effect is Effect.DENY)
            if self._note is not None:
                self._note(event)
            self._count(event)

    def _count(self, event: Refused) -> None:
        self.memory.strikes += 1
        for key in event.keys:
            self._refused(key, is_denied=event.is_denied)

    def _refused(self, key: str, *, is_denied: bool) -> None:
        memory = self.memory
        if not key or self.words.says(key) is not None:
            return
        memory.pending[key] = memory.pending.get(key, 0) + 1
        if is_denied or memory.pending[key] > MAX_ASKS:
            memory.refused.add(key)

    def observe(self, name: str, params: dict[str, Any], result: Any, error: str = "") -> None:
        """Take in what a call gave back: its records, and who and what they belong to."""
        seen = Seen(name, params, result, error)
        parsed = parse_result(result) if result is not None else None
        with self.lock:
            if self._note is not None:
                self._note(seen)
            self._take(seen, parsed)

    def replay(self, events: Iterable[Event]) -> None:
        """Take in again what was noted of this session by an earlier process."""
        with self.lock:
            for event in events:
                if isinstance(event, Refused):
                    self._count(event)
                else:
                    self._take(event, parse_result(event.result) if event.result is not None else None)

    def _take(self, seen: Seen, parsed: Parsed | None) -> None:
        name = seen.tool
        shape = self.shapes.get(name)
        memory = self.memory
        call = memory.begin(name)
        call.is_loose = parsed is not None and parsed.is_loose
        call.is_document = parsed is not None and parsed.is_document
        # What an unknown tool did may have been anything.
        call.is_write = shape is None or shape.is_write
        if shape is not None and shape.is_unknown and parsed is not None and is_rich(parsed.value):
            self._gave_records.add(name)
            call.is_write = False
        values = shape.values(seen.params) if shape is not None else []
        if shape is not None:
            self._lead(call, values, self._judge_for(shape, is_external=False))
        if shape is None or shape.is_write:
            memory.wrote([value.value for value in values])
            self._resolve(values)
        if parsed is not None:
            memory.take(call, parsed.value)
        if seen.error:
            failed = memory.begin(name)
            # Nobody refers to what a call that failed says.
            failed.is_write = True
            memory.take(failed, seen.error)

    def _resolve(self, values: list[Value]) -> None:
        """Take back what an approval that was given had counted against the call."""
        keys = {key_of(part) for value in values for part in parts_of(value.value)}
        pending = self.memory.pending
        if not keys.isdisjoint(pending):
            for key in keys:
                pending.pop(key, None)
            self.memory.strikes = max(0, self.memory.strikes - 1)

    def _lead(self, call: Any, values: list[Value], judge: Judge) -> None:
        """Tell what led a read: nothing, the user's words, or something that was read before."""
        words: frozenset[str] = frozenset()
        guided, selecting, own = True, False, False
        for value in values:
            key = key_of(value.value)
            if not key or value.kind in _NEUTRAL:
                continue
            telling = [each for each in tokens_of(key) if is_telling(each)]
            if telling and all(map(self.words.has_stem, telling)):
                words |= self.words.content.intersection(telling) | ({key} if self.words.says(key) else set())
                own = (
                    own
                    or key in self.memory.me
                    or any(set(telling) <= set(tokens_of(me)) for me in self.memory.me)
                )
                selecting = True
                continue
            if value.role is _ROLE_CONTROL:
                continue
            selecting = True
            found = judge.origin(value.value)
            guided = guided and found.kind in GOOD
            call.is_near = call.is_near or found.kind is K.AMBIGUOUS
            own = own or found.kind is K.SUBJECT
            if found.kind in (K.USER, K.SELECTED, K.DELEGATED):
                words |= found.words
            elif found.kind is K.DERIVED:
                # `bob.arnesen` before anything was read: it can only be the Bob of whom the user speaks.
                words |= self.words.names.intersection(telling)
        call.is_guided, call.is_plain, call.is_own = guided and selecting, not selecting, own and guided
        call.words = words if guided else frozenset()


def _names_outside(values: list[Value]) -> bool:
    """Tell whether one of the targets is an endpoint of others."""
    # Loops here and below: a generator costs more than the look.
    for each in values:  # noqa: SIM110 - see above
        if each.kind in EXTERNAL_KINDS and each.role is _ROLE_TARGET:
            return True
    return False


def _carry(values: list[Value], words: Words) -> bool:
    for each in values:  # noqa: SIM110 - see above
        if _carries(each, words):
            return True
    return False


def _is_short(value: Any) -> bool:
    return type(value) is int or (
        type(value) is str and 0 < len(value) <= _NAME and value.count(" ") < _NAME_WORDS
    )


def _role_of(value: Value, *, is_write: bool) -> str | None:
    """Return as what an argument is judged, or None if it may come from anywhere."""
    kind = type(value.value)
    if value.value is None or kind is bool:
        return None
    if value.kind == "secret":
        return SECRET if is_write else None
    if value.kind == "amount":
        return AMOUNT if kind is not str or any(map(str.isdigit, value.value)) else None
    if value.kind == "command":
        return TARGET
    if value.role is _ROLE_TARGET:
        # A date says when, whatever its argument is called.
        return None if value.kind in ("date", "text") or is_moment(value.value) else TARGET
    if value.role is None and is_write:
        return TARGET if value.pointer == "" or shape_of(key_of(value.value)) in ENDPOINTS else None
    if value.role is _ROLE_PAYLOAD and is_write and value.kind != "text" and not is_text(value.value):
        return TARGET if shape_of(key_of(value.value)) in (MAIL, ACCOUNT) else None
    return None


def _is_setting(value: Value, words: Words) -> bool:
    """Tell whether an argument is a switch that the user's words name, by its name or by one of few values."""
    if type(value.value) is bool:
        said = value.pointer.rpartition("/")[2]
    elif value.role is _ROLE_CONTROL and type(value.value) is str:
        said = value.value
    else:
        return False
    telling = [each for each in tokens_of(key_of(said.replace("_", " "))) if is_telling(each)]
    return any(singular(each) in words.wish.words for each in telling)


def _carries(value: Value, words: Words) -> bool:
    """Tell whether an argument can take along what was read: a text that is not made of the user's words."""
    if type(value.value) is not str or value.role in (_ROLE_TARGET, _ROLE_CONTROL) or value.kind in _NEUTRAL:
        return False
    return not is_made_of(value.value, words.every)


def _parts(value: Value, role: str) -> list[Any]:
    """Return what must have an origin by itself: each address of a list, each endpoint of a command."""
    if role == TARGET and value.kind == "command" and type(value.value) is str:
        return [atom for atom in atoms_of(value.value) if shape_of(atom) in (MAIL, URL, ACCOUNT)]
    return parts_of(value.value)


def _is_traced(provenance: Mapping[str, Provenance] | None, pointer: str) -> bool:
    known = provenance.get(pointer) if provenance is not None else None
    return known is not None and known.how in _LED_BACK and known.share > 0


def _explained(pointer: str, role: str, found: Found) -> ArgumentOrigin:
    leaf, record = found.leaf, found.record
    source = leaf.record.call.tool if leaf is not None else record.call.tool if record is not None else ""
    place = leaf.column if leaf is not None else record.column if record is not None else ""
    words = tuple(sorted(found.words)) if found.words else ()
    return ArgumentOrigin(
        pointer, role, found.kind, source, place, words, note_on(found.kind, source, place, words)
    )
