"""The guard: when a message suggests a crisis, people who can help are named before model text.

In: a text, or a conversation. Out: `Assessment`: whether it fired, on which entry of the policy,
and the resources to show. Refused: an unknown locale or a broken policy file (BadInput). Nothing
is stored, logged or sent. It reads English; it is a signpost, not a diagnosis, and misses things.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from runtime.guarding.classifier import Classifier, bundled_classifier
from runtime.guarding.features import Seen, look, passages
from runtime.guarding.locales import DEFAULT, END, Resource, block, known, openings, resources_for
from runtime.guarding.policy import Entry, Policy, read_policy
from runtime.guarding.words import words_of

__all__ = ["Assessment", "Checked", "Entry", "Guard", "Resource", "check"]


@dataclass(frozen=True)
class Assessment:
    """What the guard makes of one message.

    `score` is the classifier's probability of a crisis; `entry` and `resources` are there only
    when it fired.
    """

    fired: bool
    score: float
    entry: Entry | None = None
    resources: tuple[Resource, ...] = ()
    locale: str = DEFAULT
    block: str = field(default="", repr=False)


@dataclass(frozen=True)
class Checked:
    """What the guard makes of a conversation, and whether the next reply begins with a block."""

    assessment: Assessment
    message: int | None = None  # the place of the message on which it fired
    shown: bool = False

    @property
    def block(self) -> str:
        return self.assessment.block if self.shown else ""

    def report(self) -> dict[str, Any]:
        """For the response; it tells of the message its place and never a word of it."""
        found = self.assessment
        if found.entry is None:
            return {"fired": False}
        return {
            "fired": True,
            "entry": found.entry.id,
            "says": found.entry.says,
            "locale": found.locale,
            "message": self.message,
            "shown": self.shown,
            "resources": [{"kind": r.kind, "text": r.text} for r in found.resources],
        }


class Guard:
    """One policy with one locale."""

    def __init__(
        self,
        *,
        locale: str = DEFAULT,
        policy: Policy | None = None,
        classifier: Classifier | None = None,
    ) -> None:
        self.locale = known(locale)
        self._policy = policy or read_policy()
        self._classifier = classifier or bundled_classifier()
        self._openings = tuple(openings())

    def check(self, text: str) -> Assessment:
        """Assess one message; a long one passage by passage, by its worst."""
        score, fired = 0.0, None
        for words in passages(words_of(text)):
            seen = look(words, self._policy)
            chances = self._classifier.probabilities(seen)
            chance = 1 - chances["not"]
            entry = self._sure(seen) or self._likely(seen, chances)
            if entry is not None and (fired is None or chance > score):
                fired = entry
            score = max(score, chance)
        if fired is None:
            return Assessment(False, score)
        shown = resources_for(self.locale, fired.resources)
        text = block(self.locale, fired.id, shown)
        return Assessment(True, score, fired, shown, self.locale, text)

    def _sure(self, seen: Seen) -> Entry | None:
        """The entry whose signals suffice alone."""
        for entry in self._policy.entries.values():
            alone, unless = seen.signals & {*entry.alone}, seen.contexts & {*entry.unless}
            if alone and not unless:
                return entry
        return None

    def _likely(self, seen: Seen, chances: Mapping[str, float]) -> Entry | None:
        """The likeliest entry; words alone, without a signal, must speak louder."""
        policy = self._policy
        needed = policy.threshold if seen.signals else policy.threshold_of_words
        if 1 - chances["not"] < needed:
            return None
        return max(self._policy.entries.values(), key=lambda entry: chances[entry.id])

    def check_conversation(self, messages: Sequence[Mapping[str, str]]) -> Checked:
        """Fire on the newest user message that matters.

        The block is shown unless that message was answered with one already, which a client tells
        by sending the reply back.
        """
        shown = True
        for place in range(len(messages) - 1, -1, -1):
            role, content = messages[place]["role"], messages[place]["content"]
            if role == "assistant" and content.startswith(self._openings):
                shown = False
            elif role == "user" and (found := self.check(content)).fired:
                return Checked(found, place, shown)
        return Checked(Assessment(False, 0.0))

    def without_blocks(self, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """The messages without the guard's own blocks: a model would learn to write them itself."""
        return [
            {**message, "content": self._own(message["content"])}
            if message["role"] == "assistant"
            else dict(message)
            for message in messages
        ]

    def _own(self, content: str) -> str:
        """A reply without the block that it may begin with."""
        return content.partition(END)[2] if content.startswith(self._openings) else content


@lru_cache(maxsize=8)
def _guard(locale: str, policy: Path | None) -> Guard:
    return Guard(locale=locale, policy=read_policy(policy))


def check(text: str, *, locale: str = DEFAULT, policy: Path | None = None) -> Assessment:
    """Assess one message by the bundled policy, or by that of a file."""
    return _guard(locale, policy).check(text)
