"""The smallest file that fits a device and is not inferior to the student.

In: a checkpoint, limits. Out: the chosen file, made and gated like any other, and the frontier
as a table and `NAME-frontier.png`. Refused: limits that no type meets (CheckFailed, with the
table), a judge without dialogues to answer (BadInput).

Candidates are written one after another from one F16 file and compared with torch, whose logits
are computed once. A candidate is inferior when the bound of its divergence or best-token
agreement, bootstrapped over conversations at 95 %, does not keep the limit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.errors import BadInput, CheckFailed
from distill.core.progress import remarks, say
from export.agreement import Agreement, Writer, rows_of_file, rows_of_torch
from export.checkpoint import Checkpoint
from export.conversations import normalized, spread
from export.device import Memory, memory_of
from export.frontier import Candidate, plot, table
from export.judging import Bout
from export.making import (
    F16_BITS,
    WIDEST_BITS,
    Bench,
    Made,
    Order,
    bench,
    finish,
    weights_of,
)
from export.parity import BATCH, LIMITS, LONGEST_PASSAGE, REPLY_TOKENS, passages_of
from export.quantize import Plan, read_back
from export.recorded import Recorded, affordable, size_of
from export.session import Session
from export.text_parity import unicode_form
from export.types import OF_BITS, type_named, type_of_bits
from runtime.device import Profile, read_profile

DRAWS, SEED = 2000, 0
CONTEXT = LONGEST_PASSAGE + REPLY_TOKENS
PLACE = "-TYPE.gguf"
# A mix may go a little below its name, with some matrices in a smaller type.
SURELY = 0.9


@dataclass(frozen=True)
class Limits:
    """What a file must keep; the profile's room is for weights, cache and buffers together."""

    profile: Profile | None
    max_bytes: int | None
    max_kld: float
    least_top1: float


def limits_for(device: str | None, max_bytes: int | None, max_kld: float | None) -> Limits:
    """Without --max-kld the limits of the gate for four bits: no lower quality is handed out."""
    gate = LIMITS[4]
    profile = read_profile(device) if device else None
    if max_kld is None:
        return Limits(profile, max_bytes, gate.mean_kld, gate.top1)
    loosest = max(LIMITS.values(), key=lambda limit: limit.mean_kld)
    top1 = min(limit.top1 for limit in LIMITS.values() if limit.mean_kld <= max(max_kld, 0.001))
    return Limits(profile, max_bytes, min(max_kld, loosest.mean_kld), top1)


def choose(
    checkpoint: Checkpoint,
    pattern: Path,
    order: Order,
    limits: Limits,
    judge: str | None,
    text: Path | None,
) -> tuple[Made, list[Any]]:
    """Measure, choose, make; `pattern` is the target, with TYPE where its type belongs."""
    if judge and text is None:
        raise BadInput("--judge needs dialogues to answer; give held-out ones with --text")
    with bench(checkpoint, pattern, order, room_to_choose(checkpoint, order, judge)) as at:
        reference = reference_of(at)
        bout = Bout(judge, text, at.folder) if judge and text else None
        found: list[tuple[Candidate, Plan]] = []
        for pair in measured(at, reference, limits):
            found.append(pair)
            tidy(found, at, every=bout is not None)
        chosen = smallest(found, bout, at)
        picture = pattern.with_name(f"{pattern.stem.removesuffix('-TYPE')}-frontier.png")
        candidates = [candidate for candidate, _ in found]
        kind = chosen and chosen[0].kind
        frontier = table(candidates, kind)
        if chosen is None:
            remarks().print(frontier)
            raise CheckFailed(f"no type of {checkpoint.folder} keeps the limits; {nearest(found)}")
        plan = replace(chosen[1], reason=f"{chosen[1].reason}; the smallest that keeps the limits")
        target = pattern.with_name(pattern.name.replace(PLACE, f"-{kind}.gguf"))
        record = {"choice": [candidate.record() for candidate in candidates]}
        made = finish(at, target, replace(order, kind=plan.type), plan, **record)
        plot(candidates, kind, picture)
    return made, [frontier, f"{picture}: the same as a picture"]


def room_to_choose(checkpoint: Checkpoint, order: Order, judge: str | None) -> int:
    """Bytes at most: F16, torch's logits, a trial, a candidate and the best before it, or all."""
    widths = {type_named(kind).nominal_bits_per_weight for kind, _ in OF_BITS.values()}
    files = sum(width + 1 for width in widths if width < F16_BITS) if judge else 2 * WIDEST_BITS
    bits = F16_BITS + WIDEST_BITS + files
    rows = size_of(order.texts.measured, checkpoint.config.vocab_size)
    return int(bits * weights_of(checkpoint) / 8) + rows


def tidy(found: Sequence[tuple[Candidate, Plan]], at: Bench, *, every: bool) -> None:
    """Remove files that cannot be chosen; with `every` a larger one still can, by a judge."""
    standing = sorted((one for one, _ in found if not one.against), key=lambda c: c.size_bytes)
    kept = {one.kind for one in (standing if every else standing[:1])}
    for one, _ in found:
        if one.kind not in kept:
            at.forget(one.kind)


def reference_of(at: Bench) -> Recorded:
    """Torch's logits of the held-out text with the replies that the F16 file writes."""
    checkpoint = at.checkpoint
    form = unicode_form(checkpoint)
    texts = [normalized(m, form) for m in at.order.texts.measured]
    most = affordable(texts, checkpoint.config.vocab_size)
    if most < len(texts):
        say(f"{most} of {len(texts)} conversations are measured: more logits would fill the disk")
    with Session(at.plain(), context=CONTEXT, batch=BATCH) as session:
        passages = passages_of(checkpoint, Writer(session), spread(texts, most))
        torch_rows = rows_of_torch(checkpoint.reference(), BATCH)
        return Recorded(torch_rows, passages, at.folder / "torch.rows.part")


def measured(at: Bench, reference: Recorded, limits: Limits) -> Iterator[tuple[Candidate, Plan]]:
    """Every type of the table of bits, the largest first; what does not fit is not measured."""
    seen: set[str] = set()
    weights = read_back(at.plain(), "F16").parameters
    for bits in OF_BITS:
        kind, reason = type_of_bits(bits)
        order = replace(at.order, kind=kind, reason=f"{bits} bits: {reason}")
        if kind in seen or (at.order.imatrix == "none" and bits == 2):
            continue
        seen.add(kind)
        if hopeless := far_too_much(kind, weights, limits):
            yield hopeless, Plan(kind)
            continue
        plan = at.plan(order)
        path, found = at.write(plan)
        memory = memory_of(path, limits.profile) if limits.profile else None
        one = Candidate(kind, path.stat().st_size, found.bits_per_weight, memory)
        one.against = too_much(one.size_bytes, memory, limits)
        if not one.against:
            with Session(path, context=CONTEXT, batch=BATCH) as session:
                one.figures = bounds(reference.against(kind, rows_of_file(session)))
            one.against = inferior(one.figures, limits)
        yield one, plan


def far_too_much(kind: str, weights: int, limits: Limits) -> Candidate | None:
    """A type whose name alone says that it does not fit; it is not even written."""
    bits = type_named(kind).nominal_bits_per_weight
    least = int(SURELY * bits * weights / 8)
    one = Candidate(kind, least, bits, against=too_much(least, Memory(least, 0, 0), limits))
    return one if one.against else None


def too_much(size_bytes: int, memory: Memory | None, limits: Limits) -> list[str]:
    found = []
    if limits.max_bytes is not None and size_bytes > limits.max_bytes:
        found.append(f"over {limits.max_bytes / 1e6:.1f} MB")
    if memory and limits.profile and memory.total > limits.profile.room_bytes:
        found.append(f"needs {memory.total / 1e6:.0f} MB of memory")
    return found


def bounds(pair: Agreement) -> dict[str, Any]:
    """The figures of a pair, with intervals over conversations."""
    sums = np.array(pair.conversations)
    draws = np.random.default_rng(SEED).integers(len(sums), size=(DRAWS, len(sums)))
    divergence, same, positions = np.moveaxis(sums[draws].sum(axis=1), -1, 0)
    low, high = np.quantile(divergence / positions, [0.025, 0.975])
    top1_low = np.quantile(same / positions, 0.025)
    own = {"mean_kld_low": float(low), "mean_kld_high": float(high), "top1_low": float(top1_low)}
    return pair.figures() | own


def inferior(figures: dict[str, Any], limits: Limits) -> list[str]:
    found = []
    if not figures["mean_kld_high"] <= limits.max_kld:
        found.append(f"KLD up to {figures['mean_kld_high']:.2g} > {limits.max_kld:g}")
    if not figures["top1_low"] >= limits.least_top1:
        found.append(f"top-1 down to {figures['top1_low']:.1%} < {limits.least_top1:.0%}")
    return found


def smallest(
    found: Sequence[tuple[Candidate, Plan]], bout: Bout | None, at: Bench
) -> tuple[Candidate, Plan] | None:
    """The smallest candidate against which nothing speaks; a judge is asked from there upwards."""
    for candidate, plan in sorted(found, key=lambda pair: pair[0].size_bytes):
        if candidate.against:
            continue
        if bout and plan.type != "F16":
            path, _ = at.write(plan)
            result = bout.against(at.plain(), path, candidate.kind)
            candidate.figures["win_rate"] = result["win_rate"]
            candidate.against = result["against"]
            if candidate.against:
                continue
        return candidate, plan
    return None


def nearest(found: Sequence[tuple[Candidate, Plan]]) -> str:
    """What stands in the way of the smallest and of the best candidate."""
    ordered = sorted((candidate for candidate, _ in found), key=lambda one: one.size_bytes)
    return "; ".join(f"{one.kind}: {', '.join(one.against)}" for one in (ordered[0], ordered[-1]))
