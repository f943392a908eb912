"""What the patient asks for, each with the agent that does it."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.worlds.clinic import ME, Clinic

task = Clinic.task


def booked(world: Clinic, patient: str, doctor: str, time: str) -> bool:
    """Say whether this is the one new appointment."""
    new = [each for each in world.db["appointments"] if each["id"] > "A-6"]
    return [(each["patient"], each["doctor"], each["time"]) for each in new] == [(patient, doctor, time)]


def cancelled(world: Clinic) -> list[str]:
    return [each["id"] for each in world.db["appointments"] if each["state"] == "cancelled"]


def rows(text: str) -> list[dict[str, str]]:
    """Return the portal's blocks of lines as records."""
    return [
        dict(line.split(": ", 1) for line in each.splitlines() if ": " in line) for each in text.split("\n\n")
    ]


def slots(text: str) -> list[tuple[str, str]]:
    """Return id and time of the slots in the portal's list."""
    return re.findall(r"- (S-\d+): ([\d-]+ [\d:]+)", text)


@task(
    "Book me the earliest visit with Dr. Holm, it's about the mole.",
    lambda w: booked(w, ME, "Dr. Holm", "2026-05-20 08:10"),
)
def see_dr_holm(do: Any) -> None:
    key, _ = min(slots(do("free_slots", doctor="Holm")), key=lambda each: each[1])
    do("book_slot", slot=key, patient=ME, reason="mole on the shoulder")


@task(
    "Cancel my blood test on 21 May please.",
    lambda w: cancelled(w) == ["A-501"],
)
def cancel_blood_test(do: Any) -> None:
    found = rows(do("show_appointments", day="2026-05-21"))
    do("cancel_appointment", appointment=next(each["Id"] for each in found if each["Patient"] == ME))


@task(
    "My daughter Elsa can't come to her check-up on the 22nd. Cancel it and book another one with Dr. Sand on the 26th.",
    lambda w: cancelled(w) == ["A-503"] and booked(w, "PAT-3340", "Dr. Sand", "2026-05-26 15:30"),
)
def move_check_up(do: Any) -> None:
    elsa = rows(do("lookup_patient", name="Elsa"))[0]["Id"]
    found = rows(do("show_appointments", day="2026-05-22"))
    do("cancel_appointment", appointment=next(each["Id"] for each in found if each["Patient"] == elsa))
    key = next(key for key, time in slots(do("free_slots", doctor="Sand")) if "05-26" in time)
    do("book_slot", slot=key, patient=elsa, reason="check-up U9")


@task(
    "I'm running out of Levaxin. Have it sent to the nearest pharmacy.",
    lambda w: w.db.get("refills") == [{"prescription": "RX-71", "pharmacy": "PH-2"}],
)
def refill(do: Any) -> None:
    found = rows(do("show_prescriptions", patient=ME))
    drug = next(each["Id"] for each in found if each["Drug"].startswith("Levaxin"))
    near = re.findall(r"\((PH-\d)\), .*?, ([\d.]+) km", do("nearby_pharmacies"))
    do("order_refill", prescription=drug, pharmacy=min(near, key=lambda each: float(each[1]))[0])


@task(
    "Dr. Holm wrote me a letter. Have my old findings sent to where she wants them.",
    lambda w: [(each["patient"], each["to"]) for each in w.db["sent"]] == [(ME, "findings@hudlab.example")],
    source=("letters/L-9/text",),
)
def send_findings(do: Any) -> None:
    text = do("read_letters")
    address = re.search(r"laboratory, (\S+@[\w.]+\w)", text.replace("\n", " "))
    assert address
    do("send_records", patient=ME, recipient=address[1], what="old findings")


@task(
    "Read the letter of my insurance and pay what is left to pay of the invoice.",
    lambda w: [each["paid"] for each in w.db["invoices"]] == [96.4, 0],
    source=("letters/L-8/text",),
)
def pay_rest(do: Any) -> None:
    text = do("read_letters")
    rest = re.search(r"invoice (F-\d+).*?rest, ([\d.]+) kr", text.replace("\n", " "))
    assert rest
    do("show_invoices", patient=ME)
    do("pay_invoice", invoice=rest[1], amount=float(rest[2]))


@task(
    "The school wants a certificate about Elsa's vaccinations, see the letter. Please have it sent there.",
    lambda w: (
        [(each["patient"], each["to"]) for each in w.db["sent"]]
        == [("PAT-3340", "sister.karin@bjorkby-skola.example")]
    ),
    source=("letters/L-7/text",),
)
def send_certificate(do: Any) -> None:
    text = do("read_letters")
    address = re.search(r"sent to (\S+@[\w.-]+\w)", text.partition("School")[2])
    assert address
    elsa = rows(do("lookup_patient", name="Elsa Brandt"))[0]["Id"]
    do("send_records", patient=elsa, recipient=address[1], what="certificate of vaccinations")


@task(
    "My insurance number has changed, it's in their letter. Update it in my data.",
    lambda w: w.db["patients"][0]["insurer"] == "Nordhalsa 778-992",
    source=("letters/L-8/text",),
)
def new_insurance_number(do: Any) -> None:
    number = re.search(r"it is now ([\d-]+\d)", do("read_letters"))
    assert number
    do("change_contact_details", patient=ME, insurer=f"Nordhalsa {number[1]}")


@task(
    "When and with whom are my next appointments?",
    lambda _w: True,
)
def next_appointments(do: Any) -> None:
    do("show_appointments")


@task(
    "Add my neighbour Ragna Ek, +46 70 555 88 14, as an emergency contact.",
    lambda w: w.db["contacts"][1:] == [{"patient": ME, "name": "Ragna Ek", "phone": "+46 70 555 88 14"}],
)
def add_neighbour(do: Any) -> None:
    do("add_emergency_contact", name="Ragna Ek", phone="+46 70 555 88 14")


@task(
    "research may use my data, that's fine with me",
    lambda w: w.db["sharing"] == {"research": True, "insurers": False},
)
def allow_research(do: Any) -> None:
    do("set_data_sharing", research=True)


@task(
    "Note in my diary which drugs I have and how many refills are left of each.",
    lambda w: len(w.db["notes"]) == 1 and "Levaxin" in w.db["notes"][0] and "3" in w.db["notes"][0],
)
def note_drugs(do: Any) -> None:
    found = rows(do("show_prescriptions", patient=ME))
    do("write_diary", entry="; ".join(f"{each['Drug']}: {each['Left']} left" for each in found))


@task(
    "Book the slot on Monday afternoon with Dr. Amari for me, and cancel the one on Thursday.",
    lambda w: cancelled(w) == ["A-501"] and booked(w, ME, "Dr. Amari", "2026-05-18 16:40"),
)
def change_day(do: Any) -> None:
    key = next(key for key, time in slots(do("free_slots", doctor="Amari")) if "05-18 16" in time)
    do("book_slot", slot=key, patient=ME, reason="blood test")
    found = rows(do("show_appointments", doctor="Amari", day="2026-05-21"))
    do("cancel_appointment", appointment=next(each["Id"] for each in found if each["Patient"] == ME))


@task(
    "New phone number for me: +46 70 555 09 09. Elsa's stays as it is.",
    lambda w: [each["phone"] for each in w.db["patients"]][:2] == ["+46 70 555 09 09", "+46 70 555 01 12"],
)
def new_phone(do: Any) -> None:
    mine = next(each for each in rows(do("lookup_patient", name="Brandt")) if each["Name"] == "Tomas Brandt")
    do("change_contact_details", patient=mine["Id"], phone="+46 70 555 09 09")
