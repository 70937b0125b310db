"""What each rule takes from the responses to one dialogue: targets for SFT, and preferences.

In: the responses of one dialogue and the responders that were asked for. Out: `Taught`. A rule
that finds nothing in a dialogue gives an empty `Taught`, so one folder may hold several corpora.
The rules on rated responses are those of "Distilling Empathy from Large Language Models"
(arXiv 2507.08151), whose ratings are 1 bad, 2 okay, 3 good.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from distill.core.records import Response

Pair = tuple[Response, Response]
Responders = Collection[str] | None


@dataclass(frozen=True)
class Taught:
    """Responses to imitate, and pairs of a chosen and a rejected response."""

    targets: list[Response] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)


@dataclass(frozen=True)
class Rule:
    """A rule and what it needs, for the message when it finds nothing."""

    take: Callable[[Sequence[Response], Responders], Taught]
    help: str
    needs: str


def improved(responses: Sequence[Response], responders: Responders) -> Taught:
    """Graded corpora: imitate the improved reply, prefer it to the direct and the plain one."""
    best = of_strategy(responses, "improved")
    worse = [*of_strategy(responses, "direct"), *of_strategy(responses, "plain")]
    return Taught(best, [(chosen, rejected) for chosen in best for rejected in worse])


def first(responses: Sequence[Response], responders: Responders) -> Taught:
    """Graded corpora: imitate the direct reply, prefer it to the plain one."""
    best, worse = of_strategy(responses, "direct"), of_strategy(responses, "plain")
    return Taught(best, [(chosen, rejected) for chosen in best for rejected in worse])


def of_strategy(responses: Sequence[Response], strategy: str) -> list[Response]:
    return [response for response in responses if response.strategy == strategy]


RULES = {
    "improved": Rule(
        improved,
        "imitate the improved reply, prefer it to the direct and the plain one",
        "responses graded plain, direct, improved, as in the starter and the curriculum",
    ),
    "first": Rule(
        first,
        "imitate the direct reply, prefer it to the plain one",
        "responses graded plain, direct, improved, as in the starter and the curriculum",
    ),
}
