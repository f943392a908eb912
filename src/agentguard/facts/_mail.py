"""Facts about mail: who gets it."""

from __future__ import annotations

from email.utils import getaddresses
from typing import TYPE_CHECKING, Any

from agentguard.facts._budget import UnparsedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_ADDRESSES = 1000
_MAX_ADDRESS = 320


def mail_facts(value: str | Iterable[str], own_domains: frozenset[str]) -> Mapping[str, Any]:
    """Return the facts of one list of recipients (RFC 5322, section 3.4).

    Raises:
        UnparsedError: an entry is no address.
    """
    entries = [value] if isinstance(value, str) else list(value)
    if len(entries) > _MAX_ADDRESSES or sum(map(len, entries)) > _MAX_ADDRESSES * _MAX_ADDRESS:
        raise UnparsedError("names too many recipients")
    found = [address.lower() for _, address in getaddresses(entries)]
    domains = tuple(dict.fromkeys(_domain(address) for address in found))
    if not found:
        raise UnparsedError("names no recipient")
    facts: dict[str, Any] = {
        "mail.recipients": tuple(dict.fromkeys(found)),
        "mail.domains": domains,
        "mail.count": len(found),
    }
    if own_domains:
        facts["mail.external"] = any(not _is_own(domain, own_domains) for domain in domains)
    return facts


def _domain(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or len(address) > _MAX_ADDRESS or " " in domain or "@" in local:
        raise UnparsedError("is no mail address")
    domain = domain.rstrip(".")
    if domain.isascii():
        return domain
    import idna

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise UnparsedError("is no mail address") from None


def _is_own(domain: str, own: frozenset[str]) -> bool:
    while domain:
        if domain in own:
            return True
        domain = domain.partition(".")[2]
    return False
