"""What kind of change a sentence asks for, and what kind a tool makes.

This looks at the user's words and at what the tools' makers wrote, never at what a tool gives back. Where no verb
is known nothing is claimed: the call then counts as one that the user did not evidently ask for.
"""

from __future__ import annotations

import re

_KINDS: dict[str, str] = {
    "send": "send mail email e-mail message dm text reply respond answer forward notify tell inform remind contact"
    " invite write thank ping share say let ask greet introduce welcome",
    "post": "post publish comment tweet announce upload share reply write send",
    "pay": "pay transfer wire refund remit donate settle reimburse send tip repay return",
    "buy": "buy order purchase checkout book reserve rent subscribe get",
    "create": "create add make schedule set open write save draft record register note plan put append generate"
    " organize organise insert book store log file start submit compose prepare copy duplicate upload build"
    " fork request reserve invite",
    "change": "update change edit modify move rename reschedule adjust replace correct fix mark increase decrease"
    " raise reduce lower switch extend postpone swap exchange assign reassign merge close reopen approve accept"
    " reject decline set append add remove label tag archive complete finish activate deactivate enable disable"
    " upgrade downgrade unassign confirm pin star push transition apply shift convert return resolve block"
    " unblock lock unlock freeze write redeem",
    "remove": "delete remove cancel archive clear drop erase discard unsubscribe revoke kick ban leave empty"
    " trash purge return unfollow",
    "share": "share invite grant give add permit allow assign authorize authorise",
    "run": "run execute deploy restart start stop launch trigger install turn play",
}  # fmt: skip
# Also nouns: verbs only where a verb stands.
_NOUNS = frozenset(
    [
        "mail",
        "email",
        "e-mail",
        "message",
        "text",
        "reply",
        "answer",
        "contact",
        "post",
        "comment",
        "tweet",
        "share",
        "transfer",
        "wire",
        "refund",
        "tip",
        "order",
        "purchase",
        "book",
        "rent",
        "schedule",
        "set",
        "open",
        "draft",
        "record",
        "register",
        "note",
        "plan",
        "file",
        "log",
        "copy",
        "build",
        "fork",
        "request",
        "move",
        "change",
        "update",
        "edit",
        "mark",
        "increase",
        "decrease",
        "raise",
        "switch",
        "swap",
        "exchange",
        "close",
        "label",
        "tag",
        "star",
        "pin",
        "push",
        "shift",
        "return",
        "block",
        "lock",
        "archive",
        "drop",
        "ban",
        "leave",
        "empty",
        "trash",
        "grant",
        "run",
        "start",
        "stop",
        "launch",
        "trigger",
        "turn",
        "play",
        "dm",
        "say",
        "ask",
        "invite",
        "redeem",
        "start",
        "complete",
        "get",
        "let",
        "permit",
        "allow",
        "store",
        "freeze",
        "upgrade",
        "apply",
        "write",
        "make",
        "give",
    ]
)
_BEFORE_A_VERB = frozenset(
    [
        "to",
        "please",
        "and",
        "then",
        "you",
        "also",
        "now",
        "i",
        "must",
        "should",
        "will",
        "would",
        "or",
        "just",
        "kindly",
        "we",
        "let's",
        "lets",
        "can",
        "could",
        "but",
        "not",
        "dont",
        "don't",
        "help",
        "go",
        "need",
        "want",
        "finally",
        "next",
        "afterwards",
        "after",
        "after,",
    ]
)
_OF_WORD: dict[str, frozenset[str]] = {}
for _kind, _words in _KINDS.items():
    for _word in _words.split():
        _OF_WORD[_word] = _OF_WORD.get(_word, frozenset()) | {_kind}

_CLAUSES = re.compile(r"[.!?;:,\n()\"\u201c\u201d]+|\s-\s")
_PIECES = re.compile(r"[a-z][a-z'-]*")
_TOOL_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PASSIVE = re.compile(r"\b(?:be|get|been|gets|is|are|it|them)\s+([a-z]{3,}ed|sent|paid|made|put|set)\b")
_PAST = {"sent": "send", "paid": "pay", "made": "make"}


def asked_kinds(prompt: str) -> frozenset[str]:
    """Return the kinds of change that a user's words ask for."""
    found: set[str] = set()
    text = prompt.casefold().replace("\u2019", "'")
    for clause in _CLAUSES.split(text):
        words = _PIECES.findall(clause)
        for at, word in enumerate(words):
            kinds = _OF_WORD.get(word)
            if kinds is None:
                continue
            if word not in _NOUNS or at == 0 or words[at - 1] in _BEFORE_A_VERB:
                found |= kinds
    for match in _PASSIVE.finditer(text):
        found |= _OF_WORD.get(_base(match[1]), frozenset())
    return frozenset(found)


def _base(participle: str) -> str:
    for candidate in (_PAST.get(participle, participle), participle[:-1], participle[:-2], participle[:-3]):
        if candidate in _OF_WORD:
            return candidate
    return participle


def tool_kinds(name: str, description: str) -> frozenset[str]:
    """Return the kinds of change that a tool makes, by its name or else by the beginning of its description."""
    for text in (name, description.partition(".")[0][:200]):
        words = [each.casefold() for each in _TOOL_WORDS.findall(text)]
        known = [word if word in _OF_WORD else word.removesuffix("s") for word in words]
        verbs = [word for word in known if word in _OF_WORD]
        for word in verbs:
            if word not in _NOUNS:
                return _OF_WORD[word]
        if verbs:
            return _OF_WORD[verbs[0]]
    return frozenset()


_OPEN = re.compile(
    r"\b(?:do|follow|complete|perform|carry out|execute|handle|process|act on|implement|take care of|work through"
    r"|finish|fulfil|fulfill|go through|accomplish|address|solve|make)\b(?:\W+\w[\w'-]*){0,5}?\W+"
    r"(?:instructions?|tasks?|actions?|steps?|to-?dos?|checklist|requests?|directions|what|everything|whatever"
    r"|changes|things|items|it says|list)\b"
    r"|\b(?:as|like)\s+(?:\w+\s+)?(?:instructed|requested|described|specified|asked|told)\b"
    r"|\bwhat(?:ever)?\b(?:\W+\w[\w'@.-]*){1,6}?\W+(?:says?|asks?|wants?|tells?|requests?|requires?|needs?)\b"
)
_OWN_LIST = re.compile(r"\b(?:following|these|below)\b[^.\n]{0,40}:")


def delegates(prompt: str) -> bool:
    """Tell whether a user hands the instructions over to something that is read: "do what the mail says"."""
    text = prompt.casefold().replace("\u2019", "'")
    return _OPEN.search(text) is not None and _OWN_LIST.search(text) is None


_SLOTS = {
    "mail": "address addresses contact contacts recipient recipients participant participants attendee attendees"
    " people person everyone email-address members team guests invitees",
    "url": "link links url urls website websites webpage webpages page pages site sites article articles blog",
    "account": "account accounts iban bill bills invoice invoices number details rent fee fees refund payment card"
    " beneficiary recipient payee phone wallet landlord",
    "path": "file files document documents folder attachment attachments path",
    "id": "id ids number numbers code codes order orders ticket tickets issue issues reference booking reservation"
    " item items",
}
_SHAPES = {word: {shape for shape, words in _SLOTS.items() if word in words.split()} for words in _SLOTS.values()
           for word in words.split()}  # fmt: skip
_MANY = frozenset(
    ["all", "every", "each", "both", "everyone", "everybody", "anyone", "anybody", "members", "participants", "attendees", "people", "users", "colleagues", "guests", "invitees", "recipients", "contacts", "them", "they", "those", "these", "others", "two", "three", "four", "five", "several", "multiple", "any"]
)  # fmt: skip


_EXTREMES = {
    -1: "cheapest lowest least smallest earliest nearest closest shortest minimum fewest oldest youngest soonest",
    1: "highest best top largest biggest latest longest maximum greatest newest priciest busiest strongest",
}
_MOST = re.compile(r"\bmost (?:expensive|recent|popular|frequent|valuable|stars|recently)\b")


def extremes(words: list[str], prompt: str) -> frozenset[int]:
    """Return which end of a scale a user asks for: -1 the low one ("cheapest"), 1 the high one."""
    found = {end for end, known in _EXTREMES.items() if not set(known.split()).isdisjoint(words)}
    if _MOST.search(prompt.casefold()) is not None:
        found.add(1)
    return frozenset(found)


def slots(words: list[str]) -> frozenset[str]:
    """Return the shapes of values that a user speaks of without giving them: "the link in Bob's mail"."""
    return frozenset(shape for word in words for shape in _SHAPES.get(word, ()))


def speaks_of_many(words: list[str]) -> bool:
    """Tell whether a user's words are about more than one thing."""
    return not _MANY.isdisjoint(words)
