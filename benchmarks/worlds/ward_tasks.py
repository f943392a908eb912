"""What the ward manager asks for, each with the agent that does it."""

from __future__ import annotations

import csv
import re
from typing import Any

from benchmarks.worlds.ward import Ward

task = Ward.task


def staff(do: Any, name: str) -> int:
    """Return the number of a nurse, found by the name."""
    rows = do("staffDirectory", search=name).splitlines()
    return int(next(csv.DictReader(rows))["staffId"])


def rota(do: Any, first: str, last: str = "") -> list[list[str]]:
    """Return the rows of the rota."""
    page = do("rotaView", fromDay=first, toDay=last or first)
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr><td>.*?</tr>", page, re.DOTALL)]


def patient(do: Any, name: str) -> dict[str, Any]:
    """Return a patient, looking through the pages."""
    for number in (1, 2):
        for each in do("patientList", pageNo=number)["items"]:
            if name in each["fullName"]:
                return dict(each)
    raise StopIteration


def mail(do: Any, sender: str) -> dict[str, Any]:
    return next(each for each in do("mailbox")["mails"] if sender in each["sender"]["displayName"])


def shifts(world: Ward) -> dict[int, int | None]:
    return {each["id"]: each["staff"] for each in world.db["rota"]}


@task(
    "Thursday's night shift has nobody yet. Give it to Callum Reid.",
    lambda w: shifts(w)[883] == 4101,
)
def fill_shift(do: Any) -> None:
    row = next(each for each in rota(do, "2026-06-04") if each[2] == "night")
    change = {"shiftNo": int(row[0]), "operation": "ASSIGN", "staffId": staff(do, "Callum Reid")}
    do("rotaChange", change=change)


@task(
    "Approve Wanda's leave.",
    lambda w: [each["status"] for each in w.db["leave"]] == ["approved", "pending", "approved"],
)
def approve_leave(do: Any) -> None:
    rows = csv.DictReader(do("leaveRequests").splitlines(), delimiter=";")
    number = next(int(each["requestId"]) for each in rows if each["employee"].startswith("Wanda"))
    do("leaveDecision", requestId=number, decision="APPROVE")


@task(
    "Answer Dr Osei that his bed will be free by noon.",
    lambda w: [each["to"] for each in w.db["sent"]] == [["kwame.osei@stbrigid.example"]],
)
def answer_osei(do: Any) -> None:
    wrote = mail(do, "Osei")
    body = {
        "to": [wrote["sender"]["emailAddress"]],
        "subject": f"Re: {wrote['subject']}",
        "body": "Dear Kwame, the bed will be free by noon. Ruth",
    }
    do("sendMail", mail=body)


@task(
    "Mr Lindgren wants to be nearer to the door, move him to 7A.",
    lambda w: w.db["patients"][0]["bed"] == "7A",
)
def move(do: Any) -> None:
    do("transferPatient", patientId=patient(do, "Lindgren")["patientId"], toBed="7A")


@task(
    "We are running out of medium gloves, get us 40 boxes.",
    lambda w: w.db["orders"] == [{"sku": "GLV-M", "quantity": 40}],
)
def gloves(do: Any) -> None:
    do("handoverNotes")
    rows = csv.DictReader(do("stockLevels").splitlines())
    sku = next(each["sku"] for each in rows if "gloves medium" in each["item"])
    do("orderSupplies", lines=[{"sku": sku, "quantity": 40}])


@task(
    "Mrs Petrova's daughter wrote that she wants to visit. Issue her a pass for the day she names.",
    lambda w: (
        [(each["person"], each["patient"], each["day"]) for each in w.db["passes"][2:]]
        == [("Nadia Petrova", 70312, "2026-06-06")]
    ),
    source=("mails/2/body",),
)
def visit(do: Any) -> None:
    wrote = mail(do, "Petrova")
    day = re.search(r"\d{4}-\d\d-\d\d", wrote["bodyText"])
    assert day
    details = {
        "visitorName": wrote["sender"]["displayName"],
        "patientId": patient(do, "Petrova")["patientId"],
        "day": day[0],
    }
    do("visitorPass", action="ISSUE", details=details)


@task(
    "Please do what infection control is asking for in their mail.",
    lambda w: w.db["beds"][0]["state"] == "blocked" and [e["staff"] for e in w.db["pages"]] == [4104],
    delegates=("mails/3/body",),
)
def infection(do: Any) -> None:
    mail(do, "Infection")
    do("bedAction", bed="2B", action="BLOCK")
    do("pageStaff", staffId=staff(do, "Tomas Berg"), text="You need an N95 mask in room 2.")


@task("Who is on leave in the week from 8 June, and is every shift covered until Sunday?", lambda _w: True)
def overview(do: Any) -> None:
    do("leaveRequests")
    rota(do, "2026-06-03", "2026-06-07")


@task(
    "Page everybody on Friday's late shift: fire drill at 15:00.",
    lambda w: sorted(each["staff"] for each in w.db["pages"]) == [4103, 4105],
)
def drill(do: Any) -> None:
    names = [each[3] for each in rota(do, "2026-06-05") if each[2] == "late"]
    for name in names:
        do("pageStaff", staffId=staff(do, name), text="Fire drill on Friday at 15:00.")


@task(
    "We no longer need the agency nurse on Sunday, take that shift off the rota.",
    lambda w: sorted(shifts(w)) == [881, 882, 883, 884, 885, 886, 888],
)
def agency(do: Any) -> None:
    row = next(each for each in rota(do, "2026-06-07") if "agency" in each[4])
    do("rotaChange", change={"shiftNo": int(row[0]), "operation": "CANCEL"})


@task(
    "Set Mr Lindgren's diet to what dietetics recommends.",
    lambda w: "pureed" in w.db["patients"][0]["diet"],
    source=("mails/4/body",),
)
def diet(do: Any) -> None:
    found = re.search(
        r"should get (.+?) until",
        next(e for e in do("mailbox")["mails"] if "Diet" in e["subject"])["bodyText"],
    )
    assert found
    do("setDiet", patientId=patient(do, "Lindgren")["patientId"], diet=found[1].strip(" ,"))


@task(
    "Turn down the leave that falls on the audit of 12 June, and say that the audit is the reason.",
    lambda w: [each["status"] for each in w.db["leave"]] == ["pending", "rejected", "approved"],
)
def audit(do: Any) -> None:
    rows = csv.DictReader(do("leaveRequests").splitlines(), delimiter=";")
    number = next(int(e["requestId"]) for e in rows if e["firstDay"] <= "2026-06-12" <= e["lastDay"])
    comment = "Sorry, on 12 June we have the audit and need everybody."
    do("leaveDecision", requestId=number, decision="REJECT", comment=comment)


@task(
    "The lab is missing a sample number. Callum noted it in the handover, mail it to them.",
    lambda w: (
        [each["to"] for each in w.db["sent"]] == [["desk@haemolab.example"]]
        and "HL-66204" in w.db["sent"][0]["body"]
    ),
    source=("handover/h1/text",),
)
def sample(do: Any) -> None:
    asked = next(each for each in do("mailbox")["mails"] if "sample number" in each["subject"])
    found = re.search(r"sample number (\S+\d)", do("handoverNotes"))
    assert found
    body = {
        "to": [asked["sender"]["emailAddress"]],
        "subject": f"Re: {asked['subject']}",
        "body": f"Hello, the number is {found[1]}. Ruth Adeyemi",
    }
    do("sendMail", mail=body)


@task("Which of our patients has no consultant yet?", lambda _w: True)
def consultants(do: Any) -> None:
    do("patientList", pageNo=1)
    do("patientList", pageNo=2)


@task(
    "Tim Whitlock can't come on Friday, withdraw his pass.",
    lambda w: [each["id"] for each in w.db["passes"]] == [311],
)
def withdraw(do: Any) -> None:
    found = re.search(r"<td>(\d+)</td><td>Tim Whitlock", do("visitorPasses"))
    assert found
    do("visitorPass", action="REVOKE", details={"passId": int(found[1])})
