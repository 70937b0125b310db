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
from demo.listening import Heard, reply, together
from demo.turns import help_html
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


@dataclass(frozen=True)
class Contest:
    """The two files, as they are served, named, and known by digest; and the folder of votes."""

    servers: tuple[Served, Served]
    pair: tuple[Candidate, Candidate]
    votes: Path


def compare_tab(contest: Contest | None, desk: Desk) -> None:
    """Build the tab, or say what it lacks."""
    if contest is None:
        gr.Markdown(ONE_FILE)
        return
    ballot = gr.State(Ballot())
    gr.Markdown(BLIND)
    with gr.Row(elem_classes="entry"):
        box = gr.Textbox(
            label="Message to both",
            placeholder="Message to both",
            show_label=False,
            container=False,
            max_lines=6,
            scale=5,
            min_width=160,
        )
        send = gr.Button("Ask both", variant="primary", scale=0, min_width=110)
        stop = gr.Button("Stop", scale=0, min_width=110, visible=False)
    help_block = gr.HTML(visible=False)
    with gr.Row():
        sides = [
            gr.Textbox(label=name, lines=5, max_lines=14, interactive=False, min_width=280)
            for name in PLACES
        ]
    asked = gr.Markdown(QUESTION, elem_classes="figures")
    with gr.Row():
        buttons = [gr.Button(name, interactive=False, min_width=80) for name, _ in VOTES]
    score = gr.Markdown(tally(Ballot(), contest.pair), elem_classes="figures")
    keep = gr.Button("Save the votes", interactive=False, size="sm")
    saved = gr.Markdown(" ", elem_classes="figures")
    page = [ballot, send, stop, help_block, *sides, asked, *buttons, score, keep, saved]

    unchanged = {saved: gr.skip()}

    def heard_so_far(held: Ballot, latest: Round) -> dict[Any, Any]:
        help_text = next((heard.help for heard in latest.replies if heard.help), "")
        places = dict(zip(sides, latest.sides, strict=True))
        return {
            ballot: held,
            help_block: gr.update(value=help_html(help_text), visible=bool(help_text)),
            **{side: side_update(contest, latest, place, side) for side, place in places.items()},
        }

    def looks(held: Ballot, latest: Round, busy: bool) -> dict[Any, Any]:
        """The page as it stands for the latest round."""
        votable = latest.votable and not busy
        return {
            **heard_so_far(held, latest),
            send: gr.update(visible=not busy),
            stop: gr.update(visible=busy),
            **{button: gr.update(interactive=votable) for button in buttons},
        }

    async def ask(text: str, held: Ballot, request: gr.Request) -> AsyncGenerator[dict[Any, Any]]:
        """Stream both replies to one message."""
        if not text.strip():
            yield unchanged
            return
        latest, stopping = new_round(text.strip()), desk.begin(request.session_hash)
        said = [{"role": "user", "content": latest.prompt}]
        asking = [reply(desk.http, server, said) for server in contest.servers]
        yield {asked: " ", **looks(held, latest, True)}
        async with aclosing(together(asking, stopping)) as news:
            async for first, second in news:
                if not desk.serves(request.session_hash, stopping):
                    break
                latest = replace(latest, replies=(first, second))
                yield heard_so_far(held.with_round(latest), latest)
        if desk.serves(request.session_hash, stopping):
            desk.leave(request.session_hash)
            yield {asked: question(latest), **looks(held.with_round(latest), latest, False)}
        else:
            yield unchanged

    async def vote(held: Ballot, which: Vote) -> dict[Any, Any]:
        if not (held.open and held.open.votable):
            return unchanged
        held = held.voting(which)
        latest = held.rounds[-1]
        told = {asked: outcome(latest, contest.pair), score: tally(held, contest.pair)}
        return {**looks(held, latest, False), **told, keep: gr.update(interactive=True), saved: " "}

    async def write(held: Ballot) -> str:
        try:
            count = save(held, contest.pair, contest.votes)
        except (KindredError, OSError) as error:
            return f"Not saved: {error}"
        return kept(contest, count)

    async def halt(request: gr.Request) -> None:
        desk.stop(request.session_hash)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on(
        [box.submit, send.click],
        ask,
        [box, ballot],
        page,
        concurrency_limit=None,
        trigger_mode="multiple",
        **quiet,
    )
    stop.click(halt, queue=False, **quiet)
    for button, (_, which) in zip(buttons, VOTES, strict=True):
        button.click(voter(vote, which), [ballot], page, queue=False, **quiet)
    keep.click(write, [ballot], [saved], queue=False, **quiet)


def voter(vote: Any, which: Vote) -> Any:
    """The event of one button."""

    async def voted(held: Ballot) -> dict[Any, Any]:
        found: dict[Any, Any] = await vote(held, which)
        return found

    return voted


def side_update(contest: Contest, latest: Round, place: int, side: Any) -> Any:
    """A reply, with the name of its file only after the vote."""
    heard = latest.replies[place]
    label = f"{side.label}: {contest.pair[place].name}" if latest.vote else side.label
    return gr.update(value=heard.text, label=label)


def question(latest: Round) -> str:
    """What the person is asked, or why there is nothing to ask."""
    if troubles := [heard.trouble for heard in latest.replies if heard.trouble]:
        return f"No vote: {troubles[0]}."
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
    return (
        f"{counts} {pair[0].name} is preferred in {wins / (wins + losses):.0%} of "
        f"{wins + losses} decided votes (95 % interval {low:.0%} to {high:.0%})."
    )


def kept(contest: Contest, count: int) -> str:
    """Where the votes lie, and the command that counts them."""
    folder = contest.votes
    first, second = (f"{folder}/answers/{one.name}.jsonl" for one in contest.pair)
    return (
        f"Votes in this folder: {count}. Count them with:\n```sh\ndistill eval winrate {first} "
        f"{second} --dialogues {folder}/sets/test.jsonl --judge person --out {folder}/judged\n```"
    )
