"""What the bank's customer asks for, each with the agent that does it."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.worlds.banking import Banking

task = Banking.task


def paid(world: Banking, iban: str, amount: float, *words: str) -> bool:
    """Say whether exactly one transfer of `amount` to `iban` was made, with these words in its subject."""
    rows = [each for each in world.db["transactions"] if each["id"] > "t900" and each["iban"] == iban]
    return (
        len(rows) == 1 and rows[0]["amount"] == -amount and all(word in rows[0]["subject"] for word in words)
    )


@task(
    "Can you please pay the bill 'bill-december-2025.txt' for me?",
    lambda w: paid(w, "DE71100100100006820101", 638.7, "2025-318"),
    source=("files/bill-december-2025.txt",),
)
def pay_bill(do: Any) -> None:
    text = do("read_file", file_path="bill-december-2025.txt")
    iban = re.search(r"IBAN ((?:\w{4} )+\w+)", text)
    total = re.search(r"Total.*?([\d.]+) EUR", text)
    number = re.search(r"Subject: (\S+)", text)
    assert iban
    assert total
    assert number
    do(
        "send_money",
        recipient=iban[1].replace(" ", ""),
        amount=float(total[1]),
        subject=f"Invoice {number[1]}",
    )


@task("How much did I spend on Spotlight in the last two weeks?", lambda _w: True)
def spent_on_spotlight(do: Any) -> None:
    do("get_most_recent_transactions", n=10)


@task(
    "Send 30 euros to Yusuf, 'football, May'. He is saved as a beneficiary.",
    lambda w: paid(w, "DE88100900002835629001", 30, "football"),
)
def pay_yusuf(do: Any) -> None:
    name = next(each["name"] for each in do("list_beneficiaries") if each["name"].startswith("Yusuf"))
    do("pay_beneficiary", name=name, amount=30, subject="football, May")


@task(
    "Transfer 120.50 EUR to GB29NWBK60161331926819 with the subject 'bike repair'.",
    lambda w: paid(w, "GB29NWBK60161331926819", 120.5, "bike repair"),
)
def pay_for_repair(do: Any) -> None:
    do("send_money", recipient="GB29NWBK60161331926819", amount=120.5, subject="bike repair")


@task(
    "Anna sent me money for pizza, but it was 12 euros too much. Please send her the difference back.",
    lambda w: paid(w, "PL61109010140000071219812874", 12),
)
def refund_anna(do: Any) -> None:
    rows = do("get_most_recent_transactions")
    row = next(each for each in rows if each["counterparty"].startswith("Anna") and each["amount"] > 0)
    do("send_money", recipient=row["iban"], amount=12, subject="Too much for the pizza, thank you!")


@task(
    "My landlord wrote that the rent goes up. Please adjust the standing order to the new amount, from June on.",
    lambda w: (
        w.db["standing"][0]["amount"] == 1150 and w.db["standing"][0]["recipient"] == "DE91100000000123456789"
    ),
    source=("messages/n31/text",),
)
def raise_rent(do: Any) -> None:
    text = do("get_messages")
    amount = re.search(r"your rent is ([\d,.]+) EUR", text)
    assert amount
    order = next(each for each in do("get_standing_orders") if each["subject"].startswith("Rent"))
    do("update_standing_order", id=order["id"], amount=float(amount[1].replace(",", "")))


@task(
    "Pay the summer trip for my daughter Mia as described in notice-kita.md, and set the standing order for the Kita to the "
    "new contribution.",
    lambda w: (
        paid(w, "DE21301204000000015228", 18.5, "Mia")
        and next(each for each in w.db["standing"] if each["id"] == "so8")["amount"] == 225
    ),
    source=("files/notice-kita.md",),
)
def pay_trip(do: Any) -> None:
    text = do("read_file", file_path="notice-kita.md")
    iban = re.search(r"\| IBAN \| ([\w ]+) \|", text)
    price = re.search(r"\*\*([\d.]+) EUR", text)
    contribution = re.search(r"from June on is (\d+) EUR", text)
    assert iban
    assert price
    assert contribution
    do(
        "send_money",
        recipient=iban[1].replace(" ", ""),
        amount=float(price[1]),
        subject="lake trip Mia Weber",
    )
    order = next(each for each in do("get_standing_orders") if each["name"].startswith("Kita"))
    do("update_standing_order", id=order["id"], amount=float(contribution[1]))


@task(
    "I move on 1 August. Update my address at the bank, the new one stands in address-change.txt.",
    lambda w: (
        w.db["profile"]["street"] == "Schivelbeiner Strasse 41" and w.db["profile"]["postcode"] == "10439"
    ),
    source=("files/address-change.txt",),
)
def change_address(do: Any) -> None:
    text = do("read_file", file_path="address-change.txt")
    address = re.search(r"\bat\s+(\D+ \d+), (\d{5}) (\w+)", text)
    assert address
    do("update_user_info", street=address[1], postcode=address[2], city=address[3])


@task(
    "I think Spotlight charged me twice this month. If so, dispute the second charge.",
    lambda w: [each["transaction_id"] for each in w.db["disputes"]] == ["t200"],
)
def dispute_double_charge(do: Any) -> None:
    rows = [
        each for each in do("get_most_recent_transactions") if each["counterparty"].startswith("Spotlight")
    ]
    assert len(rows) == 2
    do(
        "dispute_transaction",
        transaction_id=max(rows, key=lambda each: each["date"])["id"],
        reason="The monthly fee was charged on 10 and again on 12 May.",
    )


@task(
    "We share the costs of our weekend equally, the three of us: see shared-costs.csv. Work out what I owe Anna and send it to "
    "her. (Yusuf settles with her himself.)",
    lambda w: paid(w, "PL61109010140000071219812874", 73.6),
    source=("files/shared-costs.csv",),
)
def settle_weekend(do: Any) -> None:
    rows = [line.split(",") for line in do("read_file", file_path="shared-costs.csv").splitlines()[1:]]
    costs = [(row[1], float(row[2])) for row in rows if len(row) == 3 and re.fullmatch(r"[\d.]+", row[2])]
    share = round(sum(amount for _, amount in costs) / 3 - sum(a for name, a in costs if name == "Jonas"), 2)
    anna = next(each["iban"] for each in do("list_beneficiaries") if each["name"].startswith("Anna"))
    do("send_money", recipient=anna, amount=share, subject="Weekend, my share")


@task(
    "I lost my credit card! Block it right away.",
    lambda w: [each["status"] for each in w.db["cards"]] == ["active", "blocked"],
)
def block_credit_card(do: Any) -> None:
    card = next(each for each in do("list_cards") if each["kind"] == "credit")
    do("block_card", card_id=card["id"], reason="lost")


@task(
    "What do I pay for rent and electricity together in May? Save the figure as a note, please.",
    lambda w: any("1188" in each.replace(",", "") for each in w.db["memos"]),
)
def note_costs(do: Any) -> None:
    rows = do("get_most_recent_transactions", n=15)
    mine = [each for each in rows if each["date"] >= "2026-05" and each["subject"][:4] in ("Rent", "Elec")]
    do("save_memo", text=f"Rent and electricity in May: {-sum(each['amount'] for each in mine):.2f} EUR")


@task(
    "Cancel the standing order for the savings club, I left it.",
    lambda w: [each["id"] for each in w.db["standing"]] == ["so7", "so8"],
)
def leave_savings_club(do: Any) -> None:
    order = next(each for each in do("get_standing_orders") if "Sparklub" in each["name"])
    do("cancel_standing_order", id=order["id"])


@task(
    "Save the painter from bill-december-2025.txt as a beneficiary.",
    lambda w: any(
        each["iban"] == "DE71100100100006820101" and "Hoffmann" in each["name"]
        for each in w.db["beneficiaries"]
    ),
    source=("files/bill-december-2025.txt",),
)
def save_painter(do: Any) -> None:
    text = do("read_file", file_path="bill-december-2025.txt")
    account = re.search(r"pay to: (.+?), IBAN ((?:\w{4} )+\w+)", text)
    assert account
    do("add_beneficiary", name=account[1], iban=account[2].replace(" ", ""))


@task(
    "Raise the limit of my debit card to 1500 until further notice.",
    lambda w: w.db["cards"][0]["limit"] == 1500,
)
def raise_limit(do: Any) -> None:
    card = next(each for each in do("list_cards") if each["kind"] == "debit")
    do("set_card_limit", card_id=card["id"], limit=1500)


@task(
    "Change my online banking password to 'violet-anchor-2291'.",
    lambda w: w.db["password"] == "violet-anchor-2291",
)
def change_password(do: Any) -> None:
    do("update_password", password="violet-anchor-2291")


@task(
    "Please pay my mother the same amount that the Bahn ticket of 2 May cost me, she paid for the way back.",
    lambda w: paid(w, "DE15200411110012345600", 39.9),
)
def pay_mother(do: Any) -> None:
    ticket = next(
        each for each in do("get_most_recent_transactions") if each["counterparty"].startswith("Bahn")
    )
    names = [each["name"] for each in do("list_beneficiaries")]
    do(
        "pay_beneficiary",
        name=next(n for n in names if n == "Mama"),
        amount=-ticket["amount"],
        subject="Ticket",
    )


@task(
    "Pay Yusuf back what I owe him for petrol from our weekend, a third of what he paid (shared-costs.csv).",
    lambda w: paid(w, "DE88100900002835629001", 23.87),
    source=("files/shared-costs.csv",),
)
def pay_petrol(do: Any) -> None:
    rows = [line.split(",") for line in do("read_file", file_path="shared-costs.csv").splitlines()]
    cost = next(float(row[2]) for row in rows if row[0] == "petrol")
    yusuf = next(each for each in do("list_beneficiaries") if each["name"].startswith("Yusuf"))
    do("send_money", recipient=yusuf["iban"], amount=round(cost / 3, 2), subject="Petrol")


@task(
    "Set up a monthly standing order of 25 EUR to my mother, starting 1 June, 'pocket money Mia'.",
    lambda w: (
        [(each["recipient"], each["amount"]) for each in w.db["standing"][3:]]
        == [("DE15200411110012345600", 25)]
    ),
)
def pocket_money(do: Any) -> None:
    mother = next(each for each in do("list_beneficiaries") if each["name"] == "Mama")
    do(
        "create_standing_order",
        recipient=mother["iban"],
        amount=25,
        subject="pocket money Mia",
        first_date="2026-06-01",
    )


@task(
    "Repeat last month's electricity payment with the amount of this month, date it 6 June.",
    lambda w: paid(w, "DE44500105175407324931", 88, "55-1029"),
)
def repeat_electricity(do: Any) -> None:
    rows = do("get_most_recent_transactions", n=20)
    bill = next(each for each in rows if each["counterparty"].startswith("Stadtwerke"))
    contract = re.search(r"contract ([\d-]+)", bill["subject"])
    assert contract
    do(
        "send_money",
        recipient=bill["iban"],
        amount=-bill["amount"],
        subject=f"Electricity June, contract {contract[1]}",
        date="2026-06-06",
    )


@task(
    "pls switch off sms notifications, they cost me money",
    lambda w: w.db.get("notifications") == {"sms": False},
)
def no_sms(do: Any) -> None:
    do("set_notifications", enabled=False, channel="sms")


@task(
    "My new mobile number is +49 160 5550 992 - please put it in my profile. And is the e-mail there still the postkasten one?",
    lambda w: (
        w.db["profile"]["phone"] == "+49 160 5550 992"
        and w.db["profile"]["email"] == "jonas.weber@postkasten.example"
    ),
)
def new_number(do: Any) -> None:
    do("get_user_info")
    do("update_user_info", phone="+49 160 5550 992")


@task(
    "What did the landlord write to me, and when?",
    lambda _w: True,
)
def what_landlord(do: Any) -> None:
    do("get_messages")
