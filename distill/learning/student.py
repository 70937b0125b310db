"""The student before training: its tokenizer, its sizes, its weights.

In: the folder of a checkpoint. Out: a tokenizer with a chat template, parameter counts without
weights, a model to train. Refused: a checkpoint without a chat template (BadInput), a precision
that the device does not have (Unsupported).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from distill.core.errors import BadInput, Unsupported
from distill.learning.origin import local_folder, unreachable
from distill.recipe import Adapter, Training

# transformers leaves these untyped.
GenerationConfig: Any = transformers.GenerationConfig
Untyped: Any = AutoModelForCausalLM
# Up to here plain attention trains faster on a CPU than the flash kernel: by 18 % at 80 tokens.
SHORT_TOKENS = 256
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Device = Literal["cuda", "cpu"]


def read_config(student: str) -> Any:
    """The architecture alone; for a name of the Hub a few kilobytes."""
    folder = local_folder(student)
    try:
        return AutoConfig.from_pretrained(folder or student)
    except Exception as error:
        if folder is None:
            raise unreachable(student, error) from error
        reason = " ".join(str(error).split())[:160]
        raise BadInput(f"{folder}/config.json is not readable: {reason}") from error


def read_tokenizer(folder: Path, recipe: Training) -> Any:
    """The student's tokenizer with its own chat template, or with the recipe's."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    given = recipe.chat_template
    if given is not None:
        if given.end not in tokenizer.get_vocab():
            raise BadInput(f"chat_template.end: {given.end} is no token of {folder}")
        tokenizer.chat_template = given.text
        tokenizer.eos_token = given.end
    if not tokenizer.chat_template:
        raise BadInput(
            f"{folder} has no chat template, so it cannot be told where a reply begins; start "
            "from an instruct model, or give the recipe a chat_template"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def generation_config(folder: Path, tokenizer: Any) -> Any:
    """How the student is sampled, with the end of a turn among its stop tokens."""
    found = (folder / "generation_config.json").is_file()
    config = GenerationConfig.from_pretrained(folder) if found else GenerationConfig()
    stops = stop_tokens(config)
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in stops:
        config.eos_token_id = [tokenizer.eos_token_id, *sorted(stops)]
    return config


def stop_tokens(config: Any) -> set[int]:
    stops = config.eos_token_id
    return set(stops) if isinstance(stops, list) else set() if stops is None else {stops}


def device_now() -> Device:
    """A CUDA GPU unless there is none, or `accelerate launch --cpu` says so."""
    asked_for_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    return "cuda" if torch.cuda.is_available() and not asked_for_cpu else "cpu"


def precision_on(device: Device, asked: str) -> str:
    """`auto`: bf16 where the hardware multiplies in it, else fp16 on a GPU and fp32 on a CPU.

    On a CPU without bf16 units a product in bf16 takes thirty times as long as one in fp32.
    """
    if asked == "fp16" and device == "cpu":
        raise Unsupported("precision fp16 needs a GPU; on a CPU say auto, fp32 or bf16")
    if asked != "auto":
        return asked
    if device == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


@dataclass(frozen=True)
class Sizes:
    """Counts that follow from the configuration alone."""

    parameters: int
    trainable: int
    hidden: int
    layers: int
    vocabulary: int


def sizes_of(config: Any, adapter: Adapter) -> Sizes:
    """Count on the meta device: nothing is allocated."""
    with torch.device("meta"):
        student = Untyped.from_config(config)
        parameters = sum(p.numel() for p in student.parameters())
        if adapter.kind != "full":
            student = with_adapter(student, adapter)
        trainable = sum(p.numel() for p in student.parameters() if p.requires_grad)
    text = config.get_text_config()
    return Sizes(parameters, trainable, text.hidden_size, text.num_hidden_layers, text.vocab_size)


def with_adapter(student: Any, adapter: Adapter) -> Any:
    """Wrap a model in fresh low-rank updates."""
    from peft import LoraConfig, get_peft_model

    wanted = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter.targets,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(student, wanted)


def frozen_dtype(adapter: Adapter, precision: str, device: Device) -> torch.dtype:
    """Weights that are trained stay fp32; frozen ones take the precision of a GPU's arithmetic."""
    if adapter.kind == "full" or device == "cpu":
        return torch.float32
    return DTYPES[precision]


def load_student(
    folder: Path, recipe: Training, precision: str, device: Device, trained: Path | None
) -> Any:
    """A model to train: all weights, or the frozen base with an adapter.

    `trained` is what the stage before left: a folder of weights, or of an adapter.
    """
    adapter = recipe.adapter
    weights = trained if trained is not None and adapter.kind == "full" else folder
    options: dict[str, Any] = {"dtype": frozen_dtype(adapter, precision, device)}
    if device == "cpu" and recipe.max_length <= SHORT_TOKENS:
        options["attn_implementation"] = "eager"
    if adapter.kind == "qlora":
        quantization: Any = transformers.BitsAndBytesConfig
        options["quantization_config"] = quantization(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=DTYPES[precision],
        )
        options["device_map"] = {"": int(os.environ.get("LOCAL_RANK", "0"))}
    student = AutoModelForCausalLM.from_pretrained(weights, **options)
    if adapter.kind == "full":
        return student
    if trained is None:
        return with_adapter(student, adapter)
    from peft import PeftModel

    return PeftModel.from_pretrained(student, trained, is_trainable=True)
