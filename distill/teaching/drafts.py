"""What a teacher wrote, before it is a record, and how tasks and responses are named.

In: `Finished` drafts. Out: `Response` records with author, version, prompts and digests.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.core.naming import named
from distill.core.records import Response
from distill.teaching.prompts import Prompt
from distill.teaching.steps import Finished


@dataclass(frozen=True)
class Draft:
    """A text and what it answers."""

    dialogue_id: str
    strategy: str
    text: str
    reasoning: str | None = None
    improves: str | None = None


def author_of(teacher: str) -> str:
    """The name by which `compose --responder` finds a teacher: its model, or its folder's name."""
    provider, _, model = teacher.partition(":")
    return named(Path(model)).name if provider == "transformers" else model


def response_of(finished: Finished[Draft], author: str) -> Response:
    draft = finished.value
    names, digests = joined(finished.prompts)
    return Response(
        id=finished.name,
        dialogue_id=draft.dialogue_id,
        text=draft.text,
        author=author,
        author_version=finished.version or None,
        strategy=draft.strategy,
        improves=draft.improves,
        prompt=names,
        prompt_digest=digests,
        reasoning=draft.reasoning,
    )


def joined(prompts: Sequence[Prompt]) -> tuple[str, str]:
    """Names and digests of the prompts in the order in which they were asked."""
    return "+".join(one.name for one in prompts), "+".join(one.digest for one in prompts)


def responses_of(finished: Iterable[Finished[Draft]], author: str) -> list[Response]:
    return [response_of(one, author) for one in finished]
