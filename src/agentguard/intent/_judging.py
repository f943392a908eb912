"""What one call is taken for, when the origins of its values are known: asked for or not, and what goes along.

The user's words alone say little where a verb is missing. Then it counts what a call is done to, and with what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.core import Asked, Risk, Role
from agentguard.intent._forms import (
    ENDPOINTS,
    MAIL,
    URL,
    atoms_of,
    is_made_of,
    is_moment,
    key_of,
    shape_of,
    tokens_of,
)
from agentguard.intent._kind import K
from agentguard.intent._origin import Found
from agentguard.intent._verbs import base_of, is_asked
from agentguard.intent._vocabulary import KINDS, MAKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentguard.core import OriginKind
    from agentguard.intent._arguments import Shape, Value
    from agentguard.intent._memory import Memory
    from agentguard.intent._origin import Judge
    from agentguard.intent._words import Words

TARGET = "target"
# What is made by these is new, and changes nothing that is there.
_KEEPING = MAKING | {"add"}
# So many addresses of one text are looked at.
_LINKS = 8
# What is longer or more is no answer to a change alone.
_LONG_ANSWER, _SEVERAL = 120, 4
# A longer value is no name of a setting.
_SETTING = 40
_READ_SOMEWHERE = frozenset((K.SEEN, K.CITED))


def deed_of(shape: Shape, values: list[Value]) -> str:
    """Return the verb that a switch of the call says, where the tool's own name leaves open what it does."""
    for each in values:
        if each.role is Role.CONTROL and type(each.value) is str and each.pointer in shape.deeds:
            verb = base_of(each.value.casefold().replace("-", "_").partition("_")[0])
            if verb in KINDS:
                return verb
    return ""


def is_asked_there(shape: Shape, memory: Memory) -> bool:
    """Tell whether a text asks for what an action does that the user leaves the deeds to."""
    return any(is_asked(shape.craft, wish, hands_over=False) is Asked.THIS for wish in memory.wishes())


def asked_by_targets(
    shape: Shape,
    words: Words,
    again: Callable[[], Asked],
    *,
    worst: OriginKind,
    is_named: bool,
    reaches_out: bool,
    is_external: bool,
    sets_asked: bool = False,
) -> Asked:
    """Return whether the user asks for a call that his words alone do not ask for, given the `worst` of its targets.

    `is_named`: it has a target, or a switch that the words name; `reaches_out`: an outsider is among the targets;
    `is_external`: the tool may reach one; `sets_asked`: a switch says what the user asks for. `again` tells what the words ask for if what it is done to is named.
    """
    asked = Asked.OTHER
    # A new thing of the user's own, that nobody else gets: it has no target by which it could be named.
    is_named = is_named or (not reaches_out and not is_external and shape.craft.verb in _KEEPING)
    if is_named and worst.rank <= K.SELECTED.rank:
        asked = Asked.THIS if sets_asked else again()
        if not words.wish.verbs and shape.action.risk is not Risk.CRITICAL and not words.is_open:
            # The one request of the user's has no verb that is known, and this is done to what it names.
            return Asked.THIS
    if asked is Asked.OTHER and words.is_open and reaches_out and worst is K.DELEGATED:
        return Asked.THIS
    return asked


def is_setting_asked(values: list[Value], words: Words) -> bool:
    """Tell whether a switch of the call is set to just what the user's words ask for: `APPROVE`, `closed`."""
    for each in values:
        if each.role is Role.CONTROL and type(each.value) is str and len(each.value) <= _SETTING:
            said = [base_of(token) for token in tokens_of(key_of(each.value.replace("_", " ")))]
            if (
                said
                and said[0] in words.wish.verbs
                and all(one in words.wish.words | words.wish.verbs for one in said)
            ):
                return True
    return False


def is_spelt_out(values: list[Value], words: Words, worst: OriginKind) -> bool:
    """Tell whether the user chose all that a tool is called with of which nothing else is known."""
    if worst is not K.NONE:
        return worst.rank <= K.SELECTED.rank
    return all(
        type(each.value) is str and (is_moment(each.value) or is_made_of(each.value, words.every))
        for each in values
    )


def taken_along(values: list[Value], judge: Judge) -> Iterable[tuple[str, Found]]:
    """Yield the addresses in texts that only somebody else wrote, for a call that the user did not ask for.

    Who asks for an answer with a link gets one. Where nobody evidently asked for a text, such an address counts as
    one that stands in a text that the user spoke of: a person is asked.
    """
    for each in values:
        # What has no space in it is judged as a target by itself.
        if each.role is not Role.PAYLOAD or type(each.value) is not str or " " not in each.value:
            continue
        for atom in atoms_of(each.value)[:_LINKS]:
            shape = shape_of(atom)
            if shape in (MAIL, URL):
                found = judge.origin(atom, is_endpoint=True)
                # Many a form asks for an address that stands in a file of the user's.
                limit = K.CITED if shape == URL else K.UNKNOWN
                if found.kind.rank >= limit.rank:
                    yield each.pointer, Found(K.CITED, found.leaf, found.words, found.record)


def with_parts(judged: list[tuple[Value, str, Any, Found]]) -> Iterable[tuple[Value, str, Found]]:
    """Yield values with their roles and origins; what stands in the very thing that the user named is a part of it.

    A field of the page that the user named, a line of his file: beside the thing itself it needs no word of its own.
    """
    named = {key_of(part) for _, role, part, found in judged if role == TARGET and found.kind is K.USER}
    picked = {
        found.leaf.record.number: found
        for _, role, _, found in judged
        if role == TARGET
        and found.kind is K.SELECTED
        and found.leaf is not None
        and not found.leaf.record.call.is_loose
    }
    for value, role, part, found in judged:
        if picked and role == TARGET and found.kind in _READ_SOMEWHERE and found.leaf is not None:
            whole = picked.get(found.leaf.record.number)
            if whole is not None and shape_of(key_of(part)) not in ENDPOINTS:
                yield value, role, Found(K.SELECTED, found.leaf, whole.words)
                continue
        # What stands in a text to which no word of the user's leads is no part of anything.
        if named and role == TARGET and found.kind in _READ_SOMEWHERE and (found.leaf or found.words):
            record = found.leaf.record if found.leaf is not None else found.record
            is_inside = record is not None and not named.isdisjoint(record.call.words)
            if record is not None and is_inside and shape_of(key_of(part)) not in ENDPOINTS:
                yield value, role, Found(K.SELECTED, found.leaf, record.call.words, found.record)
                continue
        yield value, role, found


def is_rich(value: Any) -> bool:
    """Tell whether a result is what reads give: a long text, or several values; a change says hardly more than done."""
    if type(value) is str:
        return len(value) > _LONG_ANSWER
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    return len(inner) >= _SEVERAL or any(type(each) in (dict, list) and is_rich(each) for each in inner)
