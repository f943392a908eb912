"""The `agentguard` command.

Enters: arguments of a person or a script. Leaves: text or JSON, and an exit code that scripts can use. Called
by: the shell. It must never show a traceback, or a secret that was not asked for.
"""

from agentguard.cli._app import main

__all__ = ["main"]
