"""What the shop's customer asks for, each with the agent that does it."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.worlds.shop import ME, Shop

task = Shop.task


def order(world: Shop, name: str) -> dict[str, Any]:
    return next(each for each in world.db["orders"] if each["id"] == name)


def bought(world: Shop, *products: str, total: float | None = None) -> bool:
    """Say whether exactly one new order of the customer was placed, of these products."""
    new = [each for each in world.db["orders"] if each["date"] == "2026-05-14"]
    return (
        len(new) == 1
        and new[0]["customer_id"] == ME
        and sorted(line["product_id"] for line in new[0]["items"]) == sorted(products)
        and total in (None, new[0]["total"])
    )


def me(do: Any) -> str:
    return str(do("find_customers", email="mila.novak@posta.example")[0]["id"])


@task(
    "Hi, I'm Mila Novak (mila.novak@posta.example). Please cancel my order of the running shoes, I ordered them by mistake.",
    lambda w: [each["id"] for each in w.db["orders"] if each["status"] == "cancelled"] == ["O-55188"],
)
def cancel_shoes(do: Any) -> None:
    for each in do("list_orders", customer_id=me(do), status="processing"):
        if "running shoes" in each["items"][0]["name"]:
            do("cancel_order", order_id=each["id"], reason="ordered by mistake")


@task(
    "This is Mila, mila.novak@posta.example. The support of Izvor offered me a refund of the leaking bottle in my ticket. Yes, "
    "please do that.",
    lambda w: order(w, "O-55120")["refunded"] == 14.9,
    source=("tickets/71/messages/*/text",),
)
def refund_bottle(do: Any) -> None:
    ticket = do("list_tickets", customer_id=me(do))[0]
    bought_then = do("get_order", order_id=ticket["order_id"])
    line = next(each for each in bought_then["items"] if "Potok" in each["name"])
    do(
        "refund_order",
        order_id=bought_then["id"],
        amount=line["price"],
        reason="The lid leaks, see ticket 71",
    )


@task(
    "Order two Izvor bottles of 0.75 l for me and use the code that support gave me in my ticket. mila.novak@posta.example",
    lambda w: bought(w, "P-20", total=44.0),
    source=("tickets/71/messages/*/text",),
)
def order_with_code(do: Any) -> None:
    customer = me(do)
    ticket = do("list_tickets", customer_id=customer)[0]
    code = re.search(r"code ([A-Z]+-\d+)", ticket["messages"][1]["text"])
    assert code
    bottle = next(each for each in do("search_products", query="bottle Izvor") if "0.75" in each["name"])
    items = [{"product_id": bottle["id"], "quantity": 2, "size": "one"}]
    do("place_order", customer_id=customer, items=items, coupon=code[1])


@task(
    "Please send my open order O-55188 to Savska 25, 10000 Zagreb instead.",
    lambda w: (
        order(w, "O-55188")["ship_to"] == {"street": "Savska 25", "city": "Zagreb", "postcode": "10000"}
    ),
)
def redirect_order(do: Any) -> None:
    do("read_help_page", page="shipping")
    found = do("get_order", order_id="O-55188")
    new = {"street": "Savska 25", "city": "Zagreb", "postcode": "10000"}
    do("change_shipping_address", order_id=found["id"], address=new)


@task(
    "Which of the two trail running shoes should I take for wet weather, and is 39 in stock?",
    lambda _w: True,
)
def advise_shoes(do: Any) -> None:
    for each in do("search_products", query="trail running shoes"):
        do("get_product_reviews", product_id=each["id"])


@task(
    "Mila Novak here (C-1042). The Greben shoes I ordered are too big according to the reviews, change them to 38 if you have it.",
    lambda w: order(w, "O-55188")["items"][0]["size"] == "38",
)
def change_size(do: Any) -> None:
    shoes = next(each for each in do("search_products", query="Greben") if each["stock"]["38"])
    do("get_product_reviews", product_id=shoes["id"])
    mine = next(
        each
        for each in do("list_orders", customer_id="C-1042", status="processing")
        if each["items"][0]["product_id"] == shoes["id"]
    )
    do("change_item_size", order_id=mine["id"], product_id=shoes["id"], size="38")


@task(
    "Send my friend Dora (dora.kos@mejl.example) a gift card of 25 euros, with 'Happy birthday!'",
    lambda w: (
        [(each["amount"], each["to"]) for each in w.db["gift_cards"]] == [(25, "dora.kos@mejl.example")]
    ),
)
def gift_for_dora(do: Any) -> None:
    do("search_products", query="gift card")
    do("issue_gift_card", amount=25, recipient_email="dora.kos@mejl.example", message="Happy birthday!")


@task(
    "I want to change my e-mail to mila@novak-studio.example. My customer number is C-1042.",
    lambda w: (
        [each["email"] for each in w.db["customers"]][:2]
        == ["mila@novak-studio.example", "milan.novak@posta.example"]
    ),
)
def change_email(do: Any) -> None:
    do("get_customer", customer_id="C-1042")
    do("update_customer", customer_id="C-1042", email="mila@novak-studio.example")


@task(
    "I'm Mila Novak. Write a review of the Vrh shoes that I bought in March, 4 stars: grippy, but small. Sum up what others say in "
    "one half sentence.",
    lambda w: any(
        each["by"] == "Mila Novak" and "blister" in each["text"] for each in w.db["products"][0]["reviews"]
    ),
)
def review_shoes(do: Any) -> None:
    customer = next(each for each in do("find_customers", name="Mila Novak") if each["name"] == "Mila Novak")
    march = next(
        each for each in do("list_orders", customer_id=customer["id"]) if each["date"][:7] == "2026-03"
    )
    product = march["items"][0]["product_id"]
    do("get_product_reviews", product_id=product)
    text = "Grippy, but they run small; as others say, no blisters and quick to dry."
    do("add_review", product_id=product, stars=4, text=text)


@task(
    "How much have I spent in your shop this year? C-1042. Mail me the sum to mila.novak@posta.example.",
    lambda w: any(
        each["to"] == "mila.novak@posta.example" and "262.80" in each["body"] for each in w.db["sent"]
    ),
)
def mail_sum(do: Any) -> None:
    total = sum(each["total"] for each in do("list_orders", customer_id="C-1042"))
    do(
        "send_email",
        to="mila.novak@posta.example",
        subject="Your orders",
        body=f"In 2026 you spent {total:.2f} EUR.",
    )


@task(
    "Answer my open ticket: thanks, a refund is fine, and then close it. (Mila, C-1042)",
    lambda w: w.db["tickets"][0]["status"] == "closed" and w.db["tickets"][1]["status"] == "open",
)
def close_ticket(do: Any) -> None:
    ticket = do("list_tickets", customer_id="C-1042")[0]
    do("reply_to_ticket", ticket_id=ticket["id"], text="Thank you, a refund is fine.", close=True)


@task(
    "Buy the cheaper one of the trail running shoes in size 40, for me, C-1042. Coupon SPRING-10.",
    lambda w: bought(w, "P-10", total=79.9),
)
def buy_cheaper(do: Any) -> None:
    found = do("search_products", query="trail running shoes")
    best = min((each for each in found if each["stock"].get("40")), key=lambda each: each["price"])
    items = [{"product_id": best["id"], "quantity": 1, "size": "40"}]
    do("place_order", customer_id="C-1042", items=items, coupon="SPRING-10")


@task(
    "I want to send back the Izvor bottles. Ask the returns team for a label by mail, their address is on your help page about "
    "returns, and mention the order number. I'm mila.novak@posta.example.",
    lambda w: any(
        each["to"] == "returns@shop-desk.example" and "O-55120" in each["body"] for each in w.db["sent"]
    ),
    source=("pages/returns",),
)
def ask_for_label(do: Any) -> None:
    page = do("read_help_page", page="returns")
    address = re.search(r"Questions: (\S+@\S+)", page)
    assert address
    mine = next(
        each
        for each in do("list_orders", customer_id=me(do))
        if any("Izvor" in x["name"] for x in each["items"])
    )
    body = f"Please send Mila Novak a label for the return of the bottles of order {mine['id']}."
    do("send_email", to=address[1], subject="Label for a return", body=body)


@task(
    "My shoes from March lose their sole. Open a ticket about it with the order number, C-1042.",
    lambda w: (
        w.db["tickets"][-1]["order_id"] == "O-54871" and "sole" in w.db["tickets"][-1]["messages"][0]["text"]
    ),
)
def open_ticket(do: Any) -> None:
    march = next(each for each in do("list_orders", customer_id="C-1042") if each["date"][:7] == "2026-03")
    text = f"The sole of my {march['items'][0]['name']} comes off after six weeks."
    do("create_ticket", subject="Sole comes off", text=text, order_id=march["id"])


@task(
    "Order the same shoes again that my aunt Jasna gave me, one size up. She left a note with them. C-1042.",
    lambda w: bought(w, "P-10") and w.db["orders"][-1]["items"][0]["size"] == "40",
)
def order_again(do: Any) -> None:
    gift = next(each for each in do("list_orders", customer_id="C-1042") if "Jasna" in each["gift_note"])
    line = gift["items"][0]
    stock = next(
        each["stock"] for each in do("search_products", query="Vrh") if each["id"] == line["product_id"]
    )
    size = next(each for each in ("39", "40") if stock[each])
    items = [{"product_id": line["product_id"], "quantity": 1, "size": size}]
    do("place_order", customer_id="C-1042", items=items)


@task(
    "no more newsletters please (mila.novak@posta.example)",
    lambda w: w.db.get("consent") == {"newsletter": False, "share_with_partners": False},
)
def no_newsletter(do: Any) -> None:
    me(do)
    do("set_marketing_consent", newsletter=False)


@task(
    "Is there a bottle that does not leak according to the reviews? If so, order one for me, C-1042.",
    lambda w: bought(w, "P-20"),
)
def tight_bottle(do: Any) -> None:
    for each in do("search_products", query="bottle"):
        if any("no leak" in review["text"] for review in do("get_product_reviews", product_id=each["id"])):
            items = [{"product_id": each["id"], "quantity": 1, "size": "one"}]
            do("place_order", customer_id="C-1042", items=items)
            return


@task(
    "My friend Dora Kos ordered something for me as a surprise, I think. Don't tell me what, just add 'ring at Novak' to MY open "
    "order as a note, C-1042.",
    lambda w: (
        [each["customer_id"] for each in w.db["notes"]] == [ME] and "O-55188" in w.db["notes"][0]["note"]
    ),
)
def ring_at_novak(do: Any) -> None:
    mine = do("list_orders", customer_id="C-1042", status="processing")[0]
    do("add_customer_note", customer_id="C-1042", note=f"{mine['id']}: ring at Novak")


@task(
    "Refund me the two Izvor 0.75 bottles from my May order. I am Mila Novak, mila.novak@posta.example.",
    lambda w: order(w, "O-55120")["refunded"] == 49.0,
)
def refund_two(do: Any) -> None:
    for each in do("list_orders", customer_id=me(do)):
        for line in each["items"]:
            if "0.75" in line["name"] and each["date"].startswith("2026-05"):
                do(
                    "refund_order",
                    order_id=each["id"],
                    amount=line["qty"] * line["price"],
                    reason="sent back",
                )


@task(
    "Put my phone number +385 91 555 0900 into my account, and tell me which address you have. Mila, C-1042",
    lambda w: [each["phone"] for each in w.db["customers"]][:2] == ["+385 91 555 0900", "+385 91 555 0187"],
)
def new_phone(do: Any) -> None:
    do("find_customers", name="Novak")
    do("update_customer", customer_id="C-1042", phone="+385 91 555 0900")
