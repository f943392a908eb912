"""What an action costs, held to the budgets: reserved when it is let through, booked when that is on record."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Decision, Effect, SpendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import Context, Principal, Spender
    from agentguard.spend import Admission, BudgetKeeper

_LOG = logging.getLogger("agentguard.pdp")
_LETS_THROUGH = Effect.TRANSFORM.rank


class ActionCosts:
    """The budgets of actions that cost; `spender` says on whose account a principal's action goes."""

    def __init__(self, keeper: BudgetKeeper, spender: Callable[[Principal, Context], Spender]) -> None:
        self._keeper = keeper
        self._spender = spender

    def hold(
        self, decision: Decision, principal: Principal, context: Context, *, is_approved: bool = False
    ) -> tuple[Decision, Admission | None]:
        """Return the decision with its cost reserved, or a stricter one. What lets nothing through costs nothing.

        With `is_approved` people have been asked, and no budget asks again; its limit holds.
        """
        if decision.effect.rank > _LETS_THROUGH or not self._keeper.prices_actions:
            return decision, None
        spender = self._spender(principal, context)
        admission = self._keeper.reserve_tool(
            decision.action, spender, attempt=os.urandom(16).hex(), is_approved=is_approved
        )
        if admission.is_admitted:
            return decision, admission if admission.reserved else None
        stricter = msgspec.structs.replace(
            decision,
            effect=admission.effect,
            reason=admission.reason,
            stage="spend",
            rule=None,
            obligations=(),
        )
        return stricter, None

    def finish(self, admission: Admission, effect: Effect) -> None:
        """Book what was reserved if the action was let through in the end, and give it back if not."""
        try:
            if effect.rank <= _LETS_THROUGH:
                self._keeper.settle_tool(admission)
            else:
                self._keeper.release(admission)
        except SpendError as error:
            # The reservation stands, and is booked whole when it expires.
            _LOG.error("what an action costs could not be booked: %s", error.message)
