"""Serve a stand-in for OpenAI on this machine: real wire formats, no model, no cost.

In: what is to go wrong, and how often. Out: one line with the base URL once it answers; then
chat completions, models, files and batches until Ctrl-C; GET /counts tells what was paid.
Refused: rates that are none, a port in use.
"""

from typing import Annotated

import typer

from distill.dev.faults import Faults
from distill.dev.openai_chat import application
from distill.dev.server import Server
from distill.dev.service import Service


class FakeOpenAI(Server):
    """`with FakeOpenAI(Faults(fail_429=0.1)) as server:` a client of `server.base_url`."""

    path = "/v1"

    def __init__(
        self,
        faults: Faults = Faults(),
        *,
        port: int = 0,
        key: str | None = None,
        models: tuple[str, ...] = (),
    ) -> None:
        service = Service(faults, key, models)
        super().__init__(application(service), service, port)


def run(
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 0,
    latency_ms: Annotated[float, typer.Option(help="Wait before each answer.", min=0)] = 0.0,
    fail_429: Annotated[float, typer.Option("--fail-429", help="Share of requests refused.")] = 0.0,
    fail_500: Annotated[float, typer.Option("--fail-500", help="Share of requests failed.")] = 0.0,
    timeout: Annotated[float, typer.Option(help="Share of requests never answered.")] = 0.0,
    block: Annotated[float, typer.Option(help="Share of answers blocked as unsafe.")] = 0.0,
    truncate: Annotated[float, typer.Option(help="Share of answers cut in the middle.")] = 0.0,
    empty: Annotated[float, typer.Option(help="Share of answers without text.")] = 0.0,
    reorder: Annotated[bool, typer.Option(help="Shuffle the results of a batch.")] = False,
    drop: Annotated[float, typer.Option(help="Share of a batch's rows without a result.")] = 0.0,
    errors: Annotated[float, typer.Option(help="Share of a batch's rows with an error.")] = 0.0,
    expire: Annotated[float, typer.Option(help="Share of a batch's rows that expire.")] = 0.0,
    fail_batch: Annotated[float, typer.Option(help="Share of batches refused whole.")] = 0.0,
    batch_looks: Annotated[int, typer.Option(help="Looks until a batch is done.", min=0)] = 1,
    retry_after_ms: Annotated[int, typer.Option(help="Wait that a 429 asks for.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed, other fates.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Tell the base URL as JSON.")] = False,
) -> None:
    """Serve a stand-in for OpenAI's chat, files and batches."""
    faults = Faults(
        latency_ms=latency_ms,
        fail_429=fail_429,
        fail_500=fail_500,
        timeout=timeout,
        block=block,
        truncate=truncate,
        empty=empty,
        reorder=reorder,
        drop=drop,
        errors=errors,
        expire=expire,
        fail_batch=fail_batch,
        batch_looks=batch_looks,
        retry_after_ms=retry_after_ms,
        seed=seed,
    )
    FakeOpenAI(faults, port=port).serve("stand-in for OpenAI", json)
