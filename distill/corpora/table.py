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
    """Where a corpus's `read` lives, how the user names it, and what it holds."""

    module: str
    usage: str
    help: str


CORPORA = {
    "starter": Corpus("distill.corpora.starter", "starter", "900 bundled dialogues of ours"),
    "curriculum": Corpus(
        "distill.corpora.curriculum.corpus", "curriculum", "simple dialogues, generated"
    ),
    "rated-responses": Corpus(
        "distill.corpora.rated_responses",
        "rated-responses=PATH",
        "responses of people and models, rated by people",
    ),
    "empathetic-dialogues": Corpus(
        "distill.corpora.empathetic_dialogues",
        "empathetic-dialogues=PATH",
        "EmpatheticDialogues, JSON lines or the official CSV",
    ),
    "esconv": Corpus("distill.corpora.esconv", "esconv=PATH", "ESConv, emotional support"),
    "escot": Corpus(
        "distill.corpora.escot", "escot=PATH", "ESD-CoT, support with a chain of thought"
    ),
    "cicero": Corpus(
        "distill.corpora.cicero", "cicero=PATH", "CICERO v2, what people infer in dialogues"
    ),
    "messages": Corpus(
        "distill.corpora.messages", "messages=FILE", "JSON lines with OpenAI-style messages"
    ),
}


def reader(name: str) -> Reader:
    if name not in CORPORA:
        raise BadInput(f"there is no corpus named {name}; known are: {', '.join(CORPORA)}")
    found: Reader = importlib.import_module(CORPORA[name].module).read
    return found
