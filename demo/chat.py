"""`distill demo chat FILE`: a chat page on this machine, on a runtime that it starts itself.

In: an exported file. Out: a page on loopback. Nothing that is typed leaves the machine or is
written to it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.core.command import Outcome, command
from distill.core.errors import MissingInput
from distill.core.serving import Served, served

EXAMPLES = (
    "I did not get the job. I really wanted it.",
    "My sister is having a baby and I am going to be an uncle!",
    "My best friend moved away last week.",
)


def page(server: Served) -> Any:
    """A Gradio chat that streams from the served model."""
    import gradio
    from openai import OpenAI

    client = OpenAI(base_url=server.url, api_key="local")

    def reply(message: str, history: list[dict[str, Any]]) -> Iterator[str]:
        turns = [{"role": t["role"], "content": text_of(t["content"])} for t in history]
        said: Any = [*turns, {"role": "user", "content": message}]
        stream = client.chat.completions.create(
            model=server.model, messages=said, stream=True, max_tokens=200
        )
        text = ""
        with stream:
            for chunk in stream:
                text += (chunk.choices and chunk.choices[0].delta.content) or ""
                yield text

    return gradio.ChatInterface(
        reply,
        title=f"Kindred: {server.model}",
        description="Runs on this machine; nothing you type leaves it or is stored.",
        examples=list(EXAMPLES),
        analytics_enabled=False,
        api_name="chat",
    )


def text_of(content: Any) -> str:
    """Gradio keeps a message as text or as a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


@command
def run(
    artifact: Annotated[Path, typer.Argument(help="An exported file (.gguf).")],
    port: Annotated[int, typer.Option(help="Port of the page on 127.0.0.1.")] = 7860,
) -> Outcome:
    """Open a chat page on a served file."""
    if not artifact.exists():
        raise MissingInput(f"{artifact} does not exist; write one with: distill export gguf")
    with served(artifact) as server:
        page(server).launch(server_name="127.0.0.1", server_port=port, share=False)
    return Outcome({"artifact": str(artifact)})
