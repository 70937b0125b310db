"""Event schemas of the curriculum, one YAML file an emotion.

In: `events/EMOTION.yaml` and `lexicon.yaml`. Out: `EmotionFile` and `Event` values.
Refused: an unknown key, a slot without fillers, a reply that names something which the person
did not say (ValueError with the file, the event and the template).
"""

from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict, Field

from distill.corpora.curriculum.grammar import PRONOUNS, Filler, slots_of

HERE = "distill.corpora.curriculum"
# libyaml reads 1.3 MB in a second; the pure loader takes twenty.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FollowUp(Strict):
    """One question of the listener, and what the person says to it."""

    ask: list[str] = Field(min_length=1)
    say: list[str] = Field(min_length=2)
    notice: list[str] = Field(min_length=2)


class Event(Strict):
    """One kind of thing that happens to people, told in several ways."""

    id: str
    slots: dict[str, str | list[str]] = {}
    tell: list[str] = Field(min_length=5)
    turns: list[FollowUp] = Field(min_length=1, max_length=2)
    notice: list[str] = Field(min_length=5)
    help: list[str] = Field(min_length=4)
    direct: list[str] = Field(min_length=2)
    plain: list[str] = Field(min_length=3)
    situation: list[str] = Field(min_length=1)
    feeling: str
    cause: str
    need: str
    next: str

    def fillers(self, slot: str) -> list[Filler]:
        return fillers_of(self.slots[slot])


class Shared(Strict):
    """Lines that fit every event of one emotion; no slots."""

    open: list[str] = Field(min_length=8)
    feel: list[str] = Field(min_length=14)
    close: list[str] = Field(min_length=10)
    direct: list[str] = Field(min_length=10)
    plain: list[str] = Field(min_length=8)


class EmotionFile(Strict):
    emotion: str
    shared: Shared
    events: list[Event] = Field(min_length=1)


def fillers_of(source: str | list[str]) -> list[Filler]:
    """A slot's own fillers, or those of the shared list that it names (`$friend`)."""
    entries = lexicon()[source.removeprefix("$")] if isinstance(source, str) else source
    return [Filler.parse(str(entry)) for entry in entries]


@cache
def lexicon() -> dict[str, list[str]]:
    text = resources.files(HERE).joinpath("lexicon.yaml").read_text("utf-8")
    loaded: dict[str, list[str]] = yaml.load(text, Loader=LOADER)
    return loaded


def parse(text: str, where: str) -> EmotionFile:
    """Read one emotion's file; ValueError says what is wrong and where."""
    try:
        file = EmotionFile.model_validate(yaml.load(text, Loader=LOADER))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{where}: {error}") from error
    problems = [f"{where}: {line}" for event in file.events for line in problems_of(event)]
    problems += [
        f"{where}: shared line has a slot: {line}"
        for lines in file.shared.model_dump().values()
        for line in lines
        if slots_of(line)
    ]
    ids = [event.id for event in file.events]
    problems += [
        f"{where}: event id {i} occurs twice" for i in sorted(set(ids)) if ids.count(i) > 1
    ]
    if problems:
        raise ValueError("\n".join(problems))
    return file


def problems_of(event: Event) -> list[str]:
    """Everything that would make a dialogue of this event incoherent."""
    found = slot_problems(event.id, event.slots)
    told = set.intersection(*(slots_of(line) for line in event.tell))
    replies = event.notice + event.help + event.direct + event.plain
    found += grounded(event.id, replies, told, "`tell`")
    for turn in event.turns:
        found += grounded(event.id, turn.ask, told, "`tell`")
        said = told | set.intersection(*(slots_of(line) for line in turn.say))
        found += grounded(event.id, turn.notice, said, "`tell` and `say`")
    everything = [*event.tell, *event.situation, event.feeling, event.cause, event.need, event.next]
    everything += [line for turn in event.turns for line in turn.say]
    found += grounded(event.id, everything, set(event.slots), "`slots`")
    return found


def slot_problems(name: str, slots: dict[str, str | list[str]]) -> list[str]:
    found = []
    for slot, source in slots.items():
        if isinstance(source, str) and source.removeprefix("$") not in lexicon():
            found.append(f"{name}: no list named {source} in the lexicon")
        elif bad := [f.text for f in fillers_of(source) if f.pronoun not in PRONOUNS]:
            found.append(f"{name}: slot {slot} has fillers with an unknown pronoun: {bad}")
    return found


def grounded(name: str, lines: list[str], known: set[str], where: str) -> list[str]:
    return [
        f"{name}: slot {sorted(missing)} is not in every line of {where}: {line}"
        for line in lines
        if (missing := slots_of(line) - known)
    ]


@cache
def emotion_files() -> tuple[EmotionFile, ...]:
    folder = resources.files(HERE).joinpath("events")
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".yaml"))
    return tuple(parse(folder.joinpath(n).read_text("utf-8"), n) for n in names)
