"""The figures of `latency.json` as tables in a terminal.

In: the figures. Out: tables. What was not measured is said to be not measured.
"""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from eval.pages.wording import NOT_MEASURED, rate, seconds, size, spread
from eval.performance.figures import SHARES

Figures = Mapping[str, Any]


def tables(data: Figures) -> list[Table]:
    return [summary(data), *([lengths(data["lengths"])] if data["lengths"] else [])]


def summary(data: Figures) -> Table:
    held = f", held to {data['profile']}" if data["profile"] else ""
    title = f"{data['file']} on {data['machine']['processor']}{held}"
    shown = Table(title=title, show_header=False)
    for name, value in rows(data).items():
        shown.add_row(name, value)
    return shown


def rows(data: Figures) -> dict[str, str]:
    within = f"95 % within {seconds(data['first_token_p95_s'])}"
    split = f"{size(data.get('private_bytes'))}, {size(data.get('file_backed_bytes'))}"
    machine, load = data["machine"], data["load"]
    return {
        "first token": f"{seconds(data['first_token_s'])} ({within})",
        "speed": speed_said(data),
        "between pieces of text": between_said(data["between_pieces_s"]),
        "whole reply": spread(data["whole_reply_s"], seconds),
        "peak memory": f"{size(data['peak_memory_bytes'])}, {data['peak_memory_source']}",
        "private, file-backed": f"{split}, each at its own peak",
        "start of the server": spread(load["start_s"], seconds),
        "its first reply": spread(load["first_reply_s"], seconds),
        "energy": energy_said(data["energy"]),
        "file": size(data["size_bytes"]),
        "measured over": f"{data['prompts']} prompts of {data['prompt_tokens']:.0f} tokens, "
        f"replies of {data['reply_tokens']:.0f} (medians), {data['threads']} threads, "
        f"load {machine['load_before']} to {machine['load_after']}",
        "artifact": f"sha256 {data['artifact_sha256'][:16]}...",
    }


def speed_said(data: Figures) -> str:
    if data["tokens_per_s"] is None:
        return "no reply had two tokens"
    return (
        f"{rate(data['tokens_per_s'])} (95 % of replies at least {rate(data['tokens_per_s_p5'])})"
    )


def between_said(found: Figures | None, *, named: bool = True) -> str:
    if not found:
        return NOT_MEASURED
    shares = {name: seconds(found[name]["value"]) for name in SHARES}
    if not named:
        return ", ".join(shares.values())
    told = ", ".join(f"{name} {value}" for name, value in shares.items())
    return f"{told} ({found['tokens_per_piece']:.1f} tokens each)"


def energy_said(found: Figures) -> str:
    if not found["reported"]:
        return f"not reported: {found['reason']}"
    return f"{found['joules_per_token']:.3g} J a token ({found['source']})"


def lengths(found: list[dict[str, Any]]) -> Table:
    columns = ("threads", "prompt", "first token", "prefill", "decode", "pieces p50, p95, p99")
    shown = Table(*columns, title="Prompts of a length, medians and 95 % intervals")
    for row in found:
        shown.add_row(
            str(row["threads"]),
            f"{row['prompt_tokens']:.0f} tokens",
            spread(row["first_token_s"], seconds),
            spread(row["prefill_tokens_per_s"], rate),
            spread(row["decode_tokens_per_s"], rate),
            between_said(row["between_pieces_s"], named=False),
        )
    return shown
