"""What kind of change a sentence asks for, and what kind a tool makes.

This looks at the user's words and at what the tools' makers wrote, never at what a tool gives back. Where no verb
is known nothing is claimed: the call then counts as one that the user did not evidently ask for.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from agentguard.core import Asked
from agentguard.intent._imperatives import asks, imperatives
from agentguard.intent._vocabulary import (
    ASKED_DEEDS,
    ASKING,
    BEFORE_A_VERB,
    COMPUTING,
    DEEDS,
    ENDS,
    GENERIC,
    JOINTS,
    KINDS,
    LIGHT,
    MAILING,
    MANY,
    NOUNS,
    NUMBERS,
    OBJECT_KINDS,
    REPORTING,
    SLOTS,
    STOP,
    VAGUE,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLAUSES = re.compile(r"[.!?;:,\n()\"\u201c\u201d]+|\s-\s|\band\b|\bthen\b")
_PIECES = re.compile(r"[a-z][a-z'-]*")
_TOOL_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PASSIVE = re.compile(
    r"\b(?:be|get|been|gets|is|are|it|them|want|have)\s+(?:\w+\s+){0,3}?([a-z]{3,}ed|sent|paid|made|put|set)\b"
)
# "Ask for a refund of it": the noun says what is asked for.
_ASKED_FOR = re.compile(
    r"\b(?:ask(?: \w+)? for|request|apply for|demand|claim|i want|i need|i'd like)\s+(?:(?:a|an|the|my|full|partial)\s+){0,2}([a-z]+)\b"
)
# What is kept for the user, by whatever tool keeps such things.
_FOR_MYSELF = re.compile(
    r"\b(?:remind me|note to (?:my)?self|don't let me forget|so (?:that )?i (?:don't|won't) forget)\b"
)
_RID = re.compile(r"\b(?:get|getting) rid of\b")
_NO_MORE = re.compile(r"\bno (?:more|longer)\b")
# Two verbs of several words, of which no word says it: to answer somebody, and to tell him.
_ANSWERED = re.compile(r"\b(?:get|come|go|write|report) back to\b|\blet \w+(?: \w+)? know\b")
_SUM = re.compile(
    rf"\d|[€$£¥]|\b(?:{'|'.join(sorted(word for word, kind in OBJECT_KINDS.items() if kind == 'pay'))}|owes?|costs?)s?\b"
)
_PAST = {"sent": "send", "paid": "pay", "made": "make"}
# Words for what is known of somebody, each as good as the other.
_DATA = frozenset(("info", "information", "data", "detail", "profile"))
_WORDS_READ = 40
# So near stands a noun to the verb that leaves the meaning to it.
_REACH = 7
_LIGHT_REACH = 4
_REPORTING = re.compile(rf"\b(?:{'|'.join(REPORTING)})\b")


class Wish(msgspec.Struct, frozen=True):
    """The changes that a user's words ask for.

    `kinds` by verbs that say enough, `loose` by those that need their object; `verbs` are both, `words` all words, in
    their singular. `unknown` are verbs of which the vocabulary does not know what they ask for: "dim the lamp".
    `is_request`: something is asked for, and it is no answer: "the red one, please".
    """

    kinds: frozenset[str]
    loose: frozenset[str]
    verbs: frozenset[str]
    words: frozenset[str]
    unknown: frozenset[str] = frozenset()
    is_request: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no change is asked for."""
        return not self.verbs and not self.loose and not self.unknown and not self.is_request


class Craft(msgspec.Struct, frozen=True):
    """What a tool does: the kinds of its verb, whether that says little, the verb itself, and what it is done to.

    `words` are those of its name, and the first of its description: it may have a verb that is in no list.
    """

    kinds: frozenset[str] = frozenset()
    is_generic: bool = True
    verb: str = ""
    objects: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    is_of_data: bool = False

    def of_deed(self, verb: str) -> Craft:
        """Return what the tool does where a switch of the call says it: `modify` with `op: cancel` cancels."""
        return replace(self, kinds=KINDS[verb], is_generic=verb in GENERIC, verb=verb)


def read_wish(prompt: str) -> Wish:
    """Return the changes that a user's words ask for."""
    kinds: set[str] = set()
    loose: set[str] = set()
    verbs: set[str] = set()
    every: set[str] = set()
    text = prompt.casefold().replace("\u2019", "'")
    plain = _FOR_MYSELF.sub(" ", _REPORTING.sub(" ", text))
    for clause in _CLAUSES.split(plain):
        words = _PIECES.findall(clause)
        every.update(map(singular, words))
        for verb in _verbs_of(words):
            verbs.add(verb)
            (loose if verb in GENERIC else kinds).update(_meant(verb, text))
    for match in _PASSIVE.finditer(text):
        verb = base_of(match[1])
        if verb in KINDS:
            verbs.add(verb)
            (loose if verb in GENERIC else kinds).update(_meant(verb, text))
    for match in _ASKED_FOR.finditer(text):
        deed = singular(match[1])
        if deed in ASKED_DEEDS:
            kinds.update(KINDS[DEEDS[deed]])
            verbs.add(DEEDS[deed])
    if _ANSWERED.search(plain) is not None:
        kinds.update(KINDS["tell"])
        verbs.add("tell")
    if _RID.search(text) is not None:
        kinds.add("remove")
        verbs.add("remove")
    if _NO_MORE.search(text) is not None:
        verbs.add("stop")
        loose.update(("switch", "remove"))
    if not verbs:
        # "I would like a refund" has no verb of a change.
        for deed in ASKED_DEEDS & every:
            loose.update(KINDS[DEEDS[deed]])
            verbs.add(DEEDS[deed])
    if _FOR_MYSELF.search(text) is not None:
        loose.add("create")
        verbs.add("remind")
    unknown = imperatives(text) - verbs
    is_request = not verbs and not unknown and asks(text)
    return Wish(frozenset(kinds), frozenset(loose), frozenset(verbs), frozenset(every), unknown, is_request)


def _meant(verb: str, text: str) -> frozenset[str]:
    """Return what a verb asks for; one that also says something else pays only where there is a sum or money."""
    kinds = KINDS[verb]
    if kinds == {"pay"} or _SUM.search(text) is not None:
        return kinds
    return kinds - {"pay"} if "send" in kinds else kinds


def _verbs_of(words: list[str]) -> Iterator[str]:
    """Yield the verbs of a clause, as far as it asks for something."""
    for at, word in enumerate(words):
        if word in ASKING or (word == "that" and words[at - 1 : at] != ["sure"]):
            # "Tell me what I have to pay" asks for no payment.
            return
        if word in LIGHT and word not in KINDS:
            # "Do the release" is to release.
            deeds = (
                DEEDS[each] for each in map(singular, words[at + 1 : at + _LIGHT_REACH]) if each in DEEDS
            )
            yield from itertools.islice(deeds, 1)
        if word not in KINDS or (word in NOUNS and at and words[at - 1] not in BEFORE_A_VERB):
            continue
        yield word
        if word in LIGHT:
            # "Give her access", "make a payment": the noun says what is done.
            deeds = (DEEDS[each] for each in map(singular, words[at + 1 : at + _REACH]) if each in DEEDS)
            yield from itertools.islice(deeds, 1)


def read_craft(name: str, description: str) -> Craft:
    """Return what a tool does, by its name or else by the beginning of its description."""
    own, said = _tool_words(name), _tool_words(description.partition(".")[0])[:_WORDS_READ]
    # A description begins with its verb: "Moves an event and tells its participants".
    first = said[0] if said else ""
    begun = next((each for each in (first, *_bases(first)) if each in KINDS), "")
    verb = _verb(own) or begun or _verb(said)
    named, head = own if _verb(own) else [], _head(said)
    kinds, generic = KINDS.get(verb, frozenset()), verb in GENERIC or not verb
    if verb in LIGHT:
        # To place an order is to order.
        deeds = [DEEDS[word] for word in map(singular, named or head) if word in DEEDS and word != verb]
        for deed in deeds[:1]:
            kinds, generic, verb = KINDS[deed], False, deed
    # To send money is to pay.
    meant = {
        OBJECT_KINDS[word] for word in map(singular, named or head) if word in OBJECT_KINDS and word != verb
    }
    kinds = (kinds & meant) or kinds
    objects = frozenset(
        word
        for word in map(singular, (*named, *head))
        if len(word) > 2 and word not in STOP | VAGUE and word != verb  # noqa: PLR2004 - of, to
    )
    return Craft(
        kinds,
        generic,
        verb,
        objects,
        frozenset((*own, first, *_bases(first))) - {""},
        not _DATA.isdisjoint(map(singular, named)) and not objects,
    )


def is_asked(craft: Craft, wish: Wish, *, hands_over: bool, is_named: bool = False) -> Asked:
    """Tell whether a wish asks for what a tool does; `is_named`: the user's words name what it is done to."""
    has_object = not craft.objects.isdisjoint(wish.words) or (
        craft.is_of_data and craft.verb in wish.verbs and not _DATA.isdisjoint(wish.words)
    )
    if not wish.unknown.isdisjoint(craft.words):
        return Asked.THIS
    if (
        craft.verb
        and (
            craft.verb in wish.verbs
            or (craft.verb in wish.words and craft.verb not in NOUNS and not craft.is_generic)
        )
    ) or not craft.kinds.isdisjoint(wish.kinds):
        is_this = has_object or not craft.is_generic
    else:
        both = craft.kinds & wish.loose
        # Who makes something new needs no word for it: "save the list".
        is_this = (has_object and bool(both)) or ("create" in both and not craft.is_generic)
    # The user names the object by naming the very thing: "add Lena to the budget review".
    is_this = is_this or (is_named and not craft.kinds.isdisjoint(wish.kinds | wish.loose))
    if is_this:
        return Asked.THIS
    return Asked.NOTHING if wish.is_empty and not hands_over else Asked.OTHER


def singular(word: str) -> str:
    """Return a word without the ending of a plural or a third person, as far as that can be told."""
    if len(word) > 4 and word.endswith("ies"):  # noqa: PLR2004 - ties is none
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word  # noqa: PLR2004 - gas is none


def _head(words: list[str]) -> list[str]:
    """Return the verb of a description and its object: "Set the limit", of "of a card in EUR"."""
    end = next((at for at, word in enumerate(words) if at and word in JOINTS), len(words))
    return words[:end]


def _bases(word: str) -> list[str]:
    """Return what a verb in the third person may be the form of."""
    return [singular(word), word[:-2]] if word.endswith("s") else []


def _tool_words(text: str) -> list[str]:
    return [each.casefold() for each in _TOOL_WORDS.findall(text)]


def _verb(words: list[str]) -> str:
    known = [word if word in KINDS else singular(word) for word in words]
    # A word that is a noun too is the verb only where it comes first: `message_user`, and not `hide_message`.
    first = known[0] if known and known[0] in KINDS else ""
    return next((word for word in known if word in KINDS and word not in NOUNS), first)


def base_of(participle: str) -> str:
    """Return the verb that a word may be a participle of, or the word."""
    for candidate in (_PAST.get(participle, participle), participle[:-1], participle[:-2], participle[:-3]):
        if candidate in KINDS:
            return candidate
    return participle


# What is to be done is left to a text.
_DEEDS_OPEN = re.compile(
    r"\b(?:do|follow|complete|perform|carry out|execute|handle|process|act on|implement|take care of|work through"
    r"|finish|fulfil|fulfill|go through|accomplish|solve|see to)\b(?:\W+\w[\w'-]*){0,5}?\W+"
    r"(?:instructions?|tasks?|actions?|steps?|to-?dos?|checklist|requests?|directions|what|everything|whatever"
    r"|changes|things|it says|list)\b"
    r"|\b(?:as|like|the way)\s+(?:\w+\s+){0,2}(?:describes|wants|asks|wishes|requests|proposes|specifies|instructed|requested|described|specified|asked|told|says?|said|suggests?|suggested"
    r"|explains?|explained|wrote|writes|mentions?|mentioned|posted|proposed|proposes)\b"
)
# Somebody wrote, and that is what is to be done.
_REFERRED = re.compile(
    r"\b(?:messages?|mails?|e-?mails?|mailed|letters?|notes?|dms?|requests?|tickets?|posts?|texts?|texted|comments?|asked"
    r"|wrote|written|left|sent)\b[^?]{0,80}?[.;,!\u2013-]\s*(?:(?:and|so|then|please|kindly|just|could you|can you)\s+)*"
    r"(?:do|handle|settle|take care of|see to|carry out|act on|get)\s+(?:it|that|this|so)\b(?!\s+(?:is|was|the))"
)
# With whom, where or which is.
_VALUES_OPEN = re.compile(
    r"\b(?:that|which|what)\s+\w+\s+(?:asked|wants?|wanted|requested|needs?|suggested|proposed)\b"
    r"|\b(?:where|whom|whoever|wherever|when|how)\b(?:\W+\w[\w'-]*){1,3}?\W+(?:wants?|says?|asks?|suggests?|proposes?|offered"
    r"|prefers?|needs?)\b"
    r"|\b(?:whoever|whomever|wherever)\W+\w+\b|\bsee (?:the|his|her|their|its|this|that)\b"
)
# How it is to be done.
_WAY_OPEN = re.compile(
    r"\b(?:wrote|said|told|explained|explains|describes|says|sent|mentions?)\s+(?:me\s+|us\s+)?(?:what|how|where) to\b"
)
_OWN_LIST = re.compile(r"(?:\b[\w']+ ){0,3}\b(?:following|these|below)\b[^.\n]{0,60}:")


def delegates(prompt: str) -> bool:
    """Tell whether a user hands a choice over to something that is read: "invite whom the mail names"."""
    text = _spoken(prompt)
    return any(each.search(text) is not None for each in (_DEEDS_OPEN, _VALUES_OPEN, _WAY_OPEN))


def delegates_deeds(prompt: str) -> bool:
    """Tell whether a user hands over what is to be done: "do what the mail says"."""
    return _DEEDS_OPEN.search(_spoken(prompt)) is not None


def refers_back(prompt: str) -> bool:
    """Tell whether a user hands over what somebody wrote in a sentence before: "Bob sent a request. Please do it"."""
    return _REFERRED.search(_spoken(prompt)) is not None


def delegates_the_way(prompt: str) -> bool:
    """Tell whether a user hands over how something is to be done: "the landlord wrote what to do"."""
    return _WAY_OPEN.search(_spoken(prompt)) is not None


def _spoken(prompt: str) -> str:
    # "Do the following: …" hands nothing over, and what follows may.
    return _OWN_LIST.sub(":", prompt.casefold().replace("\u2019", "'"))


_CITES = re.compile(
    r"\b(?:gives?|gave|names?|named|mentions?|mentioned|links?|linked|provides?|provided|recommends?|recommended"
    r"|states?|stated|writes|wrote|lists?|quotes?|quoted)\b(?=\s*(?:[.,;!?)]|$|(?:in|on|at|there|to|us|me)\b))"
)


# "What Bob billed us", "the day she names", "when the office opens": somebody else's verb says which one is meant.
_RELATIVE = re.compile(
    r"\b(?:what|whatever|where|wherever|when|whom|whomever|how|the \w+(?: that| which)?)\s+"
    r"(?!(?:i|we|you|to|is|are|was|were|will|would|can|has|have|had|does|do|did)\b)"
    r"(?:(?:he|she|they)|[\w'-]+(?:\s+[\w'-]+){0,2}?)\s+"
    r"(?!(?:has|is|was|does|its|this)\b)(?:\w{2,}(?:s|ed)|said|wrote|sent|gave|told)\b",
    re.IGNORECASE,
)


def cites(prompt: str) -> bool:
    """Tell whether a user speaks of what a text itself says: "the address that Bob gives in his letter"."""
    return _CITES.search(prompt.casefold()) is not None


def refers(prompt: str) -> bool:
    """Tell whether which one is meant may stand in a text: "the day she names". Enough to ask a person, not more."""
    return _RELATIVE.search(prompt) is not None


def slots(words: list[str]) -> frozenset[str]:
    """Return the shapes of values that a user speaks of without giving them: "the link in Bob's mail"."""
    # "What he billed us": by the verb as well.
    said = [*words, *(word[:-2] for word in words if word.endswith("ed"))]
    found = frozenset(shape for word in said for shape in SLOTS.get(word, ()))
    # There are other addresses than those of mail.
    return found if not MAILING.isdisjoint(words) else found - {"mail"}


_NOT_MANY = frozenset((("any", "more"), ("any", "longer"), ("all", "right")))


def speaks_of_many(words: list[str]) -> bool:
    """Tell whether a user's words are about more than one thing."""
    # "I don't need it any more" is about one thing.
    pairs = itertools.pairwise((*words, ""))
    return any(word in MANY and (word, after) not in _NOT_MANY for word, after in pairs)


def computes(words: list[str]) -> bool:
    """Tell whether a user asks for arithmetic."""
    return not COMPUTING.isdisjoint(words)


def spelt_numbers(words: list[str]) -> set[str]:
    """Return the numbers that are written as words."""
    return {NUMBERS[word] for word in words if word in NUMBERS}


_MOST = re.compile(
    r"\bmost (?:expensive|recent|popular|frequent|valuable|stars|recently)\b|\bthe most\b|\bmost(?=\s*(?:[.,;!?]|$))"
)
_FIRST = re.compile(
    r"\b(?:due|starts?|begins?|leaves?|ends?|expires?|arrives?)\s+(?:first|next|soonest)\b|\bleast\b"
)


_COMPARED = ("er", "less")


def extremes(words: list[str], prompt: str) -> frozenset[int]:
    """Return which end of a scale a user asks for: -1 the low one ("cheapest"), 1 the high one."""
    # "The cheaper one" is an end of a scale, and "a week longer" is none.
    said = {
        word
        for before, word in zip(("", *words), words, strict=False)
        if not word.endswith(_COMPARED) or before == "the"
    }
    found = {end for end, known in ENDS.items() if not known.isdisjoint(said)}
    if _MOST.search(prompt.casefold()) is not None:
        found.add(1)
    if _FIRST.search(prompt.casefold()) is not None:
        found.add(-1)
    return frozenset(found)
