"""Intent sessions: where the targets of a call come from, given the user's words and what tools gave back.

Enters: the user's words, the tools' actions, and each reported result. Leaves: `CallOrigins` for a call, by which
rules decide. Called by: the PDP, which owns the store. It decides nothing, keeps nothing on disk, and looks for no
attack: a text is never judged by what it says, only by whether the user's words lead to it.
"""

from agentguard.intent._arguments import Shape
from agentguard.intent._session import IntentSession
from agentguard.intent._store import IntentStore

__all__ = ["IntentSession", "IntentStore", "Shape"]
