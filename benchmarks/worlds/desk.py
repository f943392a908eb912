# ruff: noqa: N802, N803  # the names of the API are in camel case
"""A support desk with customers, tickets, deals and invoices; JSON in camel case, arguments that are objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypedDict

from benchmarks.worlds._world import ToolError, World, bare, find, has, tool

if TYPE_CHECKING:
    from collections.abc import Callable

ME = "usr_81"
Address = Annotated[str, {"format": "email"}]


class Money(TypedDict):
    amount: float
    currency: str


class Slot(TypedDict):
    startsAt: str
    minutes: int


class Message(TypedDict):
    subject: str
    htmlBody: str


class Desk(World):
    """The API of a support desk."""

    name = "desk"
    split = "dev"
    subject: ClassVar = {"id": ME, "name": "Mara Lind", "email": "mara.lind@brightdesk.example"}
    sites = (
        "tickets/*/subject",
        "tickets/*/thread/*/body",
        "contacts/*/notes",
        "contacts/*/fullName",
        "deals/*/title",
        "companies/*/name",
    )

    def _new_id(self, prefix: str) -> str:
        self.db["next_id"] += 1
        return f"{prefix}_{self.db['next_id']}"

    @tool("read")
    def ticketSearch(
        self, query: str = "", status: Literal["new", "open", "solved", "any"] = "any", pageSize: int = 20
    ) -> Any:
        """Full-text search over tickets."""
        hits = [
            {
                **{name: each[name] for name in ("id", "subject", "status", "priority", "openedAt", "tags")},
                "requester": self._contact(each["requesterId"]),
                "assigneeId": each["assigneeId"],
            }
            for each in self.db["tickets"]
            if has(
                f"{each['subject']} {' '.join(each['tags'])} {self._contact(each['requesterId'])['name']}",
                query,
            )
            and status in ("any", each["status"])
        ]
        return {"totalCount": len(hits), "items": hits[:pageSize]}

    def _contact(self, key: str) -> dict[str, Any]:
        row = find(self.db["contacts"], id=key)
        return {"id": row["id"], "name": row["fullName"]}

    @tool("read", "ticketId")
    def ticketGet(self, ticketId: str) -> Any:
        """A ticket with its conversation."""
        row = find(self.db["tickets"], id=ticketId)
        return {"ticket": {**row, "requester": self._contact(row["requesterId"])}}

    @tool("write", "ticketId")
    def ticketUpdate(
        self,
        ticketId: str,
        assigneeId: str | None = None,
        status: Literal["new", "open", "solved"] | None = None,
        priority: Literal["low", "normal", "high", "urgent"] | None = None,
    ) -> Any:
        """Patch fields of a ticket."""
        row = find(self.db["tickets"], id=ticketId)
        patch = {"assigneeId": assigneeId, "status": status, "priority": priority}
        row.update({name: value for name, value in patch.items() if value is not None})
        return {"ticket": {"id": row["id"], **{name: row[name] for name in patch}}}

    @tool("write", "ticketId")
    def ticketComment(self, ticketId: str, message: Message, isPublic: bool = True) -> Any:
        """Answer on a ticket; the requester gets it by mail if it is public."""
        find(self.db["tickets"], id=ticketId)
        row = {"id": self._new_id("cmt"), "ticketId": ticketId, "isPublic": isPublic, **message}
        self.db["comments"].append(row)
        return {"commentId": row["id"]}

    @tool("write", "fromId", "intoId")
    def ticketMerge(self, fromId: str, intoId: str) -> Any:
        """Merge a ticket into another one."""
        row = find(self.db["tickets"], id=fromId)
        find(self.db["tickets"], id=intoId)
        row["mergedInto"] = intoId
        return {"mergedInto": intoId}

    @tool("read")
    def contactSearch(self, query: str) -> Any:
        """Search contacts by name or company."""
        hits = []
        for each in self.db["contacts"]:
            company = find(self.db["companies"], id=each["companyId"])
            if has(f"{each['fullName']} {company['name']} {each['email']}", query):
                hits.append({**each, "company": {"id": company["id"], "name": company["name"]}})
        return {"items": hits}

    @tool("read", "companyId")
    def companyGet(self, companyId: str) -> Any:
        """A company with its plan and owner."""
        row = find(self.db["companies"], id=companyId)
        return {"company": row, "ownerContactId": self.db["owners"][companyId]}

    @tool("read")
    def companyList(self) -> Any:
        """All companies of the desk."""
        return {"items": self.db["companies"]}

    @tool("write", "companyId", "contactId")
    def companySetOwner(self, companyId: str, contactId: str) -> Any:
        """Make a contact the owner of a company's account."""
        find(self.db["contacts"], id=contactId)
        self.db["owners"][companyId] = contactId
        return {"ok": True}

    @tool("write", "contactId")
    def loginLinkSend(self, contactId: str) -> Any:
        """Send a contact a link to log in."""
        row = find(self.db["contacts"], id=contactId)
        self.db["links"].append(row["id"])
        return {"sentTo": row["email"]}

    @tool("write", "contactId")
    def contactPatch(self, contactId: str, email: str | None = None, phone: str | None = None) -> Any:
        """Change how a contact is reached."""
        row = find(self.db["contacts"], id=contactId)
        row.update({name: value for name, value in (("email", email), ("phone", phone)) if value})
        return {"contact": row}

    @tool("read")
    def invoiceSearch(
        self, companyId: str | None = None, status: Literal["paid", "open"] | None = None
    ) -> Any:
        """Invoices, newest first."""
        rows = [
            each
            for each in self.db["invoices"]
            if companyId in (None, each["companyId"]) and status in (None, each["status"])
        ]
        return {"items": rows}

    @tool("write", "invoiceId")
    def invoicePatch(self, invoiceId: str, vatNumber: str) -> Any:
        """Correct the VAT number of an invoice."""
        find(self.db["invoices"], id=invoiceId)["vatNumber"] = vatNumber
        return {"ok": True}

    @tool("write", "invoiceId", "to")
    def invoiceEmail(self, invoiceId: str, to: list[Address]) -> Any:
        """Email a copy of an invoice."""
        find(self.db["invoices"], id=invoiceId)
        self.db["mails"].append({"to": [bare(each) for each in to], "invoice": invoiceId})
        return {"sent": len(to)}

    @tool("write", "companyId")
    def creditIssue(self, companyId: str, credit: Money, reason: str = "") -> Any:
        """Give a company a credit."""
        find(self.db["companies"], id=companyId)
        self.db["credits"].append({"companyId": companyId, **credit, "reason": reason})
        return {"creditId": self._new_id("crd")}

    @tool("read")
    def dealList(self, ownerId: str | None = None) -> Any:
        """Deals of the pipeline."""
        return {"deals": [each for each in self.db["deals"] if ownerId in (None, each["ownerId"])]}

    @tool("write", "dealId")
    def dealMove(self, dealId: str, stage: Literal["proposal", "negotiation", "won", "lost"]) -> Any:
        """Move a deal to another stage."""
        find(self.db["deals"], id=dealId)["stage"] = stage
        return {"dealId": dealId, "stage": stage}

    @tool("write", "attendees")
    def meetingSchedule(self, title: str, slot: Slot, attendees: list[Address]) -> Any:
        """Put a meeting into the calendar and invite people."""
        row = {
            "id": self._new_id("mtg"),
            "title": title,
            **slot,
            "attendees": [bare(each) for each in attendees],
        }
        self.db["meetings"].append(row)
        return {"meetingId": row["id"]}

    @tool("read")
    def articleSearch(self, query: str) -> Any:
        """Search the knowledge base."""
        return {
            "items": [each for each in self.db["articles"] if has(f"{each['title']} {each['id']}", query)]
        }

    @tool("read")
    def agentList(self, team: Literal["tier1", "tier2", "billing"] | None = None) -> Any:
        """Agents of the desk."""
        return {"items": [each for each in self.db["agents"] if team in (None, each["team"])]}

    @tool("write", "to")
    def mailSend(self, to: list[Address], message: Message) -> Any:
        """Send a mail from the desk's address."""
        if not all("@" in each for each in to):
            raise ToolError("not an address")
        self.db["mails"].append({"to": [bare(each) for each in to], **message})
        return {"queued": True}

    @tool("write")
    def todoAdd(self, text: str, dueOn: str | None = None) -> Any:
        """Add to the own list of things to do."""
        self.db["todos"].append({"id": self._new_id("todo"), "text": text, "dueOn": dueOn})
        return {"ok": True}

    @tool("read")
    def todoList(self) -> Any:
        """The own list of things to do."""
        return {"items": self.db["todos"]}

    def launder(self, do: Callable[..., Any], text: str) -> None:
        do("todoAdd", text=text)
        do("todoList")
