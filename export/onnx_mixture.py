"""Which parts of a 4-bit graph keep 8 bits, so that it diverges least within its bytes.

In: a checkpoint, what each weight matters. Out: a `Mixture`. What rounding to blocks changes is
computed from the weights, and its divergence foretold from dialogue text that the gate does not
use; the choice minimizes the sum within a budget of bits per weight.
"""

import numpy as np

from distill.core.progress import track
from export.checkpoint import Checkpoint
from export.f16 import target_names
from export.importance import Importance
from export.mixture import Price, Prices, allocated
from export.onnx_blocks import INT4_BITS, INT8_BITS, change_of
from export.onnx_weights import Mixture, unit_of

MORE_BITS = 0.75
# The error of rounding falls with the square of the step.
INT8_SHARE = (15 / 254) ** 2
# Phi-3 stores two parts as one matrix, and the graph has both.
HALVES = {"gate_up": ("gate", "up")}


def mixture_of(checkpoint: Checkpoint, importance: Importance) -> Mixture:
    """The whole takes at most `MORE_BITS` more a weight than int4 alone."""
    prices, inputs = prices_of(checkpoint, importance)
    weights = sum(price["INT4"].size_bytes for price in prices.values()) * 8 / INT4_BITS
    limit = int((INT4_BITS + MORE_BITS) * weights / 8)
    chosen = allocated(prices, limit)
    wide = [unit for unit, kind in chosen.items() if kind == "INT8"]
    return Mixture(
        {part for unit in wide for part in parts_of(unit)},
        {part: found for unit, found in inputs.items() for part in parts_of(unit)},
    )


def parts_of(unit: str) -> list[str]:
    """The units of the graph that a unit of the checkpoint becomes."""
    head, _, own = unit.rpartition(" ")
    return [f"{head} {half}" for half in HALVES[own]] if own in HALVES else [unit]


def prices_of(
    checkpoint: Checkpoint, importance: Importance
) -> tuple[Prices, dict[str, np.ndarray]]:
    """Divergence in nats and bytes of every unit in 4 and in 8 bits; its mean squared inputs."""
    lost: dict[str, float] = {}
    weights: dict[str, int] = {}
    inputs: dict[str, np.ndarray] = {}
    names, matrix = target_names(checkpoint), importance.matrix()
    for name, tensor in track(checkpoint.tensors(), "sensitivity", len(checkpoint.stored)):
        unit, own = unit_of(name), names.get(name)
        if unit is None or own not in matrix:
            continue
        inputs[unit] = matrix[own]
        change = change_of(tensor, 4, inputs[unit])
        change = checkpoint.architecture.arrange(name, change, checkpoint.config)
        lost[unit] = lost.get(unit, 0.0) + importance.divergence(own, change.numpy())
        weights[unit] = weights.get(unit, 0) + tensor.numel()
    prices = {
        unit: {
            "INT4": Price(lost[unit], round(INT4_BITS * count / 8)),
            "INT8": Price(lost[unit] * INT8_SHARE, round(INT8_BITS * count / 8)),
        }
        for unit, count in weights.items()
    }
    return prices, inputs
