"""A plain Hugging Face checkpoint folder, opened without loading its weights.

In: a folder. Out: config, tokenizer, and each tensor on demand. Refused: a folder that is
not there or not whole (MissingInput), an adapter, quantized or pickled weights, a missing chat
template (BadInput), an architecture outside the table (Unsupported).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import existing, read_json
from export.architectures import Architecture, architecture_of

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


@dataclass(frozen=True)
class Checkpoint:
    """What an export reads; `shards` names the file of every tensor."""

    folder: Path
    config: Any
    tokenizer: Any
    template: str
    shards: dict[str, Path]
    architecture: Architecture

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """Every tensor with its name, one in memory at a time, in name order of its shard."""
        for shard in dict.fromkeys(self.shards.values()):
            with opened(shard, "pt") as weights:
                for name in weights.keys():  # noqa: SIM118
                    yield name, weights.get_tensor(name)

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes in the order of `tensors`; no weight is read."""
        for shard in dict.fromkeys(self.shards.values()):
            with opened(shard) as weights:
                for name in weights.keys():  # noqa: SIM118
                    yield name, tuple(weights.get_slice(name).get_shape())

    def end_tokens(self) -> list[int]:
        """Ids at which generation stops, the first one first; generation_config.json wins."""
        path = self.folder / "generation_config.json"
        chosen = read_json(path).get("eos_token_id") if path.exists() else None
        if chosen is None:
            chosen = self.config.eos_token_id
        ids = chosen if isinstance(chosen, list) else [chosen]
        own = self.tokenizer.eos_token_id
        return list(dict.fromkeys(i for i in [*ids, own] if i is not None))

    def reference(self) -> Any:
        """The checkpoint as torch runs it, in float32."""
        import torch
        from transformers import AutoModelForCausalLM

        load: Any = AutoModelForCausalLM.from_pretrained
        return load(self.folder, dtype=torch.float32, local_files_only=True).eval()


def open_checkpoint(folder: Path) -> Checkpoint:
    """Check the folder and read its config and tokenizer."""
    refuse_other_folders(folder)
    raw = read_json(folder / "config.json")
    architecture = architecture_of(raw.get("model_type"), folder)
    if quantized := raw.get("quantization_config"):
        raise BadInput(
            f"{folder} holds weights quantized by '{quantized.get('quant_method', 'unknown')}'; "
            "export the full-precision checkpoint (merge the adapter into the unquantized base)"
        )
    shards = shards_of(folder)
    if not any((folder / name).exists() for name in TOKENIZERS):
        raise MissingInput(
            f"{folder} has no tokenizer (tokenizer.json); copy it from the base it was trained from"
        )
    if (folder / "tokenizer.json").exists():
        read_json(folder / "tokenizer.json")
    refuse_without_template(folder, named_template(folder))
    quiet()
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    refuse_without_template(folder, template)
    return Checkpoint(folder, config, tokenizer, template, shards, architecture)


def quiet() -> None:
    """Our own lines say what happens; transformers' bars and remarks would stand between them."""
    from transformers import logging

    silent: Any = logging
    silent.set_verbosity_error()
    silent.disable_progress_bar()


def refuse_other_folders(folder: Path) -> None:
    if not existing(folder).is_dir():
        raise MissingInput(f"{folder} is a file; give the folder of a Hugging Face checkpoint")
    if (folder / "config.json").exists():
        return
    if (folder / "adapter_config.json").exists():
        base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
        raise BadInput(
            f"{folder} holds a LoRA adapter only; merge it into its base ({base}) first: "
            "PeftModel.merge_and_unload() and save_pretrained(), or train with Kindred, "
            "which merges at the end"
        )
    raise MissingInput(f"{folder} has no config.json; give the folder of a Hugging Face checkpoint")


def shards_of(folder: Path) -> dict[str, Path]:
    """The file that holds each tensor."""
    if (folder / INDEX).exists():
        table = read_json(folder / INDEX).get("weight_map", {})
        return {name: existing(folder / file) for name, file in sorted(table.items())}
    if (folder / SINGLE).exists():
        with opened(folder / SINGLE) as weights:
            return dict.fromkeys(weights.keys(), folder / SINGLE)
    if (folder / "pytorch_model.bin").exists():
        raise BadInput(f"{folder} holds pickled weights; save it with safe_serialization=True")
    raise MissingInput(f"{folder} has no {SINGLE}")


def opened(shard: Path, framework: str = "np") -> Any:
    """One weights file; names and shapes need no torch."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(shard, framework=framework)
    except SafetensorError as error:
        raise BadInput(f"{shard} is not a whole safetensors file: {error}") from error


def named_template(folder: Path) -> bool:
    """Whether the folder seems to hold a chat template; transformers decides what it is."""
    settings = folder / "tokenizer_config.json"
    return any((folder / name).exists() for name in TEMPLATES) or (
        settings.exists() and bool(read_json(settings).get("chat_template"))
    )


def refuse_without_template(folder: Path, template: object) -> None:
    if not template:
        raise BadInput(
            f"{folder} has no chat template; put the one it was trained with "
            "into chat_template.jinja there"
        )
