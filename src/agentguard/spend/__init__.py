"""What calls cost, and what they may cost: prices, usage, budgets.

Enters: a model call before it is made, the provider's report after it, `budgets.yaml`. Leaves: an `Admission`
with what was reserved, a `Settlement` with what was booked, reports of the history. Called by: the enforcement
points for models (`BudgetKeeper`), the command line, assembly. It must never count money in floats, book less
than a provider reported, or ask the network.
"""

from agentguard.spend._account import Account, accounts_of, amount_text, usd_text
from agentguard.spend._advice import Advice, advise
from agentguard.spend._budget import MONEY, Budget, Budgets, budget_of_meter, load_budgets
from agentguard.spend._call import Admission, Call
from agentguard.spend._check import BudgetFinding, check_budgets
from agentguard.spend._figures import SpendFigures, Standing
from agentguard.spend._follow import BudgetFollower
from agentguard.spend._keeper import BudgetKeeper, Settlement, SpendLimits
from agentguard.spend._media import media_call
from agentguard.spend._price_check import PriceCheck, PriceDifference, check_prices
from agentguard.spend._price_import import Imported, encode_prices, import_prices
from agentguard.spend._prices import (
    ModelPrice,
    PriceFile,
    Prices,
    PriceTable,
    cost_of,
    decode_prices,
    load_prices,
)
from agentguard.spend._report import (
    DIMENSIONS,
    FOCUS_COLUMNS,
    SpendLine,
    add_up,
    focus_rows,
    history,
    known_accounts,
    write_csv,
)
from agentguard.spend._usage import Api, Report, StreamUsage, read_report
from agentguard.spend._window import Window

__all__ = [
    "DIMENSIONS",
    "FOCUS_COLUMNS",
    "MONEY",
    "Account",
    "Admission",
    "Advice",
    "Api",
    "Budget",
    "BudgetFinding",
    "BudgetFollower",
    "BudgetKeeper",
    "Budgets",
    "Call",
    "Imported",
    "ModelPrice",
    "PriceCheck",
    "PriceDifference",
    "PriceFile",
    "PriceTable",
    "Prices",
    "Report",
    "Settlement",
    "SpendFigures",
    "SpendLimits",
    "SpendLine",
    "Standing",
    "StreamUsage",
    "Window",
    "accounts_of",
    "add_up",
    "advise",
    "amount_text",
    "budget_of_meter",
    "check_budgets",
    "check_prices",
    "cost_of",
    "decode_prices",
    "encode_prices",
    "focus_rows",
    "history",
    "import_prices",
    "known_accounts",
    "load_budgets",
    "load_prices",
    "media_call",
    "read_report",
    "usd_text",
    "write_csv",
]
