"""The `agentguard` command.

Enters: arguments of a person or a script. Leaves: text or JSON, and an exit code that scripts can use. Called
by: the shell. It must never show a traceback, or a secret that was not asked for.
"""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line of this process."""
    try:
        # Loaded here, so that a Ctrl-C while modules load ends as quietly as a later one.
        from agentguard.cli._app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
