"""How far people have let somebody go on past a threshold of a budget."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

if TYPE_CHECKING:
    from agentguard.core import SpendQuestion
    from agentguard.spend._account import Account

_MOST = 10_000


class _Grant(NamedTuple):
    limit: int
    until: int
    ends: datetime | None


class Grants:
    """What people said yes to, as this process knows it: the record is the approval. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str, str], _Grant] = OrderedDict()

    def add(self, question: SpendQuestion, given_at: datetime) -> None:
        """Let a question be answered by yes from `given_at` on, until its window ends."""
        ends = given_at + timedelta(seconds=question.lasts_s) if question.lasts_s else question.ends
        key = (question.who, question.budget, question.of, question.window)
        with self._lock:
            known = self._known.get(key)
            until = question.until
            if known is not None and known.limit == question.limit:
                until = max(until, known.until)
            self._known[key] = _Grant(question.limit, until, ends)
            self._known.move_to_end(key)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)

    def on(self, accounts: list[Account], who: str, now: datetime) -> list[Account]:
        """Return the accounts as far as `who` may use them."""
        return [self._one(each, who, now) for each in accounts] if self._known else accounts

    def _one(self, account: Account, who: str, now: datetime) -> Account:
        budget = account.budget
        with self._lock:
            grant = self._known.get((who, budget.id, account.value, budget.window_name(now)))
        # Under another limit it was another question.
        if grant is None or grant.limit != budget.limit or (grant.ends is not None and now >= grant.ends):
            return account
        return replace(account, until=grant.until)
