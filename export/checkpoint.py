"""A Hugging Face checkpoint folder, or a LoRA folder on its base, opened without its weights.

In: a folder. Out: config, tokenizer, and each tensor on demand, an adapter already merged.
Refused: a folder that is not there or not whole (MissingInput), code of its own, quantized or
pickled weights, headers and names that lie, a config that does not fit the weights, a missing
chat template (BadInput), an architecture outside the table (Unsupported).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from distill.core.errors import BadInput, MissingInput
from export.adapters import CONFIG as ADAPTER
from export.adapters import Adapter, open_adapter, refuse_unfit
from export.architectures import Architecture, architecture_of
from export.shards import (
    MOST_TOKENIZER_BYTES,
    Stored,
    checked_json,
    opened,
    refuse_links,
    stored_tensors,
)

TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
LARGEST_NUMBER = 2**31
# What transformers raises on a config that no model can have.
CONFIG_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Checkpoint:
    """What an export reads; `stored` has the tensors in the order of the bytes on disk."""

    folder: Path
    config: Any
    tokenizer: Any
    template: str
    architecture: Architecture
    stored: dict[str, Stored] = field(repr=False)
    base: Path | None = None
    adapter: Adapter | None = field(default=None, repr=False)

    @property
    def shards(self) -> dict[str, Path]:
        """The file of every tensor."""
        return {name: stored.file for name, stored in self.stored.items()}

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """Every tensor with its name.

        A file is mapped anew for each, so that what was read does not stay in memory.
        """
        for name, stored in self.stored.items():
            with opened(stored.file) as weights:
                tensor = weights.get_tensor(name)
                yield name, self.adapter.merge(name, tensor) if self.adapter else tensor
                del tensor

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes in the order of `tensors`; no weight is read."""
        for name, stored in self.stored.items():
            yield name, stored.shape

    def setting(self, key: str) -> Any:
        """What generation_config.json says, the adapter's before its base's."""
        for folder in (self.folder, self.base):
            path = folder and folder / "generation_config.json"
            if path and path.exists():
                return checked_json(path).get(key)
        return None

    def end_tokens(self) -> list[int]:
        """Ids at which generation stops, the first one first; generation_config.json wins."""
        chosen = self.setting("eos_token_id")
        if chosen is None:
            chosen = self.config.eos_token_id
        ids = chosen if isinstance(chosen, list) else [chosen]
        own = self.tokenizer.eos_token_id
        return list(dict.fromkeys(i for i in [*ids, own] if i is not None))

    def reference(self) -> Any:
        """The checkpoint as torch runs it, in float32; an adapter stays unmerged beside it."""
        import torch
        from transformers import AutoModelForCausalLM

        load: Any = AutoModelForCausalLM.from_pretrained
        options = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
        model = load(self.base or self.folder, dtype=torch.float32, **options)
        if self.adapter:
            from peft import PeftModel

            with warnings.catch_warnings():
                # peft asks transformers for a name that is on its way out.
                warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
                model = PeftModel.from_pretrained(model, self.folder).get_base_model()
        return model.eval()


def open_checkpoint(folder: Path) -> Checkpoint:
    """Check the folder and read its config and tokenizer."""
    base, adapter = base_and_adapter(folder)
    refuse_links(base)
    raw = checked_json(base / "config.json")
    architecture = architecture_of(raw.get("model_type"), base)
    refuse_code(base / "config.json", raw)
    if quantized := raw.get("quantization_config"):
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        raise BadInput(
            f"{base} holds weights quantized by '{method}'; "
            "export the full-precision checkpoint (merge the adapter into the unquantized base)"
        )
    stored = stored_tensors(base)
    if adapter:
        refuse_unfit(adapter, stored)
    refuse_monsters(base / "config.json", raw, len(stored))
    voice = tokenizer_folder(folder, base)
    refuse_without_template(voice, named_template(voice))
    config, tokenizer = read_by_transformers(base, voice)
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    refuse_without_template(voice, template)
    return Checkpoint(
        folder,
        config,
        tokenizer,
        template,
        architecture,
        stored,
        base if adapter else None,
        adapter,
    )


def base_and_adapter(folder: Path) -> tuple[Path, Adapter | None]:
    """The folder with the config, and what is to be merged into its weights."""
    if not folder.exists():
        raise MissingInput(
            f"{folder} does not exist; give a checkpoint, as distill train writes it"
        )
    if not folder.is_dir():
        raise MissingInput(f"{folder} is a file; give the folder of a Hugging Face checkpoint")
    if (folder / "config.json").exists():
        return folder, None
    if (folder / ADAPTER).exists():
        return open_adapter(folder)
    raise MissingInput(f"{folder} has no config.json; give the folder of a Hugging Face checkpoint")


def refuse_code(path: Path, settings: dict[str, Any]) -> None:
    """Code that comes with a checkpoint is never run."""
    if settings.get("auto_map"):
        raise BadInput(
            f"{path} names code of its own (auto_map), which is never run; if transformers' own "
            "class computes the same, delete auto_map there and export again"
        )


def refuse_monsters(path: Path, raw: dict[str, Any], tensors: int) -> None:
    """Numbers from which transformers would build something without end."""
    layers = raw.get("num_hidden_layers")
    if type(layers) is not int or not 0 < layers <= tensors:
        raise BadInput(f"{path} says {layers!r} layers, and the weights are {tensors} tensors")
    for key, value in raw.items():
        if isinstance(value, int | float) and not abs(value) < LARGEST_NUMBER:
            raise BadInput(f"{path} says {key} = {value!r}, which no model has")


def tokenizer_folder(folder: Path, base: Path) -> Path:
    """Where the tokenizer is: with the adapter, or else with its base."""
    for place in (folder, base):
        if any((place / name).exists() for name in TOKENIZERS):
            if (place / "tokenizer.json").exists():
                checked_json(place / "tokenizer.json", MOST_TOKENIZER_BYTES)
            if (place / "tokenizer_config.json").exists():
                settings = place / "tokenizer_config.json"
                refuse_code(settings, checked_json(settings))
            return place
    raise MissingInput(
        f"{base} has no tokenizer (tokenizer.json); copy it from the base it was trained from"
    )


def read_by_transformers(base: Path, voice: Path) -> tuple[Any, Any]:
    """Config and tokenizer; our own lines say what happens, transformers' would stand between."""
    from transformers import AutoConfig, AutoTokenizer, logging

    silent: Any = logging
    silent.set_verbosity_error()
    silent.disable_progress_bar()
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(base, **options)
        tokenizer = AutoTokenizer.from_pretrained(voice, config=config, **options)
    except CONFIG_ERRORS as error:
        raise BadInput(f"transformers cannot read {base}: {first_line(error)}") from error
    return config, tokenizer


def first_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0][:200]


def named_template(folder: Path) -> bool:
    """Whether the folder seems to hold a chat template; transformers decides what it is."""
    settings = folder / "tokenizer_config.json"
    return any((folder / name).exists() for name in TEMPLATES) or (
        settings.exists() and bool(checked_json(settings).get("chat_template"))
    )


def refuse_without_template(folder: Path, template: object) -> None:
    if not template:
        raise BadInput(
            f"{folder} has no chat template; put the one it was trained with "
            "into chat_template.jinja there"
        )
