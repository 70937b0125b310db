"""`distill demo pocket FILE --out DIR`: a web folder in which the file itself talks, on any phone.

In: an exported .gguf, or a folder that this command wrote. Out: a folder of static files, and with
`--serve` a server of it on this machine. Refused: what `distill runtime` refuses of the file, a
file too large for a page (Unsupported), and a folder that holds something else (BadInput).
"""

import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from demo.pocket_folder import Built, build, is_built
from demo.pocket_host import HEADERS, host
from distill.core.command import BY_LANGUAGE, GUARD_LOCALES, Outcome, command, offered
from distill.core.errors import BadInput
from distill.core.naming import exported_artifact
from distill.core.progress import say

PORT = 8090


@command
def run(
    artifact: Annotated[
        Path, typer.Argument(help="An exported file (.gguf), or a folder written before.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder to write; absent: only served.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve it on this machine.")] = False,
    port: Annotated[
        int,
        typer.Option(help="Port of --serve on 127.0.0.1; 0 takes a free one.", min=0, max=65535),
    ] = PORT,
    report: Annotated[
        Path | None, typer.Option(help="Page of `distill eval report`; default: as found beside.")
    ] = None,
    guard_locale: Annotated[
        str,
        typer.Option(
            help="Whose help lines are named, e.g. en-US; auto: those of the reader's language; "
            "default: no country's.",
            autocompletion=offered(GUARD_LOCALES, BY_LANGUAGE),
        ),
    ] = BY_LANGUAGE,
    guard_policy: Annotated[
        Path | None, typer.Option(help="A guard policy of your own, instead of the bundled one.")
    ] = None,
) -> Outcome:
    """Write a web folder that runs a file in the browser, offline after the first visit."""
    if is_built(artifact):
        if out:
            raise BadInput(f"{artifact} is written already; leave --out away and add --serve")
        return served(artifact, port)
    if exported_artifact(artifact).is_dir():
        raise BadInput(f"{artifact} is an ONNX folder, and the page runs an exported .gguf")
    if not (out or serve):
        raise BadInput("nothing to do; give --out DIR to write the folder, --serve to try it")
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "pocket"
        built = build(artifact, folder, report, guard_locale, guard_policy)
        outcome = told(built)
        if serve:
            for line in outcome.text if out else ():
                say(line)
            served(folder, port)
    return outcome


def served(folder: Path, port: int) -> Outcome:
    """Serve until Ctrl-C."""
    with host(folder, port) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        say(f"{url} (this machine only; Ctrl-C ends it)")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    return Outcome({"folder": str(folder), "url": url})


def told(built: Built) -> Outcome:
    headers = "; ".join(f"{name}: {value}" for name, value in HEADERS.items())
    lines = [
        f"{built.folder}: {built.size_bytes / 1e6:.1f} MB, {built.model_bytes / 1e6:.1f} MB of it "
        f"the model, in {len(built.parts)} part(s)",
        *built.remarks,
        f"try it: distill demo pocket {built.folder} --serve",
        "host it: put the folder on any static host with https, without which browsers keep "
        "nothing for flight mode; then open it on the phone and add it to the home screen",
        f"faster at the first visit, where the host lets you send headers: {headers}",
    ]
    return Outcome({**built.record(), "headers": HEADERS}, lines)
