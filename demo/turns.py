"""The chats of one page, as values: they live in the page's session and nowhere else.

In: what a person and the model say. Out: new values, what is shown, what the server is sent.
Nothing is refused here.
"""

from dataclasses import dataclass, replace
from html import escape
from typing import Literal

TITLE_LENGTH = 40
HELP_TITLE = "People who can help"
WROTE = "What the model wrote"
ELSEWHERE = "findahelpline.com"


@dataclass(frozen=True)
class Said:
    """One turn; `help` is the block that the guard put before the model's words, as it came.

    `locale` tells whose help lines it names.
    """

    role: Literal["user", "assistant"]
    text: str
    help: str = ""
    locale: str = ""

    def message(self) -> dict[str, str]:
        return {"role": self.role, "content": self.help + self.text}


Talk = tuple[Said, ...]


@dataclass(frozen=True)
class Chats:
    """Every chat of the page, and the one that is open."""

    talks: tuple[Talk, ...] = ((),)
    current: int = 0

    @property
    def talk(self) -> Talk:
        return self.talks[self.current]

    def holding(self, talk: Talk) -> "Chats":
        """The open chat with other turns."""
        before, after = self.talks[: self.current], self.talks[self.current + 1 :]
        return replace(self, talks=(*before, talk, *after))

    def with_another(self) -> "Chats":
        """An empty chat is open; one that is there already is taken."""
        if () in self.talks:
            return replace(self, current=self.talks.index(()))
        return Chats((*self.talks, ()), len(self.talks))

    def choosing(self, number: int) -> "Chats":
        return replace(self, current=number)

    def titles(self) -> list[tuple[str, int]]:
        """What to call each chat, with its number; the newest first."""
        named = [(title(talk, number), number) for number, talk in enumerate(self.talks)]
        return named[::-1]


def title(talk: Talk, number: int) -> str:
    if not talk:
        return "New chat"
    words = " ".join(talk[0].text.split())
    short = words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1].rstrip() + "…"
    return f"{number + 1}. {short}"


def asking(talk: Talk, text: str) -> Talk:
    return (*talk, Said("user", text))


def unanswered(talk: Talk) -> Talk:
    """The chat up to the person's last message, which is to be answered again."""
    last = max((n for n, said in enumerate(talk) if said.role == "user"), default=-1)
    return talk[: last + 1]


def rewritten(talk: Talk, place: int, text: str) -> Talk:
    """The chat up to the message at `place` of what is shown, with other words in it."""
    return asking(talk[: origins(talk)[place]], text)


@dataclass(frozen=True)
class Bubble:
    """One message of the page; `html` is how it looks where it is more than its text."""

    role: Literal["user", "assistant"]
    text: str
    html: str = ""


def shown(talk: Talk) -> list[Bubble]:
    """The messages of the page: a block of help is a message of its own, and stands open.

    What the model wrote after it is folded: a small model's words are no answer to a crisis.
    """
    return [bubble for said in talk for bubble in bubbles(said)]


def origins(talk: Talk) -> list[int]:
    """For each message of the page, the turn that it is part of."""
    return [place for place, said in enumerate(talk) for _ in bubbles(said)]


def bubbles(said: Said) -> list[Bubble]:
    if not said.help:
        return [Bubble(said.role, said.text)]
    block = Bubble(said.role, said.help.strip(), help_html(said.help, said.locale))
    words = [Bubble(said.role, said.text, folded_html(said.text))] if said.text else []
    return [block, *words]


def help_html(block: str, locale: str) -> str:
    """A block of help as the page shows it, and whose help lines it names."""
    lines = "<br>".join(escape(line) for line in block.strip().splitlines())
    return f'<div class="help"><strong>{HELP_TITLE}</strong><br>{lines}{whose(locale)}</div>'


def folded_html(words: str, title: str = WROTE) -> str:
    """What the model wrote, for those alone who open it; the browser's own element does that."""
    summary = f"<summary>{title}</summary>"
    return f'<details class="wrote">{summary}<div>{escape(words)}</div></details>'


def whose(locale: str) -> str:
    """A browser's language is a guess at a country, so it is said, with a way out of it."""
    if locale in ("", "default"):
        return ""
    text = f"These are the help lines of {escape(locale)}. In another country: {ELSEWHERE}"
    return f"<br><small>{text}</small>"


def messages(talk: Talk) -> list[dict[str, str]]:
    """What the server is sent; it knows its own blocks again and never shows them to the model."""
    return [said.message() for said in talk]
