"""The outer form of replies: length, repetition, endings.

In: replies. Out: mean words, and shares of replies that loop, are empty, or were cut off. Nothing
is refused.
"""

from eval.measures.seam import Figure, Material, mean
from eval.replies import loops, words

NEEDS: tuple[str, ...] = ()


def figures(material: Material) -> list[Figure]:
    answers = [material.answers.answers[dialogue.id] for dialogue in material.dialogues]
    return [
        mean(
            "words",
            [len(words(text)) for text in material.texts],
            material.seed,
            unit="words a reply",
            means="mean length",
            is_not="better when longer: judges and people often prefer length by itself",
        ),
        mean(
            "repetition",
            [loops(text) for text in material.texts],
            material.seed,
            unit="share of replies",
            means="a run of four words comes back in the same reply",
            is_not="a count of phrases that come back in other replies: see distinct_2",
        ),
        mean(
            "cut_off",
            [answer.finish_reason != "stop" for answer in answers],
            material.seed,
            unit="share of replies",
            means="ended by the limit of tokens and not by itself",
            is_not="a figure of the model alone: it depends on the --max-tokens of the answers",
        ),
        mean(
            "empty",
            [not text.strip() for text in material.texts],
            material.seed,
            unit="share of replies",
            means="says nothing",
            is_not="included in any overlap as anything but 0",
        ),
    ]
