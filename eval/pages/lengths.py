"""How long the replies are and how they end: what a judge may take for empathy.

In: evidence. Out: a table with a column a candidate, and a plot.
"""

from collections import Counter

from distill.core.records import Answer
from eval.pages.evidence import Evidence
from eval.pages.page import Figure, Table
from eval.pages.plots import Series, distribution
from eval.pages.wording import number, percent
from eval.replies import figures, words
from eval.statistics import quantile


def length_table(found: Evidence) -> list[Table]:
    """Length and ending of the replies, one column a candidate."""
    sides = found.candidates
    if not sides:
        return []
    columns = [length_figures(list(side.answers.values())) for side in sides]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    return [Table("The replies", ("figure", *(side.candidate for side in sides)), rows)]


def length_figures(answers: list[Answer]) -> dict[str, str]:
    known = figures(answers)
    lengths = [len(words(answer.text)) for answer in answers]
    endings = Counter(answer.finish_reason for answer in answers)
    return {
        "replies": f"{len(answers):,}",
        "mean words": number(known["mean_words"]),
        "median words": number(quantile(lengths, 0.5), 0),
        "5 % to 95 % of replies": (
            f"{quantile(lengths, 0.05):.0f} to {quantile(lengths, 0.95):.0f} words"
        ),
        "ended by themselves": percent(endings["stop"] / len(answers)),
        "empty": f"{known['empty']:,}",
        "with a repeated run of 4 words": f"{known['loops']:,}",
    }


def length_plot(found: Evidence) -> list[Figure]:
    """The two that are compared; of more, a histogram tells nothing."""
    sides = found.candidates[:2]
    if not sides:
        return []
    series = [
        Series(side.candidate, [len(words(text)) for text in side.texts()], filled=side is sides[0])
        for side in sides
    ]
    return [distribution("lengths", "Length of the replies", "words", series)]
