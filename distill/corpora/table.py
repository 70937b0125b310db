"""The corpora that `distill gather` knows: one file and one line each."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from distill.core.errors import BadInput
from distill.core.jsonl import Problems
from distill.corpora.reading import Reading, Request

Reader = Callable[[Request, Problems], Reading]


@dataclass(frozen=True)
class Corpus:
    """Where a corpus's `read` lives and what it holds."""

    module: str
    help: str


CORPORA = {
    "starter": Corpus("distill.corpora.starter", "900 dialogues of ours, bundled"),
    "curriculum": Corpus("distill.corpora.curriculum.corpus", "endless simple dialogues, made"),
    "rated-responses": Corpus("distill.corpora.rated_responses", "people's ratings of replies"),
    "empathetic-dialogues": Corpus("distill.corpora.empathetic_dialogues", "EmpatheticDialogues"),
    "esconv": Corpus("distill.corpora.esconv", "ESConv, emotional support"),
    "messages": Corpus("distill.corpora.messages", "any JSON lines with OpenAI-style messages"),
}


def reader(name: str) -> Reader:
    if name not in CORPORA:
        raise BadInput(f"there is no corpus named {name}; known are: {', '.join(CORPORA)}")
    found: Reader = importlib.import_module(CORPORA[name].module).read
    return found
