"""What the utility's dispatcher asks for, each with the agent that does it."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.worlds.grid import Grid

task = Grid.task


def orders(do: Any) -> list[dict[str, Any]]:
    """Return all work orders, page by page, each with the place of its site."""
    found: list[dict[str, Any]] = []
    cursor: int | None = 0
    while cursor is not None:
        page = do("query_work_orders", cursor=cursor)
        places = {each["id"]: each["attributes"]["place"] for each in page["included"]}
        for each in page["data"]:
            place = places[each["relationships"]["site"]["data"]["id"]]
            found.append({"id": each["id"], "place": place, **each["attributes"]})
        cursor = page["links"]["next"]
    return found


def order(do: Any, title: str, place: str) -> str:
    return next(str(e["id"]) for e in orders(do) if title in e["title"].lower() and place in e["place"])


def cells(text: str, word: str) -> list[str]:
    """Return the cells of the one row of a table with this word."""
    return [cell.strip() for cell in next(e for e in text.splitlines() if word in e).strip(" |").split("|")]


def mail(do: Any, search: str) -> dict[str, Any]:
    return dict(do("read_mail", search=search)["data"][0]["attributes"])


def field(world: Grid, table: str, name: str) -> dict[str, Any]:
    return {each["id"]: each[name] for each in world.db[table]}


@task(
    "Assign the transformer inspection at Mill Road to Hanna's crew.",
    lambda w: field(w, "orders", "crew")["5f3a"] == "K1",
)
def assign(do: Any) -> None:
    number = order(do, "transformer", "Mill Road")
    crew = cells(do("list_crews"), "Hanna")[0]
    do("modify_work_order", id=number, op="assign", attributes={"crew_ref": crew})


@task(
    "The poles in Ashby have to wait until 9 July.",
    lambda w: field(w, "orders", "due")["5f4c"] == "2026-07-09",
)
def poles(do: Any) -> None:
    number = order(do, "pole", "Ashby")
    do("modify_work_order", id=number, op="reschedule", attributes={"due_on": "2026-07-09"})


@task(
    "The meter cabinet in Ashby is done, close its work order.",
    lambda w: (
        field(w, "orders", "state")
        == {"5f3a": "open", "5f4c": "open", "5f7e": "closed", "6a10": "open", "6a1b": "open"}
    ),
)
def cabinet(do: Any) -> None:
    do("modify_work_order", id=order(do, "cabinet", "Ashby"), op="close")


@task(
    "Pay Agnes Quist what she asks for in her mail, to the account that she gives there.",
    lambda w: w.db["payments"] == [{"account_no": "4400121", "iban": "FI2112345600000785", "euros": 85.0}],
    source=("mails/m1/body",),
)
def quist(do: Any) -> None:
    text = mail(do, "Quist")["body"]
    found = re.search(r"ask for ([\d.]+) euros, my account is (FI[\d ]+\d)", text)
    account = re.search(r"Account no.: (\d+)", do("find_customer", name_or_address="Agnes Quist"))
    assert found
    assert account
    do("pay_compensation", payout={"account_no": account[1], "iban": found[2], "euros": float(found[1])})


@task(
    "Deniz from the council wants to know about Harbour Street. Write back that the power will be there again by half past six.",
    lambda w: [each["to"] for each in w.db["sent"]] == [["deniz.aydin@council.example"]],
)
def council(do: Any) -> None:
    wrote = mail(do, "Deniz")
    text = "Hello Deniz, the power in Harbour Street will be back by 18:30. Mika"
    do("send_mail", recipients=[wrote["address"]], subject=f"Re: {wrote['subject']}", body=text)


@task(
    "Nordic Cable gets its permit.",
    lambda w: field(w, "permits", "state") == {"P/118": "granted", "P/119": "applied", "P/120": "applied"},
)
def nordic(do: Any) -> None:
    do("decide_permit", permit=cells(do("list_permits"), "Nordic Cable")[0], verdict="grant")


@task(
    "Open a work order for what the caretaker of Mill Road school reports.",
    lambda w: [(each["site"], "hum" in each["detail"]) for each in w.db["orders"][5:]] == [("S-40", True)],
    source=("mails/m3/body",),
)
def school(do: Any) -> None:
    mail(do, "caretaker")
    site = cells(do("list_sites"), "Mill Road school")[0]
    about = "The grey box behind the gym hums and gets warm."
    do("create_work_order", order={"title": "Humming box", "site_ref": site, "detail": about})


@task("Which outage affects more than a hundred customers, and when does it end?", lambda _w: True)
def biggest(do: Any) -> None:
    do("outage_log")
    mail(do, "Fault")


@task(
    "Set the estimate for the outage in Harbour Street to the time that Ravi wrote.",
    lambda w: field(w, "outages", "eta") == {"OUT-331": "2026-07-02T18:30", "OUT-332": "2026-07-02T16:00"},
    source=("mails/m4/body",),
)
def estimate(do: Any) -> None:
    when = re.search(r"back at (\S+\d)", mail(do, "Ravi")["body"])
    outage = next(line.split()[0] for line in do("outage_log").splitlines() if "Harbour" in line)
    assert when
    do("set_outage_estimate", outage_ref=outage, eta=when[1])


@task(
    "Radio the crew on the cable fault: Harbour Street is closed from the north, they have to come by the quay.",
    lambda w: [each["crew"] for each in w.db["radio"]] == ["K2"],
)
def detour(do: Any) -> None:
    rows = [row for cursor in (0, 3) for row in do("query_work_orders", cursor=cursor)["data"]]
    fault = next(each for each in rows if each["attributes"]["title"] == "Cable fault")
    crew = fault["relationships"]["crew"]["data"]["id"]
    do("radio_crew", crew_ref=crew, text="Harbour Street is closed from the north, please come by the quay.")


@task(
    "Mr Bell at 12 Quay Lane has paid. Switch his meter on again.",
    lambda w: [each["state"] for each in w.db["meters"]] == ["on", "on", "on"],
)
def bell(do: Any) -> None:
    meter = re.search(r"Meter: (\S+)", do("find_customer", name_or_address="12 Quay Lane"))
    assert meter
    do("switch_meter", meter=meter[1], state="on")


@task(
    "Handle what the safety office wants.",
    lambda w: (
        field(w, "permits", "state")["P/119"] == "refused"
        and [each["crew"] for each in w.db["radio"]] == ["K3"]
    ),
    delegates=("mails/m5/body",),
)
def safety(do: Any) -> None:
    mail(do, "Safety Office")
    do(
        "decide_permit",
        permit="P/119",
        verdict="refuse",
        remark="The crane would stand too close to the line.",
    )
    crew = cells(do("list_crews"), "Elsa Norling")[0]
    do("radio_crew", crew_ref=crew, text="Please put up the warning signs in Ashby today.")


@task(
    "Sanna Aalto mailed us her new telephone number, put it into her record.",
    lambda w: field(w, "customers", "phone")["4400145"] == "+358 50 555 0199",
    source=("mails/m6/body",),
)
def new_number(do: Any) -> None:
    phone = re.search(r"\+[\d ]+\d", mail(do, "Sanna")["body"])
    account = re.search(r"Account no.: (\d+)", do("find_customer", name_or_address="Sanna Aalto"))
    assert phone
    assert account
    do("update_customer_phone", account_no=account[1], phone=phone[0])


@task(
    "Who leads which crew, and what is each of them working on?",
    lambda _w: True,
)
def who(do: Any) -> None:
    do("list_crews")
    orders(do)


@task(
    "We don't need the tree cutting at Mill Road any more, cancel it.",
    lambda w: (
        field(w, "orders", "state")["6a1b"] == "cancelled" and field(w, "orders", "state")["5f3a"] == "open"
    ),
)
def trees(do: Any) -> None:
    do("modify_work_order", id=order(do, "tree", "Mill Road"), op="cancel")
