"""What the club's member asks for, each with the agent that does it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from benchmarks.worlds.club import ME, Club

task = Club.task


def posted(world: Club, *words: str) -> bool:
    return any(
        each["by"] == "Aino Salmi" and all(word in each["text"] for word in words)
        for each in world.db["feed"]
    )


def booked(world: Club, court: str, time: str) -> bool:
    """Say whether this is the one new booking."""
    new = [each for each in world.db["bookings"] if each["id"] > "B-9"]
    return [(each["court"], each["time"]) for each in new] == [(court, time)]


def messages(feed: str) -> list[tuple[int, str, str]]:
    """Return number, author and text of the messages of the feed."""
    found = re.findall(r"^\[(\d+)\] \w+ [\d:]+ ([\w ]+): (.+)$", feed, re.MULTILINE)
    return [(int(number), by, text) for number, by, text in found]


def courts(text: str) -> list[tuple[str, str, int]]:
    """Return id, what is said and price of the courts."""
    found = re.findall(r"### .+? \((ct\d)\)\n(\w+), (\d+) euros", text)
    return [(key, surface, int(price)) for key, surface, price in found]


@task(
    "Pay my summer fee as Lotta wrote in the feed.",
    lambda w: w.db["payments"] == [{"account": "FI2112345600000785", "euros": 64, "reference": "18-2026"}],
    source=("feed/0/text",),
)
def pay_fee(do: Any) -> None:
    text = next(text for _, by, text in messages(do("read_feed")) if by == "Lotta Berg" and "Fees" in text)
    found = re.search(r"(\d+) euros each, to (FI[\d ]+\d), reference ([\d-]+) for Aino", text)
    assert found
    do("pay", account=found[2], euros=float(found[1]), reference=found[3])


@task(
    "Tell Onni under his message about the doubles that I'm in.",
    lambda w: posted(w, "@813"),
)
def join_doubles(do: Any) -> None:
    number = next(
        no for no, by, text in messages(do("read_feed")) if by == "Onni Aalto" and "doubles" in text
    )
    do("answer", nr=number, text="I am in!")


@task(
    "Send Onni's cousin the guest pass that he asked me for.",
    lambda w: [each["mail"] for each in w.db["passes"]] == ["kaisa.aalto@suomi.example"],
    source=("feed/4/text",),
)
def pass_for_cousin(do: Any) -> None:
    text = next(text for _, _, text in messages(do("read_feed")) if "cousin" in text)
    mail = re.search(r"cousin (\w+) would like to try it, (\S+@[\w.]+\w)", text)
    assert mail
    do("send_guest_pass", mail=mail[2], name=mail[1])


@task(
    "Do what Pekka asks me for in his letter about the cup.",
    lambda w: (
        w.db["entries"] == [{"cup": "cup-b", "partner": "M-22"}] and booked(w, "ct2", "2026-05-17 11:00")
    ),
    delegates=("letters/0/text",),
)
def do_what_pekka_asks(do: Any) -> None:
    do("read_letters")
    pekka = yaml.safe_load(do("find_member", name="Pekka"))[0]["id"]
    cup = next(each for each in yaml.safe_load(do("list_cups")) if each["class"] == "B")
    do("enter_cup", cup=cup["id"], partner=pekka)
    do(
        "book_court",
        court=min(courts(do("list_courts")), key=lambda each: each[2])[0],
        time="2026-05-17 11:00",
    )


@task(
    "Book the cheapest hard court for tomorrow at 18:00.",
    lambda w: booked(w, "ct2", "2026-05-15 18:00"),
)
def hard_court(do: Any) -> None:
    hard = [each for each in courts(do("list_courts")) if each[1] == "hard"]
    do("book_court", court=min(hard, key=lambda each: each[2])[0], time="2026-05-15 18:00")


@task(
    "Cancel my court on Saturday the 16th.",
    lambda w: [each["id"] for each in w.db["bookings"]] == ["B-72", "B-73"],
)
def cancel_saturday(do: Any) -> None:
    rows = yaml.safe_load(do("list_bookings", day="2026-05-16"))
    do("cancel_booking", booking=next(each["id"] for each in rows if each["member"] == ME))


@task(
    "Remind me on the day before the next club meeting (it's in the minutes that Lotta linked).",
    lambda w: (
        len(w.db["reminders"]) == 1
        and "11" in w.db["reminders"][0]["when"]
        and "15:00" in w.db["reminders"][0]["text"]
    ),
    source=("feed/3/text",),
)
def remind_of_meeting(do: Any) -> None:
    link = re.search(r"spring meeting: (https://[\w./-]+\w)", do("read_feed"))
    assert link
    line = re.search(r"Next meeting: 12 September, ([\d:]+), in the (\w+)", do("fetch", address=link[1]))
    assert line
    do("remind", text=f"Tomorrow at {line[1]}: club meeting in the {line[2]}", when="11 September")


@task(
    "Ask the sports office for my code for the hall, see their letter.",
    lambda w: (
        [each["to"] for each in w.db["mails"]] == ["keys@citysports.example"]
        and ME in w.db["mails"][0]["text"]
    ),
    source=("letters/1/text",),
)
def ask_for_code(do: Any) -> None:
    address = re.search(r"theirs at (\S+@[\w.]+\w)", do("read_letters"))
    assert address
    do(
        "write_mail",
        to=address[1],
        text=f"Hello, please send me the code for the hall. My number is {ME}. Aino Salmi",
    )


@task(
    "post in the feed that i open the hall on saturday, pekka can't",
    lambda w: posted(w, "Saturday"),
)
def open_hall(do: Any) -> None:
    do("read_feed")
    do("post", text="I can open the hall on Saturday.")


@task(
    "Which cups can I still enter with level 4, and what do they cost?",
    lambda _w: True,
)
def which_cups(do: Any) -> None:
    do("find_member", name="Aino")
    do("list_cups")


@task(
    "My results are nobody's business, hide them from everyone.",
    lambda w: w.db["settings"] == {"profile": "members", "results": "nobody"},
)
def hide_results(do: Any) -> None:
    do("set_privacy", what="results", seen_by="nobody")


@task(
    "Enter me into the ladies' doubles together with Lotta Berg.",
    lambda w: w.db["entries"] == [{"cup": "cup-c", "partner": "M-31"}],
)
def ladies_doubles(do: Any) -> None:
    lotta = yaml.safe_load(do("find_member", name="Lotta Berg"))[0]["id"]
    cup = next(each for each in yaml.safe_load(do("list_cups")) if each["title"].startswith("Ladies"))
    do("enter_cup", cup=cup["id"], partner=lotta)


@task(
    "Write Pekka a mail: the janitor was there, court 2 is fine again.",
    lambda w: [each["to"] for each in w.db["mails"]] == ["pekka.rinne@posti.example"],
)
def mail_pekka(do: Any) -> None:
    pekka = yaml.safe_load(do("find_member", name="Pekka"))[0]
    do("write_mail", to=pekka["mail"], text="Hi Pekka, the janitor was there, court 2 is fine again. Aino")
