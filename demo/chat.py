"""`distill demo chat [FILE [OTHER]]`: a page on this machine, on servers that it starts itself.

In: exported files; without one, the newest under runs/. Out: a page on loopback until Ctrl-C.
Nothing that is typed leaves the machine or is written to it, but votes that a person saves.
Refused: a file that is missing or unsound, more than two files, a port that cannot be had.
"""

import json as json_format
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from demo.ballot import Candidate
from demo.files import chosen, digest, names
from demo.gradio_touches import import_gradio
from demo.page import Opened, page
from demo.web import HOST, application, listener, serve
from distill.core.command import BY_LANGUAGE, GUARD_LOCALES, offered
from distill.core.errors import BadInput
from distill.core.jsonl import digest_text
from distill.core.progress import say
from distill.core.serving import served


@contextmanager
def all_opened(files: list[Path], guard_locale: str) -> Iterator[list[Opened]]:
    """Every file on a server of its own, started side by side while Gradio is imported.

    On Linux a server ends with the thread that started it, so the threads live as long as it.
    """
    with ThreadPoolExecutor(2 * len(files)) as threads, ExitStack() as servers:
        serving = [served(file, guard_locale=guard_locale) for file in files]
        starting = [threads.submit(servers.enter_context, one) for one in serving]
        digesting = [threads.submit(digest, file) for file in files]
        import_gradio()
        wait(starting)  # also when one fails: the others are ended with the block
        hosts = [one.result() for one in starting]
        named = zip(names(files), (one.result() for one in digesting), strict=True)
        yield [
            Opened(file, Candidate(*told), host)
            for file, told, host in zip(files, named, hosts, strict=True)
        ]


def votes_of(pair: list[Candidate], folder: Path) -> Path:
    """One folder a pair of files, found again by their digests."""
    both = digest_text(" ".join(one.sha256 for one in pair))[:8]
    return folder / "-".join([*(one.name for one in pair), both])


def run(
    artifacts: Annotated[
        list[Path] | None,
        typer.Argument(
            help="An exported file, and one to compare it with; by default the newest under runs/, "
            "and its base or another precision beside it."
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(help="Port of the page on 127.0.0.1; 0 takes a free one.", min=0, max=65535),
    ] = 7860,
    votes: Annotated[Path, typer.Option(help="Where votes go when you save them.")] = Path(
        "runs/votes"
    ),
    guard_locale: Annotated[
        str,
        typer.Option(
            help="Whose help lines are named in a crisis, e.g. en-US; auto: those of your "
            "browser's language; default: no country's.",
            autocompletion=offered(GUARD_LOCALES, BY_LANGUAGE),
        ),
    ] = BY_LANGUAGE,
    open: Annotated[bool, typer.Option("--open", help="Open the page in your browser.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the address as one JSON object.")
    ] = False,
) -> None:
    """Open a page: chat with a file, compare two blind, see where it came from."""
    files = chosen(artifacts or [])
    if votes.is_file():
        raise BadInput(f"{votes} is a file; give --votes a folder")
    listening = listener(port)
    url = f"http://{HOST}:{listening.getsockname()[1]}"
    if not json:
        say(f"opening {' and '.join(map(str, files))}")

    def ready() -> None:
        found = {
            "url": url,
            "files": list(map(str, files)),
            "servers": [one.server.url for one in opened],
        }
        text = f"Kindred is at {url} (Ctrl-C ends it)"
        typer.echo(json_format.dumps(found) if json else text)
        if open:
            typer.launch(url)

    with listening, all_opened(files, guard_locale) as opened:
        folder = votes_of([one.candidate for one in opened], votes)
        serve(application(page(opened, folder)), listening, ready)
