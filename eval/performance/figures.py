"""From samples to figures, each with the interval that so few replies allow.

In: samples. Out: plain dictionaries, as `latency.json` holds them. What no reply tells is None,
never zero. Intervals are 95 %, by bootstrap over replies (over repeats for prompts of a length):
they hold for this machine as it was then, not for another one.
"""

import statistics
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from eval.performance.client import Timed
from eval.performance.measuring import Sample
from eval.statistics import Indices, bootstrap, quantile

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def median_of(values: Sequence[float], seed: int) -> dict[str, float] | None:
    """`median`, and `low` and `high` where there are at least two values."""
    if not values:
        return None
    kept = np.asarray(values, dtype=float)
    interval = bootstrap(len(kept), lambda numbers: float(np.median(kept[numbers])), seed)
    ends = {"low": interval.low, "high": interval.high} if interval else {}
    return {"median": float(np.median(kept)), **ends}


def between_of(replies: Sequence[Timed], seed: int) -> dict[str, Any] | None:
    """Percentiles of the seconds between pieces of text; all pieces of a reply are drawn as one."""
    told = [reply for reply in replies if reply.between_s]
    gaps = [np.array(reply.between_s) for reply in told]
    if not gaps:
        return None
    every = np.concatenate(gaps)
    pieces = sum(len(reply.arrivals_s) for reply in told)
    tokens = sum(reply.tokens for reply in told)
    found: dict[str, Any] = {"pieces": pieces, "tokens_per_piece": tokens / pieces}
    for name, share in SHARES.items():

        def of(numbers: Indices, share: float = share) -> float:
            return float(np.quantile(np.concatenate([gaps[n] for n in numbers]), share))

        interval = bootstrap(len(gaps), of, seed)
        ends = {"low": interval.low, "high": interval.high} if interval else {}
        found[name] = {"value": float(np.quantile(every, share)), **ends}
    return found


def figures(replies: Sequence[Timed], seed: int) -> dict[str, Any]:
    """Of greedy replies to dialogues; a reply of one token has no speed, and counts in no rate."""
    waits = [reply.first_token_s for reply in replies]
    speeds = [speed for reply in replies if (speed := reply.tokens_per_s) is not None]
    return {
        "first_token_s": statistics.median(waits),
        "first_token_p95_s": quantile(waits, 0.95),
        "tokens_per_s": statistics.median(speeds) if speeds else None,
        "tokens_per_s_p5": quantile(speeds, 0.05) if speeds else None,
        "tokens_per_s_p95": quantile(speeds, 0.95) if speeds else None,
        "intervals": {
            "first_token_s": median_of(waits, seed),
            "tokens_per_s": median_of(speeds, seed),
        },
        "between_pieces_s": between_of(replies, seed),
        "whole_reply_s": median_of([reply.whole_s for reply in replies], seed),
        "prompts": len(replies),
        "prompt_tokens": statistics.median(reply.prompt_tokens for reply in replies),
        "reply_tokens": statistics.median(reply.tokens for reply in replies),
    }


def prefill_speed(reply: Timed) -> float:
    """Tokens of the prompt that were new to the server, by the wait for the first token."""
    return (reply.prompt_tokens - reply.cached_tokens) / reply.first_token_s


def decode_speed(replies: Sequence[Timed]) -> float | None:
    """All tokens after the first ones by all their seconds, over the replies of one repeat."""
    known = [(r.tokens - 1, (r.tokens - 1) / r.tokens_per_s) for r in replies if r.tokens_per_s]
    seconds = sum(took for _, took in known)
    return sum(steps for steps, _ in known) / seconds if seconds else None


def by_length(samples: Sequence[Sample], seed: int) -> list[dict[str, Any]]:
    """One row for each number of threads and length of prompt."""

    def place(sample: Sample) -> tuple[int, int]:
        return sample.threads, int(sample.name)

    asked = [sample for sample in samples if sample.kind != "dialogue"]
    asked.sort(key=lambda sample: (*place(sample), sample.repeat))
    return [row(*where, list(found), seed) for where, found in groupby(asked, key=place)]


def row(threads: int, length: int, samples: Sequence[Sample], seed: int) -> dict[str, Any]:
    new = [sample.reply for sample in samples if sample.kind == "prefill"]
    repeats = [
        [sample.reply for sample in found]
        for _, found in groupby(samples, key=lambda sample: sample.repeat)
    ]
    decode = [speed for replies in repeats if (speed := decode_speed(replies)) is not None]
    return {
        "threads": threads,
        "length": length,
        "prompt_tokens": statistics.median(reply.prompt_tokens for reply in new),
        "decoded_tokens": statistics.median(sum(r.tokens for r in found) for found in repeats),
        "repeats": len(repeats),
        "first_token_s": median_of([reply.first_token_s for reply in new], seed),
        "prefill_tokens_per_s": median_of([prefill_speed(reply) for reply in new], seed),
        "decode_tokens_per_s": median_of(decode, seed),
        "between_pieces_s": between_of([s.reply for s in samples], seed),
        "bench": bench_rows(length, repeats),
    }


def bench_rows(length: int, repeats: Sequence[Sequence[Timed]]) -> list[dict[str, Any]]:
    """The same as llama-bench names and sums it: the engine's own time, mean and deviation."""
    prefill = [
        (new.prompt_tokens - new.cached_tokens) / new.prompt_s
        for new, *_ in repeats
        if new.prompt_s
    ]
    decode = [speed for replies in repeats if (speed := decode_speed(replies)) is not None]
    tokens = round(statistics.median(sum(r.tokens for r in replies) for replies in repeats))
    tests = {f"pp{length}": prefill, f"tg{tokens} @ d{length}": decode}
    return [
        {
            "test": test,
            "mean_tokens_per_s": statistics.fmean(values),
            "deviation": statistics.stdev(values) if len(values) > 1 else None,
        }
        for test, values in tests.items()
        if values
    ]
