"""`dataset_card.json`: what is in a composed set, where it came from, and its digests."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distill.core.jsonl import read_json, sha256_of
from distill.core.records import Dialogue, Split
from distill.corpora.lengths import distribution, words_in
from distill.sets.composed import Composed, named

INPUTS = ("dialogues.jsonl", "responses.jsonl")


def provenance(data: Path) -> dict[str, Any]:
    """The corpora behind a gathered folder, and the digests of what was read of it."""
    gathered = data / "gather.json"
    corpora = read_json(gathered)["corpora"] if gathered.exists() else []
    return {
        "corpora": [{"name": corpus["name"], "files": corpus["files"]} for corpus in corpora],
        "inputs": {name: sha256_of(data / name) for name in INPUTS},
    }


def contents(parts: dict[Split, Composed], test: Sequence[Dialogue]) -> dict[str, Any]:
    """Counts and lengths in words of every set, and what teaches what."""
    sets = dict(described(parts))
    sets["test"] = {
        "rows": len(test),
        "sources": dict(Counter(dialogue.source for dialogue in test)),
        "words": {"user": user_words(test)},
    }
    return sets


def described(parts: dict[Split, Composed]) -> Iterator[tuple[str, dict[str, Any]]]:
    for split, part in parts.items():
        end = "" if split == "train" else f"_{split}"
        asked = [dialogue for dialogue, _ in part.targets]
        yield (
            f"sft{end}",
            {
                **counted(asked),
                "targets": dict(Counter(named(response) for _, response in part.targets)),
                "words": {
                    "user": user_words(asked),
                    "response": distribution(words_in(r.text) for _, r in part.targets),
                },
            },
        )
        compared = [preference.dialogue for preference in part.preferences]
        yield (
            f"preferences{end}",
            {
                **counted(compared),
                "pairs": dict(Counter(preference.because for preference in part.preferences)),
                "words": {
                    "user": user_words(compared),
                    "chosen": distribution(words_in(p.chosen) for p in part.preferences),
                    "rejected": distribution(words_in(p.rejected) for p in part.preferences),
                },
            },
        )


def counted(dialogues: Sequence[Dialogue]) -> dict[str, Any]:
    return {
        "rows": len(dialogues),
        "dialogues": len({dialogue.id for dialogue in dialogues}),
        "sources": dict(Counter(dialogue.source for dialogue in dialogues)),
    }


def user_words(dialogues: Sequence[Dialogue]) -> dict[str, float]:
    return distribution(
        sum(words_in(turn.content) for turn in dialogue.turns if turn.role == "user")
        for dialogue in dialogues
    )
