"""Endless simple emotional dialogues from the event schemas and the moments.

In: a seed. Out: `Example` values, always the same for the same seed and version; the events and
moments of `valid` and `test` never occur in `train`. Nothing is read but the package's own files.
"""

import hashlib
import itertools
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from distill.core.records import Split, Turn
from distill.corpora.curriculum import VERSION
from distill.corpora.curriculum.echo import echo
from distill.corpora.curriculum.events import Event, FollowUp, Shared, emotion_files
from distill.corpora.curriculum.grammar import (
    FIRST_PERSON,
    SECOND_PERSON,
    THIRD_PERSON,
    Filler,
    render,
)
from distill.corpora.curriculum.moments import Moment, moment_files

GRADES = ("plain", "direct", "improved")
HELD_OUT_PERCENT: Mapping[Split, int] = {"test": 5, "valid": 5}
MOMENTS, ECHOES = 0.7, 0.4
TURN_COUNTS, TURN_WEIGHTS = (0, 1, 2), (0.6, 0.3, 0.1)
SENTENCE_START = re.compile(r"(^|[.!?] )([a-z])")


@dataclass(frozen=True)
class Example:
    """One dialogue with a reply of each grade; a skeleton is a reply with open slots.

    `heard` is what a listener takes from it, said to the person: what happened, without more.
    """

    id: str
    emotion: str
    event: str
    split: Split
    turns: tuple[Turn, ...]
    privileged: Mapping[str, str]
    heard: str
    replies: Mapping[str, str]
    skeletons: Mapping[str, str]


def split_of_event(emotion: str, event: str) -> Split:
    """By the event, so that what is tested was never told in training."""
    percent = int(hashlib.sha256(f"{emotion}/{event}".encode()).hexdigest(), 16) % 100
    if percent < HELD_OUT_PERCENT["test"]:
        return "test"
    return "valid" if percent < HELD_OUT_PERCENT["test"] + HELD_OUT_PERCENT["valid"] else "train"


def examples(seed: int = 0, split: Split | None = None) -> Iterator[Example]:
    """An endless stream; with `split`, only that split's events and moments."""
    events = [
        (file.emotion, file.shared, event)
        for file in emotion_files()
        for event in file.events
        if split is None or split_of_event(file.emotion, event.id) == split
    ]
    moments = [
        (emotions.emotion, emotions.shared, moment)
        for emotions, file in zip(emotion_files(), moment_files(), strict=True)
        for moment in file.moments
        if split is None or split_of_event(emotions.emotion, moment.id) == split
    ]
    for index in itertools.count():
        name = f"{VERSION}-{seed}-{split or 'all'}-{index}"
        rng = random.Random(name)
        name = f"curriculum-{name}"
        if rng.random() < MOMENTS:
            yield told_moment(name, *rng.choice(moments), rng)
        else:
            yield told_event(name, *rng.choice(events), rng)


def told_event(
    name: str, emotion: str, shared: Shared, event: Event, rng: random.Random
) -> Example:
    fillers = {slot: rng.choice(event.fillers(slot)) for slot in event.slots}
    count = min(rng.choices(TURN_COUNTS, TURN_WEIGHTS)[0], len(event.turns))
    follow_ups = rng.sample(event.turns, count)
    notices = follow_ups[-1].notice if follow_ups else event.notice
    notice = rng.choice(notices)
    notes = {
        "emotion": emotion,
        "situation": sentences(rng.choice(event.situation), fillers),
        "feeling": sentences(event.feeling, fillers, THIRD_PERSON),
        "cause": sentences(event.cause, fillers, THIRD_PERSON),
        "need": sentences(event.need, fillers, THIRD_PERSON),
        "next": sentences(event.next, fillers, THIRD_PERSON),
    }
    return Example(
        id=name,
        emotion=emotion,
        event=event.id,
        split=split_of_event(emotion, event.id),
        turns=tuple(dialogue(event, shared, follow_ups, fillers, rng)),
        privileged=notes,
        heard=sentences(notice, fillers, SECOND_PERSON),
        **graded(event, shared, notice, event.help, fillers, rng),
    )


def told_moment(
    name: str, emotion: str, shared: Shared, moment: Moment, rng: random.Random
) -> Example:
    """One message; how else it was told is the situation that only a teacher may read."""
    fillers = {slot: rng.choice(moment.fillers(slot)) for slot in moment.slots}
    said, otherwise = rng.sample(moment.tell, 2)
    message = sentences(said, fillers)
    notice = rng.choice(moment.notice)
    if rng.random() < ECHOES:
        notice = echo(message) or notice
    return Example(
        id=name,
        emotion=emotion,
        event=moment.id,
        split=split_of_event(emotion, moment.id),
        turns=(Turn(role="user", content=Typing(rng)(message)),),
        privileged={"emotion": emotion, "situation": sentences(otherwise, fillers)},
        heard=sentences(notice, fillers, SECOND_PERSON),
        **graded(moment, shared, notice, moment.ask, fillers, rng),
    )


def graded(
    told: Event | Moment,
    shared: Shared,
    notice: str,
    help_lines: list[str],
    fillers: Mapping[str, Filler],
    rng: random.Random,
) -> dict[str, Any]:
    """A reply of each grade, and its skeleton."""
    skeletons = {
        "plain": plain(told, shared, rng),
        "direct": direct(told, shared, rng),
        "improved": improved(shared, notice, help_lines, fillers, rng),
    }
    replies = {g: sentences(s, fillers, SECOND_PERSON) for g, s in skeletons.items()}
    return {"replies": replies, "skeletons": skeletons}


def dialogue(
    event: Event,
    shared: Shared,
    follow_ups: list[FollowUp],
    fillers: Mapping[str, Filler],
    rng: random.Random,
) -> Iterator[Turn]:
    typing = Typing(rng)
    yield Turn(role="user", content=typing(sentences(rng.choice(event.tell), fillers)))
    for number, turn in enumerate(follow_ups):
        ask = rng.choice(turn.ask)
        if number == 0 and rng.random() < 0.4:
            ask = f"{rng.choice(shared.open)} {ask}"
        yield Turn(role="assistant", content=sentences(ask, fillers, SECOND_PERSON))
        yield Turn(role="user", content=typing(sentences(rng.choice(turn.say), fillers)))


def plain(told: Event | Moment, shared: Shared, rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.08:
        return rng.choice(shared.plain)
    line = rng.choice(told.plain)
    if kind < 0.4:
        return " ".join(rng.sample([line, rng.choice(shared.plain)], 2))
    return line


def direct(told: Event | Moment, shared: Shared, rng: random.Random) -> str:
    line = rng.choice(told.direct)
    return f"{line} {rng.choice(shared.direct)}" if rng.random() < 0.5 else line


def improved(
    shared: Shared,
    notice: str,
    help_lines: list[str],
    fillers: Mapping[str, Filler],
    rng: random.Random,
) -> str:
    """Pick up the person's words, feel with them, be moved to help: in varied order and length."""
    opener = [rng.choice(shared.open)] if rng.random() < 0.45 else []
    feel = [rng.choice(shared.feel)] if rng.random() < 0.85 else []
    middle = [notice, *feel]
    if rng.random() < 0.3:
        middle.reverse()
    line = rng.choice(help_lines)
    said = [sentences(part, fillers, SECOND_PERSON) for part in (notice, line)]
    if rng.random() < 0.3 or repeats(*said):
        line = rng.choice(shared.close)
    return " ".join([*opener, *middle, line])


def repeats(one: str, other: str) -> bool:
    """Do the two lines share four words in a row? A small student makes a loop of that."""
    first, second = (line.lower().split() for line in (one, other))
    grams = {tuple(first[i : i + 4]) for i in range(len(first) - 3)}
    return any(tuple(second[i : i + 4]) in grams for i in range(len(second) - 3))


def sentences(
    template: str, fillers: Mapping[str, Filler], person: Mapping[str, str] = FIRST_PERSON
) -> str:
    text = render(template, fillers, person)
    return SENTENCE_START.sub(lambda match: match.group(1) + match.group(2).upper(), text)


class Typing:
    """The way one person types: with care, or without capitals, apostrophes or a last period."""

    def __init__(self, rng: random.Random) -> None:
        self.lower = rng.random() < 0.15
        self.no_apostrophes = rng.random() < 0.12
        self.no_last_period = rng.random() < 0.25

    def __call__(self, text: str) -> str:
        if self.lower:
            text = text.lower()
        if self.no_apostrophes:
            text = text.replace("'", "")
        if self.no_last_period and text.endswith("."):
            text = text[:-1]
        return text
