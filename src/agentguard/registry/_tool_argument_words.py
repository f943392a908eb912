"""What the words of an argument's name say of it, given what the tool does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.core import Access, Argument, Role
from agentguard.registry import _tool_nouns as nouns
from agentguard.registry import _tool_verbs as verbs
from agentguard.registry._tool_action import name_words
from agentguard.registry._tool_words import is_plural, parted, words

if TYPE_CHECKING:
    from agentguard.registry._tool import Tool
    from agentguard.registry._tool_action import Reading

_T, _P, _C = Role.TARGET, Role.PAYLOAD, Role.CONTROL
_FIRST = frozenset(nouns.NOUNS) | nouns.WEAK
_WHOLE = _FIRST | nouns.PLACES | nouns.TITLES | nouns.TRAVEL | nouns.PROGRAM
_RUNNING = frozenset(("run", "exec", "execute", "eval")) | verbs.CODE
_WEAK = {
    "key": Argument(_T, "id"),
    "address": Argument(_T, "recipient"),
    "token": Argument(_P, "secret"),
    "at": Argument(_P, "date"),
}
_MONEY = frozenset(word for word, each in nouns.NOUNS.items() if each.kind == "amount")


def role_of_name(name: str, tool: Tool, reading: Reading, types: set[str]) -> tuple[Argument, str] | None:
    """Return what a name says, and the word that says it; the last one that says anything counts."""
    hit = _of_words(tuple(part for word in words(name) for part in _part(word)), tool, reading, types)
    if hit is not None and hit[0] == Argument(_P, "amount") and types == {"integer"}:
        noun = nouns.NOUNS.get(hit[1])
        if noun is not None and noun.role is _T and not is_plural(name):
            # `booking: 12` is which, `passengers: 2` is how many.
            return Argument(_T, "id"), hit[1]
    return hit


def _part(word: str) -> tuple[str, ...]:
    return (word,) if word in _WHOLE else parted(word, _FIRST, _FIRST)


def _of_words(
    parts: tuple[str, ...], tool: Tool, reading: Reading, types: set[str]
) -> tuple[Argument, str] | None:
    """Return what the words of a name say, and the word that says it; the last one that says anything counts."""
    if not parts:
        return None
    for at in range(len(parts) - 1, 0, -1):
        pair = f"{parts[at - 1]}_{parts[at]}"
        if pair in nouns.PAIRS:
            return nouns.PAIRS[pair], f"{parts[at - 1]} {parts[at]}"
        if parts[at] in nouns.NOUNS and parts[at] not in nouns.WEAK:
            break
    if len(parts) > 1 and parts[0] in nouns.BOUNDS:
        counts = parts[0] not in ("max", "min", "maximum", "minimum", "top", "per") or parts[-1] in _MONEY
        return (Argument(_P, "amount") if counts and reading.access is Access.WRITE else Argument(_C)), parts[
            0
        ]
    if len(parts) > 1 and parts[0] in nouns.FLAGS:
        return Argument(_C), parts[0]
    if parts[-1] == "by" or (
        parts[0] in ("sort", "order") and len(parts) > 1 and parts[1] in ("by", "direction")
    ):
        return Argument(_C), parts[-1]
    for at in range(len(parts) - 1, -1, -1):
        hit = _of_word(parts[at], parts[at - 1] if at else "", tool, reading, types)
        if hit is not None:
            return hit, parts[at]
    return None


def _of_word(word: str, before: str, tool: Tool, reading: Reading, types: set[str]) -> Argument | None:
    """Return what one word of a name says, given the word before it and what the tool does."""
    argument = _of_weak(word, before, tool, reading) or _of_place(word, tool, reading)
    if argument is None:
        argument = nouns.NOUNS.get(word)
    if argument is None or not types or not types <= {"number", "integer"}:
        return argument
    if argument.kind in ("name", "recipient", "text"):
        # `passengers: 2` is how many, not who.
        return Argument(_P, "amount")
    return argument


def _of_weak(word: str, before: str, tool: Tool, reading: Reading) -> Argument | None:
    """Return what a word says that says little alone."""
    named = {*name_words(tool.name)}
    runs = bool({reading.verb, *named} & _RUNNING)
    if word == "name":
        return _a_name(before, makes=reading.verb in verbs.MAKING)
    if word == "number":
        return Argument(_T, nouns.NUMBERED.get(before, "id"))
    if (
        word == "reference"
        and not before
        and {reading.verb, *named} & (verbs.MONEY | {"pay", "transfer", "wire"})
    ):
        # What a payment is for.
        return Argument(_P, "text")
    if word == "code":
        return _a_code(before, reading, runs=runs)
    if word == "address" and before in ("ip", "mac", "server"):
        return Argument(_T, "host")
    if word in nouns.TITLES:
        owner = nouns.NOUNS.get(before)
        named_thing = owner is not None and owner.role is _T and reading.verb not in verbs.MAKING
        return Argument(_T, "name") if named_thing else Argument(_P, "text" if word == "subject" else "name")
    if word in nouns.PROGRAM:
        return None if runs else Argument(_P, "text")
    if word in ("query", "statement", "expression") and {*named, before} & {"sql", "database", "db", "table"}:
        return Argument(_T, "command")
    return _WEAK.get(word)


def _of_place(word: str, tool: Tool, reading: Reading) -> Argument | None:
    if word in nouns.TRAVEL:
        return _a_way(word, name_words(tool.name), reading)
    if word in nouns.PLACES:
        stored = reading.verb in verbs.MAKING or reading.verb in ("update", "edit", "reschedule")
        return Argument(_P, "text") if stored else Argument(_T, "name")
    return None


def _a_name(before: str, *, makes: bool) -> Argument:
    owner = nouns.NOUNS.get(before)
    if owner is not None and owner.kind in ("path", "recipient", "account", "host"):
        return Argument(_T, owner.kind)
    if before in ("first", "last", "full", "given", "family", "display", "middle"):
        return Argument(_P, "name")
    if not makes:
        return Argument(_T, "name")
    # What is made gets a name; what is made *in* something names that.
    return Argument(_P, "name") if not before else Argument(_T, "name")


def _a_code(before: str, reading: Reading, *, runs: bool) -> Argument:
    if before in ("zip", "postal", "country", "currency", "language", "area", "dial", "status", "iata"):
        return (
            Argument(_C)
            if reading.access is Access.READ or before in ("currency", "language")
            else Argument(_P, "text")
        )
    if before in ("promo", "coupon", "discount", "voucher", "gift", "reason", "error", "referral"):
        return Argument(_P, "text")
    if before in ("security", "verification", "confirm", "auth", "pin", "access", "otp", "mfa"):
        return Argument(_P, "secret")
    if runs:
        return Argument(_T, "command")
    if not before or nouns.NOUNS.get(before, Argument(_T)).role is _P:
        return Argument(_P, "text")
    return Argument(_T, "id")


def _a_way(word: str, named: tuple[str, ...], reading: Reading) -> Argument:
    if {"file", "folder", "directory", "path", "object", "copy", "move", "rename", "download"} & {*named}:
        return Argument(_T, "path")
    if {reading.verb, *named} & (verbs.MONEY | {"pay", "transfer", "wire"}):
        return Argument(_T, "account")
    if {"mail", "email", "message", "sm", "sms", "text", "invite", "call"} & {reading.verb, *named}:
        return Argument(_T, "recipient")
    if word == "to" and reading.verb in verbs.SENDING - {"book", "reserve", "order", "buy", "purchase"}:
        return Argument(_T, "recipient")
    return Argument(_T, "name")
