"""How much each weight matters, measured on dialogue text: one pass forward and one back.

In: a checkpoint and conversations. Out: `Importance`, mean squares by GGUF tensor name. Refused:
text on which nothing can be measured (BadInput).

Shapes: T positions, I inputs of a matrix, O its outputs.

The mean squared input of a matrix is the importance matrix of llama.cpp. The mean squared
gradient at its output, with labels drawn from the student itself, gives its Fisher information;
together they foretell the divergence that a change of the weights causes:
`KL ~ 1/2 sum_oi E[g_o^2] (W'_oi - W_oi)^2 E[x_i^2]`, our own diagonal approximation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.errors import BadInput
from distill.core.progress import track
from export.checkpoint import Checkpoint
from export.conversations import Messages
from export.f16 import target_names
from export.text_parity import ids, rendered
from export.types import EMBEDDING, HEAD

LONGEST = 512
SEED = 0
UNSEEN = 1e-6


@dataclass
class Importance:
    """Mean squares: `inputs` `[I]` and `outputs` `[O]` of matrices, of the embedding's `lookup`."""

    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    lookup: tuple[np.ndarray, np.ndarray] | None = None
    positions: int = 0

    def matrix(self) -> dict[str, np.ndarray]:
        """The importance matrix; an input that was never seen still counts a little."""
        return {name: np.maximum(v, UNSEEN * v.mean()) for name, v in self.inputs.items()}

    def divergence(self, tensor: str, change_OI: np.ndarray, first: int = 0) -> float:
        """KL divergence in nats that a change of these rows, from `first` on, should cause."""
        squared = change_OI.astype(np.float32) ** 2
        rows = slice(first, first + len(squared))
        total = 0.0
        if tensor in self.inputs:
            total += float(self.outputs[tensor][rows] @ (squared @ self.inputs[tensor]))
        if tensor == EMBEDDING and self.lookup is not None:
            frequency, gradient = self.lookup
            total += float(frequency[rows] @ (squared @ gradient))
        return total / 2


def importance_of(checkpoint: Checkpoint, conversations: Sequence[Messages]) -> Importance:
    """Run the student over the conversations in float32; the same text gives the same figures."""
    texts = [rendered(checkpoint, messages, False) for messages in conversations]
    passages = [ids(checkpoint, text)[:LONGEST] for text in texts if text]
    passages = [passage for passage in passages if len(passage) > 1]
    if not passages:
        raise BadInput("the template takes none of the conversations of --imatrix; give others")
    import torch

    student = checkpoint.reference()
    for weight in student.parameters():
        weight.requires_grad_(False)
    layers = matrices(checkpoint, student)
    sums = Sums(student, {name: layer for name, (_, layer) in layers.items()})
    draw = torch.Generator().manual_seed(SEED)
    for passage in track(passages, "importance", len(passages)):
        sums.read(passage, draw)
    found = sums.means()
    # Inputs keep their order in the file; the architecture may reorder outputs.
    for name, (source, _) in layers.items():
        rows = torch.from_numpy(found.outputs[name])
        arranged = checkpoint.architecture.arrange(source, rows, checkpoint.config)
        found.outputs[name] = arranged.numpy()
    return found


def save_importance(found: Importance, path: Path) -> None:
    """Write it as one file of arrays, without pickles."""
    assert found.lookup is not None
    arrays = {f"i {name}": values for name, values in found.inputs.items()}
    arrays |= {f"o {name}": values for name, values in found.outputs.items()}
    frequency, gradient = found.lookup
    with path.open("wb") as file:
        arrays |= {"f": frequency, "g": gradient, "n": np.array(found.positions)}
        np.savez(file, allow_pickle=False, **arrays)


def load_importance(path: Path) -> Importance:
    with np.load(path, allow_pickle=False) as arrays:
        kept = {key: arrays[key] for key in arrays.files}
    inputs, outputs = ({k[2:]: v for k, v in kept.items() if k[:2] == p} for p in ("i ", "o "))
    return Importance(inputs, outputs, (kept["f"], kept["g"]), int(kept["n"]))


def matrices(checkpoint: Checkpoint, student: Any) -> dict[str, tuple[str, Any]]:
    """Every linear layer and the name of its matrix, by GGUF name; a tied head is the embedding."""
    import torch

    names: Mapping[str, str] = target_names(checkpoint)
    head = student.get_output_embeddings()
    tied = head.weight is student.get_input_embeddings().weight
    found = {}
    for name, layer in student.named_modules():
        if isinstance(layer, torch.nn.Linear):
            # Beside an adapter, the matrix itself is the inner layer of a pair.
            source = name.removesuffix(".base_layer") + ".weight"
            own = EMBEDDING if tied and layer is head else names.get(source)
            if own:
                found[own] = (source, layer)
    assert tied or HEAD in found, "a student has a head"
    return found


def squares(rows_1TI: Any) -> Any:
    return rows_1TI[0].double().square().sum(0)


def adding(total: Any) -> Any:
    """A hook that adds a gradient's squares to a total and leaves the gradient as it is."""

    def hook(gradient: Any) -> None:
        total.add_(squares(gradient))

    return hook


class Sums:
    """Running sums of squares over the positions that were read."""

    def __init__(self, student: Any, layers: Mapping[str, Any]) -> None:
        import torch

        self.student, self.positions = student, 0
        self.inputs, self.outputs = (
            {
                name: torch.zeros(getattr(layer, side), dtype=torch.float64)
                for name, layer in layers.items()
            }
            for side in ("in_features", "out_features")
        )
        for name, layer in layers.items():
            layer.register_forward_hook(self._watch(name))
        embedding = student.get_input_embeddings()
        embedding.register_forward_hook(lambda layer, inputs, output: self._begin(output))
        rows, width = embedding.weight.shape
        self.frequency = torch.zeros(rows, dtype=torch.float64)
        self.gradient = torch.zeros(width, dtype=torch.float64)

    def _begin(self, embedded: Any) -> Any:
        embedded.requires_grad_(True)
        embedded.register_hook(adding(self.gradient))
        return embedded

    def _watch(self, name: str) -> Any:
        def hook(layer: Any, inputs: Any, output: Any) -> None:
            self.inputs[name] += squares(inputs[0].detach())
            output.register_hook(adding(self.outputs[name]))

        return hook

    def read(self, passage: Sequence[int], draw: Any) -> None:
        import torch

        tokens = torch.tensor([list(passage)])
        logits_TV = self.student(tokens, use_cache=False).logits[0].float()
        drawn = torch.multinomial(logits_TV.detach().softmax(-1), 1, generator=draw)[:, 0]
        loss: Any = torch.nn.functional.cross_entropy(logits_TV, drawn, reduction="sum")
        loss.backward()
        self.frequency += torch.bincount(tokens[0], minlength=len(self.frequency))
        self.positions += len(passage)

    def means(self) -> Importance:
        def mean(total: Any) -> np.ndarray:
            values: np.ndarray = (total / self.positions).float().numpy()
            return values

        return Importance(
            {name: mean(total) for name, total in self.inputs.items()},
            {name: mean(total) for name, total in self.outputs.items()},
            (mean(self.frequency), mean(self.gradient)),
            self.positions,
        )
