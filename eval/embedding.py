"""Sentences as vectors, by a small model on this machine or by an API.

In: texts. Out: one unit vector for each, [texts, width], float32. `local` is all-MiniLM-L6-v2 by
`distill.core.encoder`; `openai:MODEL` asks an OpenAI-compatible endpoint. Refused: a package that
is not installed (MissingExtra), an unknown embedder (BadInput).
"""

from collections.abc import Sequence

import numpy as np

from distill.core.encoder import Floats, batches, open_encoder
from distill.core.errors import BadInput

LOCAL, HOSTED = "local", "openai"


def embed(texts: Sequence[str], embedder: str = LOCAL) -> Floats:
    """A unit vector for each text; equal texts are computed once."""
    kind, _, model = embedder.partition(":")
    if kind not in (LOCAL, HOSTED) or (kind == HOSTED) != bool(model):
        raise BadInput(f"there is no embedder {embedder!r}; choose {LOCAL}, or {HOSTED}:MODEL")
    return open_encoder().vectors(texts) if kind == LOCAL else hosted(texts, model)


def hosted(texts: Sequence[str], model: str) -> Floats:
    from distill.core.chat.openai import OpenAIChat

    chat, unique = OpenAIChat(model), list(dict.fromkeys(texts))
    found = []
    for batch in batches(unique):
        with chat.plain_errors(chat.url):
            answer = chat.client.embeddings.create(model=model, input=batch)
        found += [one.embedding for one in sorted(answer.data, key=lambda one: one.index)]
    rows = np.array(found, np.float32)
    place = {text: number for number, text in enumerate(unique)}
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit[[place[text] for text in texts]]
