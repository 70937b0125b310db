"""How much of the replies was in the training sets word for word.

In: replies and training sets as `distill compose` writes them (either format). Out: the share of
replies that are a training reply, and that share a run of eight words with one. Refused: a set in
no known format, or without replies (BadInput).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput
from distill.core.jsonl import numbered_lines, read_json
from eval.measures.seam import Figure, Material, mean
from eval.replies import ngrams, words

NEEDS = ("training",)
RUN = 8


def rows_of(path: Path) -> Iterator[Any]:
    if path.suffix == ".json":
        found = read_json(path)
        yield from found if isinstance(found, list) else [found]
        return
    for _, value in numbered_lines(path):
        yield value


def reply_of(row: Any) -> str:
    """What the student was to say: TRL's messages and pairs, or ShareGPT's."""
    if "chosen" in row:
        chosen = row["chosen"]
        return str(chosen["value"] if isinstance(chosen, dict) else chosen[-1]["content"])
    if "messages" in row:
        return str(row["messages"][-1]["content"])
    return str(row["conversations"][-1]["value"])


def training_replies(path: Path) -> Iterator[str]:
    count = 0
    for count, row in enumerate(rows_of(path), 1):
        try:
            yield reply_of(row)
        except (KeyError, IndexError, TypeError) as error:
            raise BadInput(
                f"{path}, row {count}: no training reply; give sets that distill compose wrote "
                "(messages, chosen, or conversations)"
            ) from error
    if not count:
        raise BadInput(f"{path} holds no training replies; give sets that distill compose wrote")


def figures(material: Material) -> list[Figure]:
    said = [tuple(words(text)) for text in material.texts]
    runs = [set(ngrams(text, RUN)) for text in material.texts]
    # Only what the replies hold is kept of the training sets, which may be large.
    wanted, wanted_runs = {one for one in said if one}, set().union(*runs)
    whole, parts = set(), set()
    for path in material.training:
        for reply in training_replies(path):
            whole |= {tuple(words(reply))} & wanted
            parts |= wanted_runs.intersection(ngrams(reply, RUN))
    return [
        mean(
            "copied_whole",
            [one in whole for one in said],
            material.seed,
            unit="share of replies",
            means="the same words as a training reply",
            is_not="always a fault: short replies recur by themselves",
        ),
        mean(
            f"copied_{RUN}_words",
            [bool(one & parts) for one in runs],
            material.seed,
            unit="share of replies",
            means=f"a run of {RUN} words that a training reply has",
            is_not="a measure of paraphrased copies, or of what the base had read",
        ),
    ]
