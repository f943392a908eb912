"""Intent sessions: where the targets of a call come from, given the user's words and what tools gave back.

Enters: the user's words, the tools' actions, and each reported result. Leaves: `CallOrigins` for a call, by which
rules decide. Called by: the PDP, which owns the store and the files of the sessions that outlive a process. It decides
nothing and looks for no attack: a text is never judged by what it says, only by whether the user's words lead to it.
"""

from agentguard.intent._arguments import Shape
from agentguard.intent._journal import Event, Journal, Journals, Seen
from agentguard.intent._session import IntentSession
from agentguard.intent._store import IntentStore

__all__ = ["Event", "IntentSession", "IntentStore", "Journal", "Journals", "Seen", "Shape"]
