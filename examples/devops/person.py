"""A person: logs in at the sidecar as people do, and answers what the plan has them answer."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from plan import ANSWERS

_POLL_S = 0.2
_DEADLINE_S = 10.0


class Person:
    """Somebody with an account. `answer` is called again and again, and does something now and then."""

    def __init__(self, url: str, name: str, password: str) -> None:
        self._url = url
        self._next = 0.0
        self._seen: set[str] = set()
        self._token = ""
        self._token = str(self._ask("POST", "/v1/login", {"name": name, "password": password})["token"])

    def answer(self) -> bool:
        """Look at what is asked, and answer what there is an answer to; never done."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _POLL_S
        for asked in self._ask("GET", "/v1/approvals?state=pending")["approvals"]:
            if asked["id"] in self._seen:
                continue
            self._seen.add(asked["id"])
            approve = ANSWERS.get((asked["action"], asked["params"].get("replicas")))
            if approve is not None:
                self._ask("POST", f"/v1/approvals/{asked['id']}/vote", {"approve": approve})
        return False

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        if not self._token:
            del headers["Authorization"]
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310 - our sidecar
        with urllib.request.urlopen(request, timeout=_DEADLINE_S) as answer:  # noqa: S310 - as above
            return json.load(answer)
