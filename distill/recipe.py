"""Recipes: what `distill train` does, as one YAML file that is checked before any weight loads.

In: the name of a bundled recipe or a file. Out: `TwoStep`, `Pride`, `Pretrain` or
`Sweep`. Refused: an unknown or missing key, a value out of range, keys that contradict each other
(BadInput), a recipe that is not there (MissingInput).
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

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


class Training(Strict):
    """What every method knows that starts from a checkpoint.

    `repetition_penalty` is written into the student's generation_config.json, from where it goes
    into the exported file: what those who run the student do unless they are told otherwise.
    """

    student: str
    chat_template: Template | None = None
    adapter: Adapter = Adapter()
    max_length: int = Field(default=1024, ge=16)
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    repetition_penalty: float | None = Field(default=None, ge=0.01, le=10)
    evaluate_every: int = Field(default=50, ge=1)
    save_every: int = Field(default=50, ge=1)
    seed: int = 0


class TwoStep(Training):
    """SFT, then DPO (arXiv 2507.08151)."""

    method: Literal["two-step"]
    sft: Sft
    dpo: Dpo | None = None


class PrideTeacher(Strict):
    """Who knows more: a folder or Hub name, or `self`, the student's base tuned on such prompts.

    `prompt`: `reasoning` asks an instruct model to weigh feelings, then situation, then to reply;
    `notes` puts the privileged fields into a system message. `tuning` is the step that makes a
    teacher of the base; it sees `plain_share` of its dialogues without fields, so that it can be
    asked without them too. `device` is another GPU, `bits: 4` takes NF4.
    """

    model: str = "self"
    prompt: Literal["reasoning", "notes"] = "reasoning"
    tuning: Sft | None = None
    plain_share: Fraction = 0.25
    device: str | None = None
    bits: Literal[4] | None = None

    @model_validator(mode="after")
    def tuned_when_self(self) -> "PrideTeacher":
        if (self.model == "self") != (self.tuning is not None):
            raise ValueError("tuning goes with model: self, and with no other")
        return self


class PrideLoss(Strict):
    """Factors of the terms; zero switches one off. See docs/pride.md for the equations.

    `share` is the mixture's in jsd (beta) and the skewed divergences (alpha).
    """

    cross_entropy: float = Field(default=1.0, ge=0)
    divergence: Literal[
        "reverse-kl", "forward-kl", "jsd", "skewed-reverse-kl", "skewed-forward-kl"
    ] = "reverse-kl"
    divergence_weight: float = Field(default=1.0, ge=0)
    share: float = Field(default=0.1, gt=0, lt=1)
    temperature: float = Field(default=1.0, gt=0)
    mmd_weight: float = Field(default=0.1, ge=0)
    kernels: int = Field(default=5, ge=1)

    @property
    def needs_teacher(self) -> bool:
        return self.divergence_weight > 0 or self.mmd_weight > 0


class PrideSources(Strict):
    """Gated attention of the student to what only training knows, on some of its layers."""

    layers: list[int] | Literal["last"] = "last"
    heads: int = Field(default=4, ge=1)
    fields: list[str] | Literal["all"] = "all"
    told: Fraction = 0.5
    plain_from: Fraction = 0.8


class PrideLeakage(Strict):
    """The leakage gauge: on a sample at the start and the end, or on every step.

    `strength` above 0 weights a token by min(1, p_without / p_with)^strength, every step.
    """

    sample: int = Field(default=32, ge=0)
    every_step: bool = False
    strength: float = Field(default=0.0, ge=0)

    @property
    def each(self) -> bool:
        return self.every_step or self.strength > 0


class OnPolicy(Strict):
    """On a share of the steps the student answers itself, and the teacher scores its words."""

    share: Fraction
    max_new_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=1.0, gt=0)


class Pride(Training):
    """Distillation from a teacher with privileged information (after arXiv 2606.23124).

    `known_share` is the share of dialogues whose privileged fields are used at all.
    """

    method: Literal["pride"]
    teacher: PrideTeacher | None = None
    distill: Step
    loss: PrideLoss = PrideLoss()
    sources: PrideSources | None = PrideSources()
    leakage: PrideLeakage = PrideLeakage()
    on_policy: OnPolicy | None = None
    known_share: Fraction = 1.0

    @model_validator(mode="after")
    def has_what_its_terms_need(self) -> "Pride":
        if self.loss.needs_teacher and self.teacher is None:
            raise ValueError("divergence_weight or mmd_weight is above 0, so a teacher is needed")
        if not self.loss.needs_teacher and self.loss.cross_entropy == 0:
            raise ValueError("every term of the loss is switched off")
        if self.on_policy and self.loss.divergence_weight == 0:
            raise ValueError("on_policy learns by the divergence, whose weight is 0")
        return self


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


AnyRecipe = TwoStep | Pride | Pretrain | Sweep
Recipe = Annotated[AnyRecipe, Field(discriminator="method")]


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


def parse_recipe(text: str, where: str) -> AnyRecipe:
    try:
        recipe: AnyRecipe = TypeAdapter(Recipe).validate_python(yaml.safe_load(text))
    except ValidationError as error:
        raise BadInput(f"recipe {where}: {plain_reason(error)}") from error
    except yaml.YAMLError as error:
        first_line = str(error).replace("\n", " ")
        raise BadInput(f"recipe {where} is not valid YAML: {first_line}") from error
    return recipe
