"""The providers by name; one more is one more file beside this and one more line here.

In: `PROVIDER:MODEL` and where it may be asked. Out: a `Chat`. Refused: an unknown provider, a
specification without a model (BadInput).
"""

import importlib
from collections.abc import Mapping, Sequence

from distill.core.chat.seam import Chat
from distill.core.errors import BadInput

PROVIDERS: Mapping[str, str] = {
    "openai": "distill.core.chat.openai",
    "gemini": "distill.core.chat.gemini",
    "transformers": "distill.core.chat.transformers",
    "scripted": "distill.core.chat.scripted",
}


def open_chat(
    spec: str, *, base_urls: Sequence[str] = (), timeout_s: float = 120.0, stream: bool = False
) -> Chat:
    """The chat that `PROVIDER:MODEL` names; a missing key or folder is refused here, not later."""
    provider, _, model = spec.partition(":")
    if provider not in PROVIDERS or not model:
        raise BadInput(
            f"{spec!r} names no model to ask; write PROVIDER:MODEL with a provider of: "
            f"{', '.join(PROVIDERS)} (for example openai:gpt-4o)"
        )
    module = importlib.import_module(PROVIDERS[provider])
    chat: Chat = module.opened(model, base_urls, timeout_s, stream)
    return chat
