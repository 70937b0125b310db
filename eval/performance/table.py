"""Every sample as one row of CSV, for a notebook or a spreadsheet.

In: samples and the digest of the file that gave them. Out: a file. Times are in milliseconds as the
client saw them; what begins with `server` is the server's own count.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from distill.core.jsonl import replacing
from eval.performance.measuring import Sample

COLUMNS = (
    "artifact_sha256", "kind", "name", "threads", "repeat", "prompt_tokens", "cached_tokens",
    "reply_tokens", "first_token_ms", "whole_ms", "server_prompt_ms", "server_tokens_per_s",
    "finish_reason", "between_pieces_ms",
)  # fmt: skip


def write_csv(path: Path, samples: Sequence[Sample], sha256: str) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(row(sample, sha256) for sample in samples)


def row(sample: Sample, sha256: str) -> list[object]:
    reply = sample.reply
    return [
        sha256,
        sample.kind,
        sample.name,
        sample.threads,
        sample.repeat,
        reply.prompt_tokens,
        reply.cached_tokens,
        reply.tokens,
        milliseconds(reply.first_token_s),
        milliseconds(reply.whole_s),
        milliseconds(reply.prompt_s),
        "" if reply.tokens_per_s is None else f"{reply.tokens_per_s:.2f}",
        reply.finish_reason,
        " ".join(map(milliseconds, reply.between_s)),
    ]


def milliseconds(value_s: float) -> str:
    return f"{value_s * 1000:.3f}"
