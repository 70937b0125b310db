"""The command of a stand-in: every fault is an option.

In: a class of server. Out: the function of its command, which serves until Ctrl-C.
"""

from collections.abc import Callable
from typing import Annotated, Protocol

import typer

from distill.dev.faults import Faults
from distill.dev.server import Server


class Kind(Protocol):
    """A stand-in's class."""

    def __call__(self, faults: Faults, *, port: int) -> Server: ...


def serving(kind: Kind, name: str) -> Callable[..., None]:
    def run(
        port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 0,
        latency_ms: Annotated[float, typer.Option(help="Wait before each answer.", min=0)] = 0.0,
        fail_429: Annotated[
            float, typer.Option("--fail-429", help="Share of requests refused.")
        ] = 0.0,
        fail_500: Annotated[
            float, typer.Option("--fail-500", help="Share of requests failed.")
        ] = 0.0,
        timeout: Annotated[float, typer.Option(help="Share of requests never answered.")] = 0.0,
        block: Annotated[float, typer.Option(help="Share of answers blocked as unsafe.")] = 0.0,
        truncate: Annotated[float, typer.Option(help="Share of answers cut in the middle.")] = 0.0,
        empty: Annotated[float, typer.Option(help="Share of answers without text.")] = 0.0,
        reorder: Annotated[bool, typer.Option(help="Shuffle the results of a batch.")] = False,
        drop: Annotated[
            float, typer.Option(help="Share of a batch's rows without a result.")
        ] = 0.0,
        errors: Annotated[float, typer.Option(help="Share of a batch's rows with an error.")] = 0.0,
        expire: Annotated[float, typer.Option(help="Share of a batch's rows that expire.")] = 0.0,
        fail_batch: Annotated[float, typer.Option(help="Share of batches refused whole.")] = 0.0,
        lose_batch: Annotated[
            float, typer.Option(help="Share of batches made, and answered with a failure.")
        ] = 0.0,
        batch_looks: Annotated[int, typer.Option(help="Looks until a batch is done.", min=0)] = 1,
        retry_after_ms: Annotated[
            int, typer.Option(help="Wait that a 429 asks for.", min=1)
        ] = 1000,
        seed: Annotated[int, typer.Option(help="Another seed, other fates.")] = 0,
        json: Annotated[bool, typer.Option("--json", help="Tell the base URL as JSON.")] = False,
    ) -> None:
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
            lose_batch=lose_batch,
            batch_looks=batch_looks,
            retry_after_ms=retry_after_ms,
            seed=seed,
        )
        kind(faults, port=port).serve(f"stand-in for {name}", json)

    run.__doc__ = f"Serve a stand-in for {name}'s chat, files and batches."
    return run
