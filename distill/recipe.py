"""Recipes: what `distill train` does, as one YAML file that is checked before any weight loads.

In: the name of a bundled recipe or a file. Out: `TwoStep`, `Pretrain` or `Sweep`. Refused: an
unknown or missing key, a value out of range (BadInput), a recipe that is not there (MissingInput).
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import plain_reason

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Adapter(Strict):
    """How the weights are reached: all of them, or low-rank updates merged at the end."""

    kind: Literal["full", "lora", "qlora"] = "full"
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: Fraction = 0.05
    targets: str | list[str] = "all-linear"


class Template(Strict):
    """A chat template (Jinja) for a base that has none, and the token that ends a turn."""

    text: str = Field(min_length=1)
    end: str = Field(min_length=1)


class Step(Strict):
    """One pass of a trainer; `epochs` may be a fraction.

    A step learns from `batch_size * accumulation` dialogues, on any number of devices: they
    share them. `at_most` reads a seeded choice of so many dialogues or pairs.
    """

    epochs: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(default=8, ge=1)
    accumulation: int = Field(default=1, ge=1)
    at_most: int | None = Field(default=None, ge=1)
    group_by_length: bool = True
    scheduler: str = "cosine"
    warmup_fraction: Fraction = 0.05
    weight_decay: float = Field(default=0.0, ge=0)


class Sft(Step):
    """Supervised fine-tuning on the last reply of each dialogue, or on every reply.

    With `packing` a row is `max_length` tokens of several dialogues that do not see each other,
    and `batch_size` counts rows.
    """

    loss_on: Literal["last-reply", "every-reply"] = "last-reply"
    packing: bool = False


class Dpo(Step):
    """Direct preference optimization (arXiv 2305.18290); the reference is the SFT student.

    `sft_weight` adds the cross-entropy of the chosen reply (arXiv 2404.19733), which keeps a small
    student from forgetting how to write while it learns what to prefer.
    """

    beta: float = Field(default=0.1, gt=0)
    loss: str = "sigmoid"
    sft_weight: float = Field(default=0.0, ge=0)


class TwoStep(Strict):
    """SFT, then DPO (arXiv 2507.08151).

    `repetition_penalty` is written into the student's generation_config.json, from where it goes
    into the exported file: what those who run the student do unless they are told otherwise.
    """

    method: Literal["two-step"]
    student: str
    chat_template: Template | None = None
    adapter: Adapter = Adapter()
    sft: Sft
    dpo: Dpo | None = None
    max_length: int = Field(default=1024, ge=16)
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    repetition_penalty: float | None = Field(default=None, gt=0)
    evaluate_every: int = Field(default=50, ge=1)
    save_every: int = Field(default=50, ge=1)
    seed: int = 0


class Shape(Strict):
    """A Llama's sizes; rows are multiples of 256 so that 4 bits are 4 bits."""

    hidden: int = Field(multiple_of=256)
    layers: int = Field(ge=1)
    feed_forward: int = Field(multiple_of=256)


Source = Literal["dialogues", "noted", "heard", "starter", "curriculum"]


class PretrainStage(Strict):
    """Sample the sources by these weights until so many tokens were seen in all."""

    until_tokens: int = Field(gt=0)
    mix: dict[Source, float]


class Pretrain(Strict):
    """The starter's base model, from scratch or from the folder of a base (`start`)."""

    method: Literal["pretrain"]
    start: str | None = None
    vocab_size: int = Field(ge=512)
    model: Shape
    stages: list[PretrainStage] = Field(min_length=1)
    batch_tokens: int = Field(default=8192, ge=256)
    matrix_rate: float = Field(gt=0)
    vector_rate: float = Field(gt=0)
    warmup_tokens: int = Field(gt=0)
    decay_fraction: Fraction
    curriculum_dialogues: int = Field(default=40_000, ge=1)
    precision: Precision = "auto"
    compiled: bool = True
    evaluate_every: int = Field(default=100, ge=1)
    save_every: int = Field(default=100, ge=1)
    seed: int = 0


class SweepSet(Strict):
    """What one row of the table learns from: a rule of `distill compose`."""

    rule: str
    strategy: str | None = None


class SweepJudge(Strict):
    """Who decides against the base."""

    name: str = "offline"
    model: str | None = None
    base_url: str | None = None


class Sweep(Strict):
    """Every set by every step, each student judged against its base (arXiv 2507.08151)."""

    method: Literal["sweep"]
    recipe: str
    student: str | None = None
    sets: dict[Annotated[str, Field(pattern=r"^[\w-]+$")], SweepSet] = Field(min_length=1)
    steps: list[Literal["sft", "sft+dpo"]] = Field(default=["sft", "sft+dpo"], min_length=1)
    judge: SweepJudge = SweepJudge()
    seed: int = 0


Recipe = Annotated[TwoStep | Pretrain | Sweep, Field(discriminator="method")]


def bundled() -> list[str]:
    folder = resources.files("distill").joinpath("recipes")
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def recipe_text(name: str) -> str:
    """The text of a recipe given by file or by the name of a bundled one."""
    if Path(name).is_file():
        return Path(name).read_text("utf-8")
    if name in bundled():
        return resources.files("distill").joinpath("recipes", f"{name}.yaml").read_text("utf-8")
    raise MissingInput(f"no recipe {name}: neither a file nor one of {', '.join(bundled())}")


def parse_recipe(text: str, where: str) -> TwoStep | Pretrain | Sweep:
    try:
        recipe: TwoStep | Pretrain | Sweep = TypeAdapter(Recipe).validate_python(
            yaml.safe_load(text)
        )
    except ValidationError as error:
        raise BadInput(f"recipe {where}: {plain_reason(error)}") from error
    except yaml.YAMLError as error:
        first_line = str(error).replace("\n", " ")
        raise BadInput(f"recipe {where} is not valid YAML: {first_line}") from error
    return recipe
