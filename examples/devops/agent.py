"""A DevOps agent: a process of its own that follows a script and asks AgentGuard before each step.

It has no model inside: what a model could be talked into is written down in `plan.py`. It knows the sidecar's
address and its own token (`AGENTGUARD_TOKEN`), and neither keys nor rules.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mind import Agent
from plan import PATROL, PLAN
from show import Terminal
from system.view import changes, look
from tools import DataTools, DeploymentTools

from agentguard import ActionDenied, Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plan import Deed, Step

_PATROL_S = 2.0
_DEADLINE_S = 10.0  # an unanswered check is a deny; a busy machine shall not spoil the demo


class Ear(logging.Handler):
    """Hears the decisions that the guard logs in this process: effect, reason, rule."""

    def __init__(self, on_question: Callable[[str], None]) -> None:
        super().__init__(logging.DEBUG)
        self._on_question = on_question
        self.forget()
        logger = logging.getLogger("agentguard.pep")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last decision."""
        if hasattr(record, "effect"):
            told = vars(record)
            self.effect, self.reason, self.audit_id = told["effect"], told["reason"], told["audit_id"]
            self.because = told["rule"] or told["stage"]
            self.heard[self.audit_id] = self.effect
            if self.effect == "require_approval":
                self._on_question(told["resource"])

    def forget(self) -> None:
        """Be ready for the next decision."""
        self.effect = self.reason = self.because = self.audit_id = ""
        self.heard: dict[str, str] = {}


class Shift:
    """The agent at work on the system under `root`; `terminal` shows it, `ear` hears what is decided."""

    def __init__(self, agent: Agent, root: Path, ear: Ear, terminal: Terminal) -> None:
        self._agent = agent
        self._root = root
        self._ear = ear
        self._terminal = terminal

    def work(self, report: Path) -> bool:
        """Follow the plan and return whether all came as expected; `report` gets a line of JSON a step."""
        numbers = itertools.count(1)
        entries = []
        with report.open("w") as lines:
            for phase in PLAN:
                self._terminal.heading(phase.title)
                for step in phase.steps:
                    entries.append(self._take(step, next(numbers)))
                    lines.write(json.dumps(entries[-1]) + "\n")
        return all(entry["as_expected"] for entry in entries)

    def patrol(self) -> None:
        """Repeat calm steps until standard input ends; say so when one is decided differently than before."""
        effects: dict[str, str] = {}
        for asked, do in itertools.cycle(PATROL):
            self._do(do)
            effect, before = self._ear.effect, effects.get(asked)
            if before is not None and before != effect:
                self._terminal.say(f"  was {before}, now {effect}: {asked}  {self._ear.reason}")
            effects[asked] = effect
            if select.select([sys.stdin], [], [], _PATROL_S)[0]:
                return

    def _take(self, step: Step, number: int) -> dict[str, object]:
        before = look(self._root)
        came_back = self._do(step.do)
        after = look(self._root)
        changed = changes(before, after)
        effect, reason = self._ear.effect, self._ear.reason
        wanted = (step.effect, step.because, step.returns, step.changes)
        good = (effect, self._ear.because, came_back, tuple(changed)) == wanted
        really = _told(came_back, changed) or (
            f"{step.about} still {after[step.about]}" if step.about else ""
        )
        if not good:
            text = f"  UNEXPECTED: wanted {step.effect} ({step.because}), {_told(step.returns, step.changes)}"
            really += self._terminal.paint(text, "red", "bold")
        self._terminal.step(
            number, effect or "no answer", step.asked, reason=reason, really=really or "nothing changed"
        )
        return {
            "step": step.asked,
            "effect": effect,
            "audit_id": self._ear.audit_id,
            "heard": self._ear.heard,
            "as_expected": good,
        }

    def _do(self, do: Deed) -> str:
        """Return what came back, empty for nothing."""
        self._ear.forget()
        try:
            return do(self._agent) or ""
        except ActionDenied:
            return ""
        except Exception as error:  # noqa: BLE001 - a broken tool is a failed step, not the end of the demo
            return f"the tool failed with {type(error).__name__}: {error}"


def _told(came_back: str, changed: Iterable[str]) -> str:
    return "; ".join(filter(None, [came_back, *changed]))


def main() -> int:
    """Work through the plan, or patrol."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", required=True, help="address of the sidecar")
    parser.add_argument("--system", required=True, type=Path, help="folder of the system")
    parser.add_argument("--report", type=Path, help="file that gets one line of JSON a step")
    parser.add_argument("--patrol", action="store_true", help="repeat calm steps in place of the plan")
    parser.add_argument("--no-color", action="store_true", help="print without colour")
    options = parser.parse_args()
    terminal = Terminal(color=not options.no_color)
    ear = Ear(lambda resource: terminal.say(f"    ? waits for a person: {resource}"))
    with Guard.connect(options.url, os.environ["AGENTGUARD_TOKEN"], deadline_s=_DEADLINE_S) as guard:
        agent = Agent(DeploymentTools(guard, options.system), DataTools(guard, options.system))
        shift = Shift(agent, options.system, ear, terminal)
        if options.patrol:
            shift.patrol()
            return 0
        return 0 if shift.work(options.report or Path(os.devnull)) else 1


if __name__ == "__main__":
    sys.exit(main())
