"""What each rule takes from the responses to one dialogue: targets for SFT, and preferences.

In: the responses of one dialogue and the responders that were asked for (None is all of them).
Out: `Taught`; empty where a rule finds nothing, so one folder may hold several corpora. The
rules on rated and improved responses are those of "Distilling Empathy from Large Language
Models" (arXiv 2507.08151), whose ratings are 1 bad, 2 okay, 3 good. Each response is a target
once, also when several responders bring it in.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from distill.core.records import Response

Pair = tuple[Response, Response]
Responders = Collection[str] | None
HUMAN, GOOD = "human", 3
# Replies that a graded corpus made worse: to somebody else, and going round in circles.
SPOILED = ("stray", "loop")
IMITATED_SHARE = 950 / 1750


@dataclass(frozen=True)
class Taught:
    """Responses to imitate, and pairs of a chosen and a rejected response."""

    targets: list[Response] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)


@dataclass(frozen=True)
class Rule:
    """A rule, and what it needs for the message when it finds nothing to imitate."""

    take: Callable[[Sequence[Response], Responders], Taught]
    help: str
    needs: str


def direct_distillation(responses: Sequence[Response], responders: Responders) -> Taught:
    """Imitate human and model where both are good; prefer a good model to a human who is not.

    A model that was not asked for empathy (strategy `naive`) is taken only by its name.
    """
    human = rated_human(responses)
    models = [
        response
        for response in responses
        if response.author != HUMAN and response.rating == GOOD and wanted(response, responders)
    ]
    if human is None or not models:
        return Taught()
    if human.rating == GOOD:
        return Taught(targets=[human, *models])
    return Taught(pairs=[(model, human) for model in models])


def improved_human(responses: Sequence[Response], responders: Responders) -> Taught:
    """Imitate a good human and its improvements; prefer improvements to a human who is not."""
    human = rated_human(responses)
    if human is None:
        return Taught()
    better = [one for one in improvements(responses, responders) if one.improves == human.id]
    if human.rating == GOOD:
        return Taught(targets=[human, *better])
    return Taught(pairs=[(improvement, human) for improvement in better])


def improved_llm(responses: Sequence[Response], responders: Responders) -> Taught:
    """Imitate human and improvement in some dialogues; prefer the improvement in the others.

    The published sets draw 950 of 1,750 dialogues for SFT, whatever the human's rating, and pair
    the rest against the human. Ours follow the dialogue's id, so that all strategies share one
    division; where no human answered, the teacher's own first response takes that place.
    """
    humans = [response for response in responses if response.author == HUMAN]
    named = {human.id for human in humans}
    better = [one for one in improvements(responses, responders) if one.improves not in named]
    if not better:
        return Taught()
    if for_imitation(better[0].dialogue_id):
        return Taught(targets=[*humans, *better])
    return Taught(
        pairs=[
            (one, other)
            for one in better
            for other in humans or [draft for draft in responses if draft.id == one.improves]
        ]
    )


def improvements(responses: Sequence[Response], responders: Responders) -> list[Response]:
    """What improves another response, by those who were asked for."""
    return [
        response
        for response in responses
        if response.improves and (responders is None or response.author in responders)
    ]


def for_imitation(dialogue_id: str) -> bool:
    """Whether a dialogue is one of the share that SFT learns from; by its id alone."""
    number = int(hashlib.sha256(dialogue_id.encode()).hexdigest()[:12], 16)
    return number < IMITATED_SHARE * 16**12


def improved(responses: Sequence[Response], responders: Responders) -> Taught:
    """Graded corpora: imitate the improved reply, prefer it to every other one."""
    return over(responses, "improved", ("direct", "plain", *SPOILED))


def first(responses: Sequence[Response], responders: Responders) -> Taught:
    """Graded corpora: imitate the direct reply, prefer it to the plain and the spoiled ones."""
    return over(responses, "direct", ("plain", *SPOILED))


def over(responses: Sequence[Response], best: str, others: Sequence[str]) -> Taught:
    targets = of_strategy(responses, best)
    worse = [response for strategy in others for response in of_strategy(responses, strategy)]
    return Taught(targets, [(chosen, rejected) for chosen in targets for rejected in worse])


def as_given(responses: Sequence[Response], responders: Responders) -> Taught:
    """Any corpus: imitate every response."""
    return Taught([r for r in responses if responders is None or r.author in responders])


def wanted(response: Response, responders: Responders) -> bool:
    return response.strategy != "naive" if responders is None else response.author in responders


def rated_human(responses: Sequence[Response]) -> Response | None:
    return next((r for r in responses if r.author == HUMAN and r.rating is not None), None)


def of_strategy(responses: Sequence[Response], strategy: str) -> list[Response]:
    return [response for response in responses if response.strategy == strategy]


GRADED = "responses graded plain, direct and improved, as in the starter and the curriculum"
RATED = "a good human response, and others, with ratings, as in rated-responses"
RULES = {
    "improved": Rule(
        improved,
        "imitate the improved reply, prefer it to every other one",
        GRADED,
    ),
    "first": Rule(
        first, "imitate the direct reply, prefer it to the plain and the spoiled ones", GRADED
    ),
    "direct-distillation": Rule(
        direct_distillation,
        "imitate human and model where both are rated 3, prefer a model rated 3 to a human "
        "rated 1 or 2",
        RATED,
    ),
    "improved-human": Rule(
        improved_human,
        "imitate a human rated 3 and what improves it, prefer what improves a human rated 1 or 2",
        RATED,
    ),
    "improved-llm": Rule(
        improved_llm,
        "imitate the human and what improves a teacher's own response in 54 % of the dialogues, "
        "prefer it to the human in the others",
        "what `distill improve --over llm` wrote",
    ),
    "as-given": Rule(as_given, "imitate every response there is, no preferences", "responses"),
}
BY_RESPONDER = ("direct-distillation", "improved-human", "improved-llm", "as-given")
BY_STRATEGY = ("improved-human", "improved-llm")
