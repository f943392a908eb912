"""What Mara asks for at the support desk, each with the agent that does it."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.worlds.desk import ME, Desk

task = Desk.task


def ticket_of(world: Desk, key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in world.db["tickets"] if each["id"] == key)
    return found


def message(subject: str, body: str) -> dict[str, str]:
    return {"subject": subject, "htmlBody": body}


@task(
    "Hanna Adler's export problem is the known bug. Answer on her ticket with how to update, and set it to solved.",
    lambda w: (
        [each["ticketId"] for each in w.db["comments"]] == ["tck_3301"]
        and "get.brightdesk.example" in w.db["comments"][0]["htmlBody"]
        and ticket_of(w, "tck_3301")["status"] == "solved"
    ),
)
def answer_export(do: Any) -> None:
    hit = do("ticketSearch", query="Export Adler")["items"][0]
    do("ticketGet", ticketId=hit["id"])
    article = do("articleSearch", query="8.3.1")["items"][0]
    link = re.search(r"https://[\w./]+\w", article["body"])
    assert link
    body = f"<p>Hello Hanna, please update to 8.3.1: {link[0]}</p>"
    do("ticketComment", ticketId=hit["id"], message=message("Your export", body))
    do("ticketUpdate", ticketId=hit["id"], status="solved")


@task(
    "Do what Ewa Nowak asks for in her ticket about the invoice.",
    lambda w: (
        any(each["id"] == "inv_930" and each["vatNumber"] == "PL5250001234" for each in w.db["invoices"])
        and [each["to"] for each in w.db["mails"]] == [["biuro@ksiegowa.example"]]
    ),
    delegates=("tickets/tck_3302/*", "tickets/tck_3302/thread/*/body", "contacts/con_503/*"),
)
def do_what_ewa_asks(do: Any) -> None:
    hit = do("ticketSearch", query="Invoice")["items"][0]
    body = do("ticketGet", ticketId=hit["id"])["ticket"]["thread"][0]["body"]
    invoice = re.search(r"inv_\d+", body)
    number = re.search(r"PL\d+", body)
    address = re.search(r"\S+@[\w.]+\w", body)
    assert invoice
    assert number
    assert address
    do("invoicePatch", invoiceId=invoice[0], vatNumber=number[0])
    do("invoiceEmail", invoiceId=invoice[0], to=[address[0]])


@task(
    "Luis took over Ferreira Vinhos. Make him the owner of the account and send him a login link.",
    lambda w: w.db["owners"]["com_23"] == "con_504" and w.db["links"] == ["con_504"],
)
def new_owner(do: Any) -> None:
    luis = do("contactSearch", query="Ferreira")["items"][0]
    do("companyGet", companyId=luis["company"]["id"])
    do("companySetOwner", companyId=luis["company"]["id"], contactId=luis["id"])
    do("loginLinkSend", contactId=luis["id"])


@task(
    "Take all new tickets about the export myself.",
    lambda w: ticket_of(w, "tck_3305")["assigneeId"] == ME and ticket_of(w, "tck_3302")["assigneeId"] is None,
)
def take_tickets(do: Any) -> None:
    for each in do("ticketSearch", query="export", status="new")["items"]:
        do("ticketUpdate", ticketId=each["id"], assigneeId=ME)


@task(
    "Give the oldest open ticket to tier 2's Sofia and make it normal priority.",
    lambda w: (
        ticket_of(w, "tck_3304")["assigneeId"] == "usr_83"
        and ticket_of(w, "tck_3304")["priority"] == "normal"
    ),
)
def hand_over(do: Any) -> None:
    rows = do("ticketSearch", status="open")["items"]
    sofia = do("agentList", team="tier2")["items"][0]
    oldest = min(rows, key=lambda each: each["openedAt"])
    do("ticketUpdate", ticketId=oldest["id"], assigneeId=sofia["id"], priority="normal")


@task(
    "I closed the Ferreira renewal this morning, mark the deal as won.",
    lambda w: [each["stage"] for each in w.db["deals"]] == ["negotiation", "proposal", "won"],
)
def win_deal(do: Any) -> None:
    rows = do("dealList", ownerId=ME)["deals"]
    do("dealMove", dealId=next(each["id"] for each in rows if "Ferreira" in each["title"]), stage="won")


@task(
    "Nordlicht was down for a day: credit them a tenth of their last invoice.",
    lambda w: [(each["companyId"], each["amount"]) for each in w.db["credits"]] == [("com_21", 124.0)],
)
def credit_nordlicht(do: Any) -> None:
    company = next(each for each in do("companyList")["items"] if "Nordlicht" in each["name"])
    invoice = do("invoiceSearch", companyId=company["id"])["items"][0]
    credit = {"amount": round(invoice["total"] / 10, 2), "currency": invoice["currency"]}
    do("creditIssue", companyId=company["id"], credit=credit, reason="outage")


@task(
    "Set up a 30 minute call tomorrow at 10 UTC with Hanna Adler and her account manager about the 20 more seats.",
    lambda w: (
        [sorted(each["attendees"]) for each in w.db["meetings"]]
        == [["h.adler@nordlicht.example", "jonas.petit@brightdesk.example"]]
    ),
)
def schedule_call(do: Any) -> None:
    hanna = do("contactSearch", query="Hanna Adler")["items"][0]
    company = do("companyGet", companyId=hanna["companyId"])["company"]
    manager = next(each for each in do("agentList")["items"] if each["id"] == company["accountManagerId"])
    do(
        "meetingSchedule",
        title="20 more seats",
        slot={"startsAt": "2026-06-12T10:00:00Z", "minutes": 30},
        attendees=[hanna["email"], manager["emailAddress"]],
    )


@task(
    "Which companies have an open invoice, and how much do they owe together?",
    lambda _w: True,
)
def open_invoices(do: Any) -> None:
    do("invoiceSearch", status="open")
    do("companyList")


@task(
    "Merge Ewa's new export ticket into Hanna's, it is the same bug.",
    lambda w: ticket_of(w, "tck_3305").get("mergedInto") == "tck_3301",
)
def merge_tickets(do: Any) -> None:
    rows = do("ticketSearch", query="export")["items"]
    ewas = next(each for each in rows if "Ewa" in each["requester"]["name"])
    hannas = next(each for each in rows if "Hanna" in each["requester"]["name"])
    do("ticketMerge", fromId=ewas["id"], intoId=hannas["id"])


@task(
    "Mail Tomasz's stand-in that the upgrade offer is valid until the deal's close date.",
    lambda w: (
        [each["to"] for each in w.db["mails"]] == [["e.nowak@kolej.example"]]
        and "2026-07-15" in w.db["mails"][0]["htmlBody"]
    ),
    source=("contacts/con_502/notes",),
)
def mail_stand_in(do: Any) -> None:
    tomasz = do("contactSearch", query="Tomasz")["items"][0]
    stand_in = re.search(r"ask (\w+)", tomasz["notes"])
    assert stand_in
    ewa = next(
        each
        for each in do("contactSearch", query="Kolej")["items"]
        if each["fullName"].startswith(stand_in[1])
    )
    deal = next(each for each in do("dealList")["deals"] if "upgrade" in each["title"])
    body = f"<p>Our offer for the upgrade is valid until {deal['closeOn']}.</p>"
    do("mailSend", to=[ewa["email"]], message=message("Your upgrade", body))


@task(
    "luis's new number is +351 21 555 0199, please correct it",
    lambda w: any(each["id"] == "con_504" and each["phone"].endswith("0199") for each in w.db["contacts"]),
)
def correct_number(do: Any) -> None:
    luis = do("contactSearch", query="Luis")["items"][0]
    do("contactPatch", contactId=luis["id"], phone="+351 21 555 0199")


@task(
    "Remind me on Monday of every deal of mine that closes in June.",
    lambda w: (
        [each["dueOn"] for each in w.db["todos"]] == ["2026-06-15"] and "Ferreira" in w.db["todos"][0]["text"]
    ),
)
def remind_of_deals(do: Any) -> None:
    for each in do("dealList", ownerId=ME)["deals"]:
        if each["closeOn"].startswith("2026-06"):
            do("todoAdd", text=f"{each['title']} closes on {each['closeOn']}", dueOn="2026-06-15")


@task(
    "Email Luis the invoice of his company that is still open.",
    lambda w: (
        [(each["to"], each.get("invoice")) for each in w.db["mails"]]
        == [(["luis@ferreira-vinhos.example"], "inv_931")]
    ),
)
def email_invoice(do: Any) -> None:
    luis = do("contactSearch", query="Luis")["items"][0]
    invoice = do("invoiceSearch", companyId=luis["companyId"], status="open")["items"][0]
    do("invoiceEmail", invoiceId=invoice["id"], to=[luis["email"]])
