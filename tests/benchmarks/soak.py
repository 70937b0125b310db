"""Chats that go on for hours against a real server.

    python -m tests.benchmarks.soak FILE MINUTES [--chats 4] [--pause 12] [--json]

Each chat sends turn after turn, reads for a while in between, and starts anew when its context is
full; every fifth turn is asked for in one piece, every seventh reader leaves early. Printed: turns,
errors, streams that ended without a finish reason, replies that are still computed when all have
left, what the server wrote to its log, its share of a core, and the slope of resident memory after
the first tenth of the time. Exit code 1 when there is an error, a lost stream, or a reply left.
"""

import json as json_format
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import openai
import psutil
import typer

from tests.runtime.serving import Serving

SAYINGS = (
    "I lost my job today and I do not know what to do.",
    "My sister passed her exam!",
    "Nobody came to my birthday.",
    "We are moving to another town and I will miss the sea.",
    "Thank you. What would you do?",
)


@dataclass
class Tally:
    """What all chats have come to."""

    turns: int = 0
    left: int = 0
    restarts: int = 0
    lost: int = 0
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str) -> None:
        with self.lock:
            setattr(self, name, getattr(self, name) + 1)


def turn(client: openai.OpenAI, model: str, talk: list[Any], draw: random.Random) -> str | None:
    """One reply's text, or None when its reader left; LookupError for a stream without an end."""
    options = {"model": model, "messages": talk, "max_tokens": 48, "temperature": 1.0}
    if draw.randrange(5) == 0:
        made = client.chat.completions.create(**options)
        return made.choices[0].message.content
    leaves = draw.randrange(7) == 0
    text, finish = "", None
    with client.chat.completions.create(stream=True, **options) as stream:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
            if leaves and text:
                return None
    if finish is None:
        raise LookupError("a stream ended without a finish reason")
    return text


def chat(
    url: str, model: str, seed: int, end: float, pause_s: float, over: threading.Event, tally: Tally
) -> None:
    draw = random.Random(seed)
    talk: list[dict[str, str]] = []
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as client:
        while time.monotonic() < end:
            over.wait(draw.uniform(0, 2 * pause_s))
            talk.append({"role": "user", "content": draw.choice(SAYINGS)})
            try:
                text = turn(client, model, talk, draw)
            except LookupError:
                tally.add("lost")
                talk.pop()
            except openai.BadRequestError as error:
                if error.code != "context_length_exceeded":
                    tally.errors.append(str(error))
                talk.clear()
                tally.add("restarts")
            except openai.OpenAIError as error:
                tally.errors.append(str(error))
                talk.clear()
            else:
                tally.add("turns" if text is not None else "left")
                talk += [{"role": "assistant", "content": text}] if text else []
                if not text:
                    talk.pop()


def main(
    file: Annotated[Path, typer.Argument(help="A GGUF file.")],
    minutes: Annotated[float, typer.Argument(help="How long.")],
    chats: Annotated[int, typer.Option(help="Chats at once.")] = 4,
    pause: Annotated[float, typer.Option(help="Seconds between turns, in the mean.")] = 12.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Talk to a server for a long time."""
    tally, memory, over = Tally(), [], threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        with Serving(file, Path(folder) / "log") as server:
            started, end = time.monotonic(), time.monotonic() + minutes * 60
            process = psutil.Process(server.ready["pid"])
            given = (server.url, server.ready["model"])
            threads = [
                threading.Thread(target=chat, args=(*given, seed, end, pause, over, tally))
                for seed in range(chats)
            ]
            for thread in threads:
                thread.start()
            while time.monotonic() < end:
                memory.append((time.monotonic(), process.memory_info().rss / 2**20))
                told = f"{tally.turns} turns, {len(tally.errors)} errors, {memory[-1][1]:.1f} MB"
                print(f"{(time.monotonic() - started) / 60:.1f} min: {told}", file=sys.stderr)
                threads[0].join(min(30.0, minutes * 3))
            over.set()
            for thread in threads:
                thread.join()
            times_s = process.cpu_times()
            share = (times_s.user + times_s.system) / (time.monotonic() - started)
            left = still_computed(server.url)
        log = (Path(folder) / "log").read_text().splitlines()[1:]
    found = summary(tally, memory) | {
        "minutes": minutes,
        "still_computed": left,
        "log": log[:5],
        "cpu_share": round(share, 3),
    }
    typer.echo(json_format.dumps(found, indent=None if json else 1))
    if tally.errors or tally.lost or left or log:
        raise typer.Exit(1)


def still_computed(url: str) -> float:
    """Replies that run or wait, when every reader has what it wanted or has been gone for 1 s."""
    threading.Event().wait(1.0)
    text = httpx.get(f"{url.removesuffix('/v1')}/metrics").text
    gauge = next(line for line in text.splitlines() if line.startswith("kindred_active"))
    return float(gauge.split()[1])


def summary(tally: Tally, memory: list[tuple[float, float]]) -> dict[str, Any]:
    times, sizes = np.array(memory[len(memory) // 10 :]).T
    slope = float(np.polyfit(times / 3600, sizes, 1)[0]) if len(times) > 1 else 0.0
    return {
        "turns": tally.turns,
        "left": tally.left,
        "restarts": tally.restarts,
        "lost_streams": tally.lost,
        "errors": tally.errors[:10],
        "memory_mb": [round(float(sizes[0]), 1), round(float(sizes[-1]), 1)],
        "memory_slope_mb_per_hour": round(slope, 2),
    }


if __name__ == "__main__":
    typer.run(main)
