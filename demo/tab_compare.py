"""The tab *Compare*: one prompt, two files, names hidden until the vote.

In: two served files and where votes are saved. Out: components and their events inside the page
that is being built. Votes stay in the page's session until a person saves them.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from demo.ballot import QUESTION, Ballot, Candidate, Round, Vote, interval, new_round, save
from demo.desk import Desk
from demo.hearing import Ear, Heard, together
from demo.tab_chat import AT_ONCE, QUIET, Update, entry
from demo.turns import WROTE, folded_html, help_html
from distill.core.errors import KindredError
from distill.core.serving import Served

ONE_FILE = (
    "Only one file is open, and a comparison takes two. Name both, for example the base's and the "
    "student's: `distill demo chat STUDENT BASE`."
)
BLIND = (
    "Both files get the same message, at the same time and with an empty past. Which stands left "
    "is drawn by lot, and the names are hidden until you vote."
)
VOTES: tuple[tuple[str, Vote], ...] = (
    ("Left", "left"),
    ("Tie", "tie"),
    ("Right", "right"),
)
PLACES = ("Left", "Right")
HELPED = (
    "No vote: the help comes first whichever model answers, and what the models wrote is folded."
)


@dataclass(frozen=True)
class Contest:
    """The two files, as they are served, named, and known by digest; and the folder of votes."""

    servers: tuple[Served, Served]
    pair: tuple[Candidate, Candidate]
    votes: Path


class CompareTab:
    """The components, and what happens to them in a round: ask, hear, vote, save."""

    def __init__(self, contest: Contest, ear: Ear) -> None:
        self._contest, self._ear = contest, ear
        self.desk: Desk[Ballot] = Desk(Ballot)
        gr.Markdown(BLIND)
        with gr.Row(elem_classes="entry"):
            self.box = entry("Message to both")
            self.send = gr.Button("Ask both", variant="primary", scale=0, min_width=110)
            self.stop = gr.Button("Stop", scale=0, min_width=110, visible=False)
        self.help = gr.HTML(visible=False)
        with gr.Row():
            self.sides = [
                gr.Textbox(label=name, lines=5, max_lines=14, interactive=False, min_width=280)
                for name in PLACES
            ]
        self.folds = [gr.HTML(visible=False) for _ in PLACES]
        self.question = gr.Markdown(QUESTION, elem_classes="figures")
        with gr.Row():
            self.buttons = [gr.Button(name, interactive=False, min_width=80) for name, _ in VOTES]
        self.score = gr.Markdown(tally(Ballot(), contest.pair), elem_classes="figures")
        self.keep = gr.Button("Save the votes", interactive=False, size="sm")
        self.saved = gr.Markdown(" ", elem_classes="figures")
        self._wire()

    def _wire(self) -> None:
        page = [self.send, self.stop, self.help, *self.sides, *self.folds, self.question]
        page += [*self.buttons, self.score, self.keep, self.saved]
        streams = {"concurrency_limit": None, "trigger_mode": "multiple", **QUIET}
        gr.on([self.box.submit, self.send.click], self.ask, [self.box], page, **streams)
        self.stop.click(self.halt, **AT_ONCE)
        for button, (_, which) in zip(self.buttons, VOTES, strict=True):
            button.click(voting(self, which), None, page, **AT_ONCE)
        self.keep.click(self.write, None, [self.saved], **AT_ONCE)

    async def ask(self, text: str, request: gr.Request) -> AsyncGenerator[Update]:
        """Stream both replies to one message."""
        if not text.strip():
            yield {self.saved: gr.skip()}
            return
        visit = self.desk.visit(request)
        stop, latest = visit.begin(), new_round(text.strip())
        said = [{"role": "user", "content": latest.prompt}]
        languages = request.headers.get("accept-language", "")
        asked = [self._ear.reply(server, said, languages) for server in self._contest.servers]
        yield {self.question: " ", **self.looks(latest, True)}
        async with aclosing(together(asked, stop)) as news:
            async for first, second in news:
                if not visit.awaits(stop):
                    break
                latest = replace(latest, replies=(first, second))
                yield self.heard(latest)
        if visit.awaits(stop):
            visit.value = visit.value.with_round(latest)
            yield {self.question: question(latest), **self.looks(latest, False)}
        else:
            yield {self.saved: gr.skip()}

    def heard(self, latest: Round) -> Update:
        helped = next((heard for heard in latest.replies if heard.help), Heard())
        block = help_html(helped.help, helped.locale) if helped.help else ""
        places = zip(self.sides, latest.sides, strict=True)
        return {
            self.help: gr.update(value=block, visible=bool(block)),
            **{side: side_update(self._contest, latest, place, side) for side, place in places},
        }

    def folded(self, latest: Round, busy: bool) -> Update:
        """Both replies for those alone who open them; while they come there is nothing to open."""
        shown = latest.helped and not busy
        wrote = [latest.replies[place].text if shown else "" for place in latest.sides]
        titles = [f"{WROTE} ({name.lower()})" for name in PLACES]
        return {
            fold: gr.update(value=folded_html(words, title) if words else "", visible=bool(words))
            for fold, title, words in zip(self.folds, titles, wrote, strict=True)
        }

    def looks(self, latest: Round, busy: bool) -> Update:
        """The page as it stands for the latest round."""
        votable = latest.votable and not busy
        return {
            **self.heard(latest),
            **self.folded(latest, busy),
            self.send: gr.update(visible=not busy),
            self.stop: gr.update(visible=busy),
            **{button: gr.update(interactive=votable) for button in self.buttons},
        }

    def vote(self, which: Vote, request: gr.Request) -> Update:
        """Count a vote on the round that waits for one, and show the names."""
        visit = self.desk.visit(request)
        if not (visit.value.open and visit.value.open.votable):
            return {self.saved: gr.skip()}
        visit.value = visit.value.voting(which)
        latest = visit.value.rounds[-1]
        return {
            **self.looks(latest, False),
            self.question: outcome(latest, self._contest.pair),
            self.score: tally(visit.value, self._contest.pair),
            self.keep: gr.update(interactive=True),
            self.saved: " ",
        }

    async def write(self, request: gr.Request) -> str:
        ballot = self.desk.visit(request).value
        try:
            return kept(self._contest, save(ballot, self._contest.pair, self._contest.votes))
        except (KindredError, OSError) as error:
            return f"Not saved: {error}"

    async def halt(self, request: gr.Request) -> None:
        self.desk.visit(request).stop()


def voting(tab: CompareTab, which: Vote) -> Any:
    """The event of one button."""

    async def voted(request: gr.Request) -> Update:
        return tab.vote(which, request)

    return voted


def side_update(contest: Contest, latest: Round, place: int, side: Any) -> Any:
    """A reply, with the name of its file only after the vote; none beside a block of help."""
    heard = latest.replies[place]
    label = f"{side.label}: {contest.pair[place].name}" if latest.vote else side.label
    text = "" if latest.helped else heard.text
    return gr.update(value=text, label=label, visible=not latest.helped)


def question(latest: Round) -> str:
    """What the person is asked, or why there is nothing to ask."""
    if troubles := [heard.trouble for heard in latest.replies if heard.trouble]:
        return f"No vote: {troubles[0]}."
    if latest.helped:
        return HELPED
    return QUESTION if latest.votable else "No vote: a reply is empty."


def outcome(latest: Round, pair: tuple[Candidate, Candidate]) -> str:
    """What the vote said, and how fast each side was."""
    said = "a tie" if latest.winner is None else f"{pair[latest.winner].name} is better"
    speeds = [f"{pair[place].name} {speed(latest.replies[place])}" for place in latest.sides]
    return f"You voted: {said}. {'; '.join(speeds)}."


def speed(heard: Heard) -> str:
    return f"{(heard.first_token_s or 0) * 1000:.0f} ms, {heard.tokens_per_s:.0f} tokens/s"


def tally(ballot: Ballot, pair: tuple[Candidate, Candidate]) -> str:
    """All votes of this page, and what they say of the first file."""
    wins, losses, ties = ballot.counts()
    if not ballot.voted:
        return "No votes yet."
    counts = f"{pair[0].name} {wins}, {pair[1].name} {losses}, ties {ties}."
    if not wins + losses:
        return f"{counts} Nothing is decided."
    low, high = interval(wins, losses)
    decided = f"{wins + losses} decided vote{'s' if wins + losses > 1 else ''}"
    return (
        f"{counts} {pair[0].name} is preferred in {wins / (wins + losses):.0%} of {decided} "
        f"(95 % interval {low:.0%} to {high:.0%})."
    )


def kept(contest: Contest, count: int) -> str:
    """Where the votes lie, and the command that counts them."""
    folder = contest.votes
    first, second = (f"{folder}/answers/{one.name}.jsonl" for one in contest.pair)
    command = (
        f"distill eval winrate {first} {second} --dialogues {folder}/sets/test.jsonl "
        f"--judge person --out {folder}/judged"
    )
    return f"Votes in this folder: {count}. Count them with:\n\n`{command}`"
