"""A LoRA adapter merged into its base, one tensor at a time, in float32.

In: a folder with adapter_config.json and adapter_model.safetensors. Out: its base folder, and the
merged tensor for a base tensor. Refused: a base that is not on this disk (MissingInput), pickled
adapters and pairs that do not fit (BadInput), DoRA, biases and other kinds than LoRA (Unsupported).
W' = W + (alpha / r) B A (arXiv 2106.09685); with `use_rslora` alpha / sqrt(r) (arXiv 2312.03732).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput, MissingInput, Unsupported
from export.shards import PICKLES, Stored, checked_header, checked_json, opened, refuse_links

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
PAIR = re.compile(r"(.+)\.lora_(?:(embedding)_)?([AB])(?:\.weight)?")
# What changes the formula above; each is falsy in a plain LoRA adapter.
OTHER_FORMULAS = (
    "use_dora",
    "lora_bias",
    "fan_in_fan_out",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
)


@dataclass(frozen=True)
class Pair:
    """The stored names of A and B; an embedding's product is transposed."""

    a: str
    b: str
    embedding: bool


@dataclass(frozen=True)
class Adapter:
    """`pairs` and `replaced` by the name of the base's tensor."""

    folder: Path
    config: dict[str, Any]
    pairs: dict[str, Pair]
    replaced: dict[str, str]

    def merge(self, name: str, weight: Any) -> Any:
        """The tensor of this name after the adapter; float32 where it was changed."""
        pair, whole = self.pairs.get(name), self.replaced.get(name)
        if not (pair or whole):
            return weight
        with opened(self.folder / WEIGHTS) as weights:
            if whole:
                weight = weights.get_tensor(whole)
            if not pair:
                return weight
            a, b = (weights.get_tensor(stored).float() for stored in (pair.a, pair.b))
        change = (b @ a).T if pair.embedding else b @ a
        return weight.float().add(change, alpha=self.scale(name, a.shape[0]))

    def scale(self, name: str, rank: int) -> float:
        module = name.removesuffix(".weight")
        patterns = self.config.get("alpha_pattern") or {}
        own = [v for k, v in patterns.items() if re.fullmatch(rf"(.*\.)?({k})", module)]
        alpha = own[0] if own else self.config["lora_alpha"]
        return float(alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank))


def open_adapter(folder: Path) -> tuple[Path, Adapter]:
    """The base's folder and the adapter."""
    refuse_links(folder)
    config = checked_json(folder / CONFIG)
    kind = config.get("peft_type")
    strange = [key for key in OTHER_FORMULAS if config.get(key)]
    strange += ["bias"] if config.get("bias", "none") != "none" else []
    if kind != "LORA" or strange:
        found = f"{strange[0]} = {config[strange[0]]}" if strange else f"peft_type {kind!r}"
        raise Unsupported(
            f"{folder / CONFIG} has {found}; the export merges plain LoRA only: merge it with "
            "PeftModel.merge_and_unload() and export the result"
        )
    if not isinstance(config.get("lora_alpha"), int | float):
        raise BadInput(f"{folder / CONFIG} has no lora_alpha; save the adapter again")
    base = base_of(folder, config)
    if not (folder / WEIGHTS).exists():
        if any(path for pattern in PICKLES for path in folder.glob(pattern)):
            raise BadInput(
                f"{folder} holds a pickled adapter, which can run code and is never loaded; "
                "save it with safe_serialization=True"
            )
        raise MissingInput(f"{folder} has no {WEIGHTS}")
    return base, sorted_out(folder, config, checked_header(folder / WEIGHTS))


def base_of(folder: Path, config: dict[str, Any]) -> Path:
    named = str(config.get("base_model_name_or_path") or "")
    for place in (Path(named), folder / named):
        if named and (place / "config.json").exists():
            return place
    raise MissingInput(
        f"{folder} holds a LoRA adapter only, and its base {named!r} is no folder here; download "
        f"the base and put its folder into base_model_name_or_path of {CONFIG}"
    )


def sorted_out(folder: Path, config: dict[str, Any], stored: dict[str, Stored]) -> Adapter:
    """Pairs and whole tensors by the name that they have in the base."""
    halves: dict[str, dict[str, str]] = {}
    replaced: dict[str, str] = {}
    embeddings = set()
    for key in stored:
        name = key.removeprefix(PREFIX)
        match = PAIR.fullmatch(name)
        if match is None:
            replaced[name.replace("modules_to_save.", "").replace("base_layer.", "")] = key
            continue
        target = f"{match[1]}.weight"
        halves.setdefault(target, {})[match[3]] = key
        if match[2]:
            embeddings.add(target)
    pairs = {}
    for target, half in halves.items():
        if half.keys() != {"A", "B"} or not fits(*(stored[half[k]].shape for k in "AB")):
            raise BadInput(f"{folder / WEIGHTS}: A and B of {target} do not fit; save it again")
        pairs[target] = Pair(half["A"], half["B"], target in embeddings)
    return Adapter(folder, config, pairs, replaced)


def fits(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return len(a) == len(b) == 2 and a[0] == b[1]


def refuse_unfit(adapter: Adapter, base: dict[str, Stored]) -> None:
    """Every tensor of the adapter must have a place of its shape in the base."""
    own = checked_header(adapter.folder / WEIGHTS)
    for name, pair in adapter.pairs.items():
        product = (own[pair.b].shape[0], own[pair.a].shape[1])
        refuse_other(adapter, name, product[::-1] if pair.embedding else product, base)
    for name, key in adapter.replaced.items():
        refuse_other(adapter, name, own[key].shape, base)


def refuse_other(
    adapter: Adapter, name: str, shape: tuple[int, ...], base: dict[str, Stored]
) -> None:
    found = base[name].shape if name in base else None
    if found != shape:
        raise BadInput(
            f"{adapter.folder} changes {name} {list(shape)}, and its base has "
            f"{'no such tensor' if found is None else list(found)}; give the base it was trained on"
        )
