"""Moments of the curriculum: small everyday things told in one message, one YAML file an emotion.

In: `moments/EMOTION.yaml`. Out: `Moment` values. Refused: what an event refuses (see `events`), a
moment that is told as another one is (ValueError with the file, the moment and the line).

An event is a story with follow-up questions and many lines; a moment is one line and its echo.
Events teach talk, moments the many words that a feeling hides in.
"""

import hashlib
from functools import cache, cached_property
from importlib import resources

import yaml
from pydantic import Field

from distill.corpora.curriculum.events import (
    HERE,
    LOADER,
    Strict,
    emotion_files,
    fillers_of,
    grounded,
    slot_problems,
)
from distill.corpora.curriculum.grammar import Filler, slots_of


class Moment(Strict):
    """One thing that happened, told three ways, and lines that answer it."""

    slots: dict[str, str | list[str]] = Field(default_factory=dict)
    tell: list[str] = Field(min_length=3)
    notice: list[str] = Field(min_length=2)
    ask: list[str] = Field(min_length=1)
    direct: list[str] = Field(min_length=1)
    plain: list[str] = Field(min_length=1)

    @cached_property
    def id(self) -> str:
        """Named by its words, so that a new moment moves no other one to another split."""
        return hashlib.sha256(self.tell[0].encode()).hexdigest()[:10]

    def fillers(self, slot: str) -> list[Filler]:
        return fillers_of(self.slots[slot])


class MomentFile(Strict):
    emotion: str
    moments: list[Moment] = Field(min_length=1)


def parse_moments(text: str, where: str) -> MomentFile:
    """Read one emotion's moments; ValueError says what is wrong and where."""
    try:
        file = MomentFile.model_validate(yaml.load(text, Loader=LOADER))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{where}: {error}") from error
    problems = [f"{where}: {line}" for moment in file.moments for line in moment_problems(moment)]
    told = [moment.tell[0] for moment in file.moments]
    problems += [f"{where}: told twice: {t}" for t in sorted(set(told)) if told.count(t) > 1]
    if problems:
        raise ValueError("\n".join(problems))
    return file


def moment_problems(moment: Moment) -> list[str]:
    """Everything that would make a dialogue of this moment incoherent."""
    name = f"moment {moment.tell[0]!r}"
    if broken := slot_problems(name, moment.slots):
        return broken
    told = set.intersection(*(slots_of(line) for line in moment.tell))
    replies = [*moment.notice, *moment.ask, *moment.direct, *moment.plain]
    return [
        *grounded(name, moment.tell, set(moment.slots), "`slots`"),
        *grounded(name, replies, told, "`tell`"),
    ]


@cache
def moment_files() -> tuple[MomentFile, ...]:
    """The moments of every emotion, in the order of `emotion_files`."""
    folder = resources.files(HERE).joinpath("moments")
    names = [f"{file.emotion}.yaml" for file in emotion_files()]
    return tuple(parse_moments(folder.joinpath(n).read_text("utf-8"), n) for n in names)
