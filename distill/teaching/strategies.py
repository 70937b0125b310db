"""How a teacher improves a reply: the strategies of targeted empathy improvement.

In: a dialogue and the reply to improve. Out: the improved text. The names are those of
"Distilling Empathy from Large Language Models" (arXiv 2507.08151); the prompts are ours.
`naive` is the baseline, `sequential` goes through the three dimensions and each step sees what
the last one wrote, `lacking-dimension` first finds the weakest and then improves that one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from distill.core.errors import BadInput
from distill.core.records import Turn
from distill.teaching.parsing import Unreadable, json_texts, plain_reply
from distill.teaching.prompts import conversation, question, quoted
from distill.teaching.steps import DRY_MARK, Steps

DIMENSIONS = ("cognitive", "affective", "compassionate")
# As long as a reply is on average; no two dry answers are equal, or their questions count once.
STAND_IN = " ".join([DRY_MARK, *["something"] * 27])
WEAKEST_STAND_IN = '{"because": "It names no feeling.", "weakest": "affective"}'


@dataclass(frozen=True)
class Material:
    """What every improvement is given."""

    turns: Sequence[Turn]
    text: str
    max_words: int

    def parts(self) -> dict[str, str]:
        return {
            "dialogue": conversation(self.turns),
            "response": quoted(self.text),
            "max_words": str(self.max_words),
        }


@dataclass(frozen=True)
class Strategy:
    """The steps of a strategy, and what it does in words."""

    improve: Callable[[Material], Steps[str]]
    help: str


def improved_by(name: str) -> Callable[[Material], Steps[str]]:
    """One question: the prompt `improve-NAME`."""

    def improve(material: Material) -> Steps[str]:
        answer = yield question(f"improve-{name}", material.parts(), STAND_IN)
        return plain_reply(answer)

    return improve


def lacking_dimension(material: Material) -> Steps[str]:
    found = yield question("weakest-dimension", material.parts(), WEAKEST_STAND_IN)
    weakest = json_texts(found, ("because", "weakest"))["weakest"].casefold()
    if weakest not in DIMENSIONS:
        raise Unreadable(f"the weakest is {weakest!r}, expected {', '.join(DIMENSIONS)}")
    return (yield from improved_by(weakest)(material))


def sequential(material: Material) -> Steps[str]:
    for dimension in DIMENSIONS:
        text = yield from improved_by(dimension)(material)
        material = replace(material, text=text)
    return material.text


STRATEGIES = {
    "naive": Strategy(improved_by("naive"), "more empathetic, no more said"),
    "all-dimensions": Strategy(improved_by("all-dimensions"), "all three dimensions at once"),
    "lacking-dimension": Strategy(lacking_dimension, "find the weakest dimension, improve it"),
    "cognitive": Strategy(improved_by("cognitive"), "that the situation is understood"),
    "affective": Strategy(improved_by("affective"), "that the feeling is met"),
    "compassionate": Strategy(improved_by("compassionate"), "that one wishes them well"),
    "sequential": Strategy(sequential, "the three in turn, each step sees the last"),
}


def strategy(name: str) -> Strategy:
    if name not in STRATEGIES:
        raise BadInput(f"there is no strategy named {name}; known are: {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
