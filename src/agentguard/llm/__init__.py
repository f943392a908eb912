"""What agents and model providers say to each other: OpenAI's and Anthropic's shapes, read and rewritten.

Enters: a request's method, host, path and body; an answer, whole or as a stream. Leaves: the action, resource and
parameters to decide on, the texts in it, the tool calls that the model proposes, and the answer as the verdicts
want it. Called by: the enforcement points for models. It must never decide, never send, and never let a tool call
out of a stream before its verdict is known.
"""

from agentguard.llm._answer import Answer
from agentguard.llm._call import (
    API,
    CHAT,
    EMBED,
    HOSTED_TOOL,
    MEDIA,
    MODELS,
    MODERATE,
    HostedTool,
    LlmCall,
    Wire,
    provider_of,
    read_call,
    resource_of,
)
from agentguard.llm._form import FormError, FormPart, fields_of, read_form, write_form
from agentguard.llm._rewrite import RewriteError, rewrite
from agentguard.llm._sse import SseEvent, SseSplitter
from agentguard.llm._stream import AnswerStream, StreamMode
from agentguard.llm._tool import PASS, Said, ToolCall, UnreadableError, Verdict

__all__ = [
    "API",
    "CHAT",
    "EMBED",
    "HOSTED_TOOL",
    "MEDIA",
    "MODELS",
    "MODERATE",
    "PASS",
    "Answer",
    "AnswerStream",
    "FormError",
    "FormPart",
    "HostedTool",
    "LlmCall",
    "RewriteError",
    "Said",
    "SseEvent",
    "SseSplitter",
    "StreamMode",
    "ToolCall",
    "UnreadableError",
    "Verdict",
    "Wire",
    "fields_of",
    "provider_of",
    "read_call",
    "read_form",
    "resource_of",
    "rewrite",
    "write_form",
]
