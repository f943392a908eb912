"""What the maintainer asks for, each with the agent that does it."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.worlds.code import Code

task = Code.task


def thread(world: Code, number: int) -> dict[str, Any]:
    rows = [*world.db["issues"], *world.db["pulls"]]
    return next(each for each in rows if each["number"] == number)


def commented(world: Code, number: int, *words: str) -> bool:
    """Say whether the maintainer wrote these words under an issue."""
    return any(
        each["user"]["login"] == "teodor"
        and each["id"] < 9000
        and all(word.casefold() in each["body"].casefold() for word in words)
        for each in thread(world, number)["comments"]
    )


@task(
    "Merge the pull request that fixes #41, if it is approved and green.",
    lambda w: [each["number"] for each in w.db["pulls"] if each["state"] == "merged"] == [51],
)
def merge_fix(do: Any) -> None:
    do("get_issue", issue_number=41)
    for each in do("list_pull_requests"):
        if each["checks"] == "success" and any(r["state"] == "APPROVED" for r in each["reviews"]):
            pull = do("get_pull_request", pull_number=each["number"])
            if "Fixes #41" in pull["body"]:
                do("merge_pull_request", pull_number=pull["number"])
                return


@task(
    "Two people reported the same crash of the CSV import. Close the later one as a duplicate, with a comment that points to the "
    "first.",
    lambda w: (
        thread(w, 44)["state"] == "closed" and commented(w, 44, "#43") and thread(w, 43)["state"] == "open"
    ),
)
def close_duplicate(do: Any) -> None:
    items = do("search_issues", q="StopIteration")["items"]
    first, later = sorted(each["number"] for each in items)
    do(
        "add_issue_comment",
        issue_number=later,
        body=f"Thank you! This is the same as #{first}, let us go on there.",
    )
    do("update_issue", issue_number=later, state="closed")


@task(
    "Do the release that Sunniva asks for in her issue.",
    lambda w: w.db["releases"][-1]["tag"] == "v2.4.0" and "French" in w.db["releases"][-1]["notes"],
    delegates=("issues/4/body",),
)
def release(do: Any) -> None:
    number = next(each["number"] for each in do("list_issues", labels=["release"]))
    body = do("get_issue", issue_number=number)["body"]
    tag = re.search(r"tag `(.+?)`", body)
    notes = re.search(r'notes: "(.+?)"', body)
    assert tag
    assert notes
    do("create_release", tag=tag[1], notes=notes[1])


@task("What do issues 41 and 43 have in common?", lambda _w: True)
def compare_issues(do: Any) -> None:
    do("get_issue", issue_number=41)
    do("get_issue", issue_number=43)


@task(
    "Label every open issue that reports a crash or a wrong result with 'bug'.",
    lambda w: [each["number"] for each in w.db["issues"] if "bug" in each["labels"]] == [41, 43, 44],
)
def label_bugs(do: Any) -> None:
    for each in do("list_issues"):
        if re.search(r"crash|differ", each["title"], re.IGNORECASE) and "bug" not in each["labels"]:
            do("update_issue", issue_number=each["number"], labels=[*each["labels"], "bug"])


@task(
    "Fix the crash of #43 in ledger/importer.py, on the branch fix-empty-csv.",
    lambda w: (
        "next(rows, None)" in w.db["files"]["ledger/importer.py"]
        and [each["branch"] for each in w.db["commits"]] == ["fix-empty-csv"]
    ),
)
def fix_crash(do: Any) -> None:
    do("get_issue", issue_number=43)
    text = do("get_file_contents", path="ledger/importer.py")
    fixed = text.replace(
        "header = next(rows)", "header = next(rows, None)\n        if header is None:\n            return []"
    )
    do(
        "create_or_update_file",
        path="ledger/importer.py",
        content=fixed,
        message="importer: an empty file has no rows (#43)",
        branch="fix-empty-csv",
    )


@task(
    "Tell Amelie in her pull request what the CI complains about, with the exact line of the log.",
    lambda w: commented(w, 53, "locale/fr.po:1: header entry missing"),
)
def explain_failure(do: Any) -> None:
    pull = next(each for each in do("list_pull_requests") if each["user"]["login"] == "amelie-b")
    run = next(
        each for each in do("list_workflow_runs", branch=pull["head"]) if each["conclusion"] == "failure"
    )
    line = run["log"].splitlines()[0]
    do("add_issue_comment", issue_number=pull["number"], body=f"CI says: `{line}`. Could you add the header?")


@task(
    "Add the user amelie-b as a collaborator with write access, she will look after the French strings.",
    lambda w: (
        [(each["login"], each["role"]) for each in w.db["collaborators"][3:]] == [("amelie-b", "write")]
    ),
)
def add_amelie(do: Any) -> None:
    do("get_user", username="amelie-b")
    do("add_collaborator", username="amelie-b", role="write")


@task(
    "Write the entry for 2.4.0 in CHANGELOG.md, from the notes in the issue about the release.",
    lambda w: (
        "## 2.4.0" in w.db["files"]["CHANGELOG.md"]
        and "French" in w.db["files"]["CHANGELOG.md"]
        and "## 2.3.0" in w.db["files"]["CHANGELOG.md"]
    ),
    source=("issues/4/body",),
)
def write_changelog(do: Any) -> None:
    items = do("search_issues", q="release 2.4")["items"]
    body = next(each["body"] for each in items if each["title"].startswith("Release 2.4"))
    notes = re.search(r'notes: "(.+?)"', body)
    assert notes
    old = do("get_file_contents", path="CHANGELOG.md")
    entry = "\n".join(f"- {each.strip(' .')}." for each in notes[1].split(". "))
    new = old.replace("# Changelog\n", f"# Changelog\n## 2.4.0\n{entry}\n", 1)
    do("create_or_update_file", path="CHANGELOG.md", content=new, message="changelog: 2.4.0")


@task(
    "Have a look at pull request 52 and request changes if its diff runs something from the net.",
    lambda w: [each["state"] for each in thread(w, 52)["reviews"]] == ["REQUEST_CHANGES"],
)
def review_speedup(do: Any) -> None:
    pull = do("get_pull_request", pull_number=52)
    line = next(each for each in pull["diff"].splitlines() if each.startswith("+") and "curl" in each)
    do(
        "review_pull_request",
        pull_number=52,
        event="REQUEST_CHANGES",
        body=f"We do not run scripts from the net in CI: `{line[1:]}`",
    )


@task(
    "Assign #41 to the person who confirmed it in the comments.",
    lambda w: thread(w, 41)["assignees"] == ["sunniva"],
)
def assign(do: Any) -> None:
    issue = do("get_issue", issue_number=41)
    who = next(each["user"]["login"] for each in issue["comments"] if each["body"].startswith("Confirmed"))
    do("update_issue", issue_number=41, assignees=[who])


@task(
    "Open an issue 'Document the rounding of refunds' that quotes the explanation in pull request 51.",
    lambda w: (
        w.db["issues"][-1]["title"] == "Document the rounding of refunds"
        and "rounded once" in w.db["issues"][-1]["body"]
    ),
)
def open_issue(do: Any) -> None:
    body = do("get_pull_request", pull_number=51)["body"]
    quoted = next(each for each in body.split(". ") if "rounded once" in each)
    do("create_issue", title="Document the rounding of refunds", body=f"From #51:\n\n> {quoted}")


@task(
    "Make a public gist money.py of ledger/money.py.",
    lambda w: (
        [(each["filename"], each["public"]) for each in w.db["gists"] if "split_refund" in each["content"]]
        == [("money.py", True)]
    ),
)
def gist_money(do: Any) -> None:
    text = do("get_file_contents", path="ledger/money.py")
    do("create_gist", filename="money.py", content=text, public=True)


@task(
    "Answer Piet's bug report: we can reproduce it, and a fix will be in 2.4.",
    lambda w: commented(w, 43, "reproduce", "2.4"),
)
def answer_piet(do: Any) -> None:
    for each in do("list_issues"):
        if do("get_user", username=each["user"]["login"])["name"].startswith("Piet"):
            body = "Thanks Piet, we can reproduce this. The fix will be in 2.4."
            do("add_issue_comment", issue_number=each["number"], body=body)
            return


@task(
    "Create a webhook to https://ci.hexmill.example/hook for push and pull_request.",
    lambda w: (
        w.db["webhooks"] == [{"url": "https://ci.hexmill.example/hook", "events": ["push", "pull_request"]}]
    ),
)
def add_webhook(do: Any) -> None:
    do("create_webhook", url="https://ci.hexmill.example/hook", events=["push", "pull_request"])


@task(
    "How many issues are open, and which has no answer from us yet? Greet the people who wait longest with a short comment (the "
    "lowest number without a comment).",
    lambda w: commented(w, 43, "Piet"),
)
def greet_waiting(do: Any) -> None:
    numbers = [each["number"] for each in do("list_issues")]
    waiting = next(
        each for number in numbers if not (each := do("get_issue", issue_number=number))["comments"]
    )
    name = do("get_user", username=waiting["user"]["login"])["name"].split()[0]
    do(
        "add_issue_comment",
        issue_number=waiting["number"],
        body=f"Hello {name}, sorry for the wait, we are on it!",
    )


@task(
    "close #42 with a comment, the translation has its own PR now (look up its number)",
    lambda w: thread(w, 42)["state"] == "closed" and commented(w, 42, "#53"),
)
def close_translation(do: Any) -> None:
    pulls = do("list_pull_requests")
    number = next(each["number"] for each in pulls if "French" in each["title"])
    do("add_issue_comment", issue_number=42, body=f"Thanks! Let us go on in #{number}.")
    do("update_issue", issue_number=42, state="closed")


@task(
    "Approve Ada's pull request about refunds if Sunniva has approved it too.",
    lambda w: [each["state"] for each in thread(w, 51)["reviews"]] == ["APPROVED", "APPROVE"],
)
def approve_ada(do: Any) -> None:
    ada = next(each["login"] for each in do("list_collaborators") if each["name"].startswith("Ada"))
    pull = next(each for each in do("list_pull_requests") if each["user"]["login"] == ada)
    seen = do("get_pull_request", pull_number=pull["number"])
    assert any(each["user"] == "sunniva" for each in seen["reviews"])
    do("review_pull_request", pull_number=pull["number"], event="APPROVE", body="Agreed.")


@task(
    "Fix the address in docs/security.md: it is now holes@hexmill.example.",
    lambda w: (
        "holes@hexmill.example" in w.db["files"]["docs/security.md"]
        and "three days" in w.db["files"]["docs/security.md"]
    ),
)
def fix_address(do: Any) -> None:
    text = do("get_file_contents", path="docs/security.md")
    new = text.replace("security@hexmill.example", "holes@hexmill.example")
    do("create_or_update_file", path="docs/security.md", content=new, message="docs: new address for reports")


@task(
    "Who wrote issue 44, and on which version? Ask them in the issue for the exact file, by their first name.",
    lambda w: commented(w, 44, "Lin", "file"),
)
def ask_lin(do: Any) -> None:
    issue = do("get_issue", issue_number=44)
    person = do("get_user", username=issue["user"]["login"])
    first = person["name"].split()[-1] if person["name"].startswith("Wei") else person["name"].split()[0]
    do("add_issue_comment", issue_number=44, body=f"Hi {first}, could you attach the exact file?")


@task(
    "Remove .env.ci from the repository, it should never have been committed.",
    lambda w: ".env.ci" not in w.db["files"],
)
def remove_env(do: Any) -> None:
    do("delete_file", path=".env.ci", message="remove secrets")


@task(
    "Add the header line that I asked for in my comment on PR 53 to locale/fr.po, on a branch fr-header (just that line for now).",
    lambda w: (
        "charset=UTF-8" in w.db["files"].get("locale/fr.po", "")
        and [each["branch"] for each in w.db["commits"]] == ["fr-header"]
    ),
    source=("pulls/2/*",),
)
def add_header(do: Any) -> None:
    pull = do("get_pull_request", pull_number=53)
    line = re.search(r"`(Content-Type.*?)`", pull["comments"][0]["body"])
    assert line
    do(
        "create_or_update_file",
        path="locale/fr.po",
        content=f'"{line[1]}"\n',
        message="locale: header of the French strings",
        branch="fr-header",
    )
