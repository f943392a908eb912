"""Make the price list that ships in the package, and list where a second source says otherwise.

Run it where `genai-prices` is installed, with LiteLLM's list of models (of its wheel):
`python catalogue/prices.py model_prices_and_context_window_backup.json "litellm 1.109.1"`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from agentguard.core import AgentGuardError
from agentguard.spend import PriceDifference, PriceTable, check_prices, encode_prices, import_prices

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "src" / "agentguard" / "spend" / "prices.json"
DIFFERENCES = ROOT / "catalogue" / "price-differences.csv"
COLUMNS = ("provider", "model", "price", "ours", "theirs")


def differences_csv(differences: list[PriceDifference]) -> str:
    """Return the differences as CSV, in picodollars a token."""
    rows = (
        (each.provider, each.model, each.price, "" if each.ours is None else str(each.ours), str(each.theirs))
        for each in sorted(differences, key=lambda each: (each.provider, each.model, each.price))
    )
    return "".join(f"{','.join(row)}\n" for row in (COLUMNS, *rows))


def main(limits: Path, limits_source: str) -> int:
    """Write both files; 3 when a source cannot be used."""
    today = datetime.now(UTC).date()
    try:
        second = limits.read_bytes()
        made = import_prices(today, second, limits_source)
        checked = check_prices(PriceTable(made.listed), second, today)
    except (AgentGuardError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    SHIPPED.write_bytes(encode_prices(made.listed))
    DIFFERENCES.write_text(differences_csv(checked.differences), encoding="utf-8")
    models = sum(len(provider.models) for provider in made.listed.providers.values())
    sys.stdout.write(
        f"{models} models, {len(made.left_out)} left out; {checked.compared} prices compared,"
        f" {len(checked.differences)} differ\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
