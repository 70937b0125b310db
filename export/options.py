"""Options of `distill export gguf`, with what they say of themselves."""

from pathlib import Path
from typing import Annotated

import typer

from distill.core.command import DEVICE_PROFILES, offered

Out = Annotated[
    Path | None,
    typer.Option(help="File (.gguf) or folder to write; `edge/` beside the checkpoint."),
]
Text = Annotated[
    Path | None,
    typer.Option(help="Held-out dialogues for the gate (JSON lines); ours without it."),
]
Imatrix = Annotated[
    str | None,
    typer.Option(help="Dialogues to measure importance on; `none` for none; ours without it."),
]
Tensor = Annotated[
    list[str] | None,
    typer.Option(help="PATTERN=TYPE for the tensors whose names match; may be repeated."),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="phone-4gb, phone-6gb, phone-8gb, laptop or a FILE.yaml: choose for it.",
        autocompletion=offered(DEVICE_PROFILES),
    ),
]
MaxBytes = Annotated[int | None, typer.Option(min=1, help="Choose a file of at most so many.")]
MaxKld = Annotated[
    float | None,
    typer.Option(min=0, help="Choose a file of at most this mean KL divergence, in nats."),
]
Judge = Annotated[
    str | None,
    typer.Option(help="Have `distill eval winrate` decide too: offline, openai, gemini."),
]
Jobs = Annotated[int, typer.Option(min=0, help="Threads that quantize; 0 for all cores.")]
Push = Annotated[str | None, typer.Option(help="OWNER/NAME on the Hugging Face hub to upload to.")]
YesPublish = Annotated[
    bool, typer.Option("--yes-publish", help="Without it nothing is ever uploaded.")
]
