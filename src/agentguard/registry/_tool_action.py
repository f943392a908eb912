"""Whether a tool reads or writes, how much harm it can do, and where information flows: from its words."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Access, Flow, Integrity, Label, Risk, Role, Sensitivity, Sink
from agentguard.registry import _tool_verbs as verbs
from agentguard.registry._tool_nouns import NOUNS, SQL
from agentguard.registry._tool_words import is_plural, listed, parted, sentences, singular, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.core import Argument
    from agentguard.registry._tool import Tool

_VERBS = frozenset(verbs.READ | set(verbs.WRITE))
_NOUNS = frozenset(NOUNS)
_KNOWN = _VERBS | _NOUNS
_JOINTS = frozenset(("and", "or", "then", "also"))
_PHRASES = frozenset(
    (("check", "in"), ("check", "out"), ("sign", "up"), ("sign", "in"), ("log", "in"), ("log", "out"),
     ("opt", "in"), ("opt", "out"), ("get", "rid"), ("find", "replace"))
)  # fmt: skip
_BEHIND = frozenset(("search", "get", "find", "fetch", "lookup"))
# What is given back, and not sent back: `Returns the list of orders`, not `Returns an order`.
_GIVEN_BACK = listed(
    """
    list all detail details information info content contents result status current value data text id
    number name record whether every first latest available balance total dictionary json object array
    metadata history profile summary
    """
)
# At the head of a description: to review is to look, or to write a review.
_DOUBTFUL = frozenset(("review", "quote", "audit"))
_READ_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
# Of less nothing can be told.
_A_FEW = 3
# What the name of a thing begins with, and what stands behind a plural.
_OPENINGS = listed(
    """
    a an the all every current latest
    """
)
_BEHIND_A_NOUN = listed(
    """
    of with for in by from on at and or that which
    """
)
# Arguments that say what to look for, and how much of it.
_LOOKING = listed("search query filter find page limit offset cursor sort")
# What stands before the verb of a sentence and says nothing.
_FILLERS = listed(
    """
    use this tool to function action will can the a an and then also it that lets you
    """
)
_NOT_VERBS_BEHIND = listed(
    """
    a an the of for by in on at from with its your new
    """
)


class Reading(msgspec.Struct, frozen=True):
    """Read or write, the verb that says so (empty where none does), and what it rests on."""

    access: Access
    verb: str
    because: str
    unsure: bool = False


@functools.lru_cache(maxsize=1024)
def name_words(name: str) -> tuple[str, ...]:
    """Return the words of a tool's name, with `sendmail` taken apart."""
    return tuple(part for word in words(name) for part in _part(word))


def _part(word: str) -> tuple[str, ...]:
    return (word,) if word in _KNOWN else parted(word, _VERBS, _NOUNS)


def read_access(tool: Tool) -> Reading:
    """Return whether the tool reads or writes. What nothing says counts as a write."""
    reading = _by_name(tool)
    if reading.access is Access.WRITE and _gives_a_thing(tool):
        return Reading(
            Access.READ, "", "it has the name of a thing, and is told no more than what to look for"
        )
    if reading.access is Access.WRITE and not reading.unsure:
        return reading
    if tool.changes or tool.destructive:
        return Reading(Access.WRITE, reading.verb, "it is declared not to be read-only")
    said = _by_description(tool.description, sure=not reading.unsure)
    if said is not None and said.access is Access.WRITE:
        return said
    if reading.unsure and said is not None and tool.vouched:
        return said
    if reading.unsure and said is None and tool.vouched and _names_a_thing(tool.description):
        return Reading(Access.READ, "", "its description names what it gives")
    return reading


def _gives_a_thing(tool: Tool) -> bool:
    """Return whether a tool is called by what it gives: `mailbox`, `outage_log`, `staff_directory`.

    Its name begins with no verb and has none that is not a noun as often, no sentence says what it would change, and no
    argument says what would be changed.
    """
    name = name_words(tool.name)
    if not (tool.vouched and name) or tool.method or tool.changes or tool.destructive:
        return False
    if name[0] in verbs.WRITE or any(map(_is_done, name)) or min(map(len, name)) < _A_FEW:
        return False
    if not _is_about_a_thing(tool.description, name):
        return False
    properties = tool.schema.get("properties", {}) if isinstance(tool.schema, dict) else {}
    return all(not _LOOKING.isdisjoint(name_words(each)) for each in properties)


def _is_about_a_thing(description: str, name: tuple[str, ...]) -> bool:
    """Return whether a description begins with a noun: as that of a thing does, or with a word of the thing's name."""
    opening = [each.lower().strip(",;:.") for each in description.split(maxsplit=2)[:2]]
    if not opening or _is_done(opening[0]):
        return False
    behind = opening[1] if len(opening) > 1 else ""
    is_of_name = (
        any(each.startswith(singular(opening[0])) for each in name) and behind not in _NOT_VERBS_BEHIND
    )
    return behind == "of" or is_of_name or _names_a_thing(description)


def _by_name(tool: Tool) -> Reading:
    name = name_words(tool.name)
    found = _verb_of(name)
    if found is not None and found[1] and name[0] == "list" and is_plural(tool.name):
        # `list_workflow_runs`: runs are things there.
        found = ("list", False)
    if tool.method:
        return _by_method(tool.method, found)
    if found is None:
        return Reading(Access.WRITE, "", "no word says that it only reads", unsure=True)
    verb, writes = found
    if len(name) == 1 and verb in verbs.AMBIGUOUS and tool.name.lower() == f"{verb}s":
        # `orders`, `logs`: things, and nothing that is done; the description may say what.
        return Reading(Access.WRITE, "", "its name is a plural, and no verb", unsure=True)
    return Reading(Access.WRITE if writes else Access.READ, verb, f"`{verb}` in its name")


def _by_method(method: str, found: tuple[str, bool] | None) -> Reading:
    verb, writes = found or ("", False)
    reads = method in _READ_METHODS
    if reads and not writes:
        return Reading(Access.READ, verb, f"the method {method}")
    if reads:
        return Reading(Access.WRITE, verb, f"`{verb}` in its name, though the method is {method}")
    if method == "POST" and found is not None and not writes:
        return Reading(Access.READ, verb, f"`{verb}` in its name")
    return Reading(Access.WRITE, verb or method.lower(), f"the method {method}")


def _verb_of(name: tuple[str, ...]) -> tuple[str, bool] | None:
    """Return the verb of a name and whether it changes something; None where no word is a verb."""
    if name[:2] in _PHRASES:
        return " ".join(name[:2]), True
    joined = _joined(name)
    if joined is not None or not name:
        return (joined, True) if joined is not None else None
    head = name[0]
    if len(name) > 1 and name[-1] in _BEHIND and name[-1] != head:
        # `email_search`; but `order_list` may order a list.
        return _strict(name[:-1]) or (name[-1], False)
    plain_writes = [word for word in name if word in verbs.WRITE and word not in verbs.AMBIGUOUS]
    plain_reads = [word for word in name if word in verbs.READ and word not in verbs.AMBIGUOUS]
    if head in verbs.READ and (head not in verbs.WRITE or len(name) > 1):
        # `get-sent-mail` reads; `all-users-delete` has its verb behind.
        if head in verbs.AMBIGUOUS and plain_writes:
            return plain_writes[0], True
        return head, False
    if head in verbs.WRITE and not (head in verbs.AMBIGUOUS and (plain_writes or plain_reads)):
        return head, True
    if plain_writes:
        return plain_writes[0], True
    return (plain_reads[-1], False) if plain_reads else _verb_behind(name)


def _strict(name: tuple[str, ...]) -> tuple[str, bool] | None:
    """Return the first word that is a changing verb and no noun."""
    return next(((word, True) for word in name if word in verbs.WRITE and word not in verbs.AMBIGUOUS), None)


def _verb_behind(name: tuple[str, ...]) -> tuple[str, bool] | None:
    """Return the verb of a name whose words are nouns as often: the last one, else any that changes something."""
    if name[-1] in verbs.WRITE or name[-1] in verbs.READ:
        return name[-1], name[-1] in verbs.WRITE
    return next(((word, True) for word in name if word in verbs.WRITE), None)


def _joined(name: tuple[str, ...]) -> str | None:
    """Return the changing verb behind an `and` or an `or`: `get-or-create` writes."""
    for joint, word in itertools.pairwise(name):
        if joint in _JOINTS and word in verbs.WRITE:
            return word
    return None


def _by_description(text: str, *, sure: bool) -> Reading | None:
    """Return what the leading verbs of the description say; one that changes something goes before all.

    Where the name is `sure`, a word that is as often a noun (`Record of an employee`) says nothing against it.
    """
    found: Reading | None = None
    for index, sentence in enumerate(sentences(text)):
        for verb in _leading_verbs(sentence, first=index == 0):
            if sure and verb in verbs.AMBIGUOUS:
                continue
            if verb in verbs.WRITE and verb not in verbs.READ:
                return Reading(Access.WRITE, verb, f"`{verb}` in its description")
            if found is None and verb in verbs.READ and index == 0 and verb not in _DOUBTFUL:
                found = Reading(Access.READ, verb, f"`{verb}` in its description")
    return found


def _leading_verbs(sentence: tuple[str, ...], *, first: bool) -> list[str]:
    found = []
    body = [word for word in sentence[:8] if word not in _FILLERS] if first else list(sentence[:1])
    if body[:1] == ["return"]:
        found.append("get" if _GIVEN_BACK & set(sentence[1:6]) else "return")
    elif body and tuple(sentence[:2]) not in _PHRASES:
        found.append(_stem(body[0]))
    for joint, word, behind in zip(sentence, sentence[1:], (*sentence[2:], ""), strict=False):
        verb = _stem(word)
        if (
            joint in _JOINTS
            and verb in verbs.WRITE
            and (verb not in verbs.AMBIGUOUS or behind in _NOT_VERBS_BEHIND | {"it", "them"})
        ):
            found.append(verb)
    return found


def _names_a_thing(text: str) -> bool:
    """Return whether a description is the name of something, and no sentence: `Invoices, newest first`."""
    said = sentences(text)
    first = said[0] if said else ()
    if len(first) < _A_FEW or any(_is_done(word) for sentence in said for word in sentence):
        return False
    begins = text.split(maxsplit=2)
    if begins[0].lower() in _OPENINGS:
        return True
    is_plural = begins[0].lower().rstrip(",.;:") != first[0]
    return is_plural and (begins[0][-1] in ",.;:" or len(begins) == 1 or begins[1].lower() in _BEHIND_A_NOUN)


def _is_done(word: str) -> bool:
    """Return whether a word is a verb that changes something, in any form, and no noun."""
    forms = (word, word.removesuffix("d"), word.removesuffix("ed"), word.removesuffix("ing"))
    return any(form in verbs.WRITE and form not in verbs.AMBIGUOUS for form in forms)


def _stem(word: str) -> str:
    if word in _VERBS:
        return word
    for ending, instead in (("ing", ""), ("ing", "e"), ("es", ""), ("e", "")):
        if word.endswith(ending) and word.removesuffix(ending) + instead in _VERBS:
            return word.removesuffix(ending) + instead
    return singular(word)


def read_risk(
    tool: Tool, reading: Reading, arguments: Mapping[str, Argument], label: Label
) -> tuple[Risk, str]:
    """Return how much harm the tool can do, and why."""
    named = set(name_words(tool.name))
    if reading.access is Access.READ:
        return _risk_of_reading(label)
    kinds = {each.kind for each in arguments.values() if each.role is Role.TARGET}
    if "command" in kinds:
        return Risk.CRITICAL, "it runs what an argument says"
    risk, because = verbs.WRITE.get(reading.verb, Risk.HIGH), f"`{reading.verb}`"
    if name_words(tool.name)[:2] in _PHRASES:
        risk = Risk.MEDIUM
    elif reading.unsure or reading.verb not in verbs.WRITE:
        risk, because = Risk.HIGH, "nothing says what it does"
    if risk is Risk.CRITICAL and (
        (reading.verb in verbs.AMBIGUOUS and "account" not in kinds) or reading.verb in verbs.STARTING
    ):
        # What is run is a thing that is there, and nothing that an argument says.
        risk = Risk.HIGH
    for theme, why, atleast in (
        (verbs.POWER, "gives somebody power", Risk.CRITICAL),
        (
            verbs.MONEY & named if "amount" in _all_kinds(arguments) else frozenset(),
            "moves money",
            Risk.CRITICAL,
        ),
    ):
        # To pin a message gives nobody a PIN.
        hit = sorted((named - ({reading.verb} & verbs.AMBIGUOUS_POWER)) & theme)
        if hit and atleast.weight > risk.weight:
            risk, because = atleast, f"`{hit[0]}` {why}"
    grave = sorted(named & verbs.GRAVE)
    if grave and reading.verb in verbs.DESTRUCTIVE and risk.weight < Risk.CRITICAL.weight:
        risk, because = Risk.CRITICAL, f"`{reading.verb}` of `{grave[0]}`"
    if tool.destructive and risk.weight < Risk.HIGH.weight:
        risk, because = Risk.HIGH, "it is declared destructive"
    if tool.method == "DELETE" and risk.weight < Risk.HIGH.weight:
        risk, because = Risk.HIGH, "the method DELETE"
    return risk, because


def _all_kinds(arguments: Mapping[str, Argument]) -> set[str]:
    return {each.kind for each in arguments.values()}


def _risk_of_reading(label: Label) -> tuple[Risk, str]:
    if label.confidentiality is Sensitivity.CRITICAL:
        return Risk.HIGH, "it reads secrets"
    if label.confidentiality is Sensitivity.RESTRICTED:
        return Risk.MEDIUM, "it reads what is private"
    return Risk.LOW, "it only reads"


def read_label(tool: Tool, reading: Reading) -> tuple[Label, str]:
    """Return the label of the tool's results, and why. They are always untrusted: anyone may have written them."""
    if reading.access is Access.WRITE:
        return Label(Integrity.UNTRUSTED), "results are untrusted"
    named = set(name_words(tool.name))
    said = set(words(tool.description.partition("\n")[0]))
    found = Sensitivity.INTERNAL
    categories: list[str] = []
    because = []
    for data, level, category in (
        (verbs.SECRET_DATA, Sensitivity.CRITICAL, "credential"),
        (verbs.HEALTH_DATA, Sensitivity.RESTRICTED, "health"),
        (verbs.MONEY_DATA, Sensitivity.RESTRICTED, "financial"),
        (verbs.PERSONAL_DATA, Sensitivity.RESTRICTED, "personal"),
    ):
        hit = sorted(data & named) or sorted(data & said)
        if hit:
            found = max(found, level, key=lambda each: each.weight)
            categories.append(category)
            because.append(f"`{hit[0]}`")
    if not because and verbs.PUBLIC_DATA & (named | said):
        found, because = Sensitivity.PUBLIC, [f"`{min(verbs.PUBLIC_DATA & (named | said))}`"]
    label = Label(Integrity.UNTRUSTED, found, tuple(categories))
    return label, f"results are {found.value}: {', '.join(because)}" if because else "results are untrusted"


def read_flow(
    tool: Tool, reading: Reading, arguments: Mapping[str, Argument], label: Label
) -> tuple[Flow, str]:
    """Return the labels of what comes back and whether its arguments leave the house, and why."""
    targets = {each.kind for each in arguments.values() if each.role is Role.TARGET}
    out = sorted(targets & {"recipient", "url", "host"})
    if reading.access is Access.READ:
        remote = sorted(targets & {"url", "host"})
        if remote or tool.open_world:
            return Flow(
                label, Sink.EXTERNAL
            ), f"it reaches a {remote[0]}" if remote else "it is open to the world"
        return Flow(label), "it only reads"
    sending = sorted(verbs.SENDING & ({reading.verb} | set(name_words(tool.name))))
    if sending or out:
        because = f"`{sending[0]}` sends it out" if sending else f"an argument is a {out[0]}"
        return Flow(label, Sink.EXTERNAL), because
    if "command" in targets and not SQL & set(words(tool.name)):
        return Flow(label, Sink.EXTERNAL), "what it runs may send anything out"
    if reading.unsure or tool.open_world:
        return Flow(label, Sink.EXTERNAL), "nothing says that it stays inside"
    return Flow(label, Sink.INTERNAL), f"`{reading.verb}` stays inside"
