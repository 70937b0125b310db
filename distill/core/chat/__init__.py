"""The seam to anything that answers in chat form: a teacher, a judge, a candidate.

In: messages and a `Sampling`. Out: a `Reply` with its text, its end, its counts and its times.
Refused: a key that is missing or wrong, a model that the endpoint does not have (BadInput), one
request that it will not take (RefusedRequest), an endpoint that does not answer (Unavailable).
One provider is one file here and one line in `table.py`.
"""

from distill.core.chat.openai import HOSTED, OpenAIChat
from distill.core.chat.scripted import ScriptedChat
from distill.core.chat.seam import Chat, Messages, RefusedRequest, Reply, Sampling

__all__ = [
    "HOSTED",
    "Chat",
    "Messages",
    "OpenAIChat",
    "RefusedRequest",
    "Reply",
    "Sampling",
    "ScriptedChat",
]
