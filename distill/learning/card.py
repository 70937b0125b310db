"""The model card of a student: what it is, from what, by what, how well, and its limits."""

from collections.abc import Mapping
from typing import Any

from distill.learning.stage import StageResult
from distill.recipe import Training

CARD = """---
{front}
---

# {name}

A student trained by [Kindred](https://pypi.org/project/kindred-slm/) to answer with empathy.
It started from `{base}` and was trained {how}.

| | |
| --- | --- |
| base | `{base}` (sha256 `{base_sha256}`) |
| weights trained | {adapter} |
| precision | {precision}, saved in {dtype} |
| recipe | `recipe.yaml` (sha256 `{recipe_sha256}`) |
{data}

## Training

| stage | steps | last loss | mean loss | validation loss |
| --- | --- | --- | --- | --- |
{stages}
{terms}
![Loss curves](curves.png)

The losses say how well the training replies were learnt. They do not say how empathetic the
student is: see the report of `distill eval report` for what was measured of the exported file.

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
student = AutoModelForCausalLM.from_pretrained("{name}")
messages = [{{"role": "user", "content": "I lost my job today."}}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt",
                                       return_dict=True)
print(tokenizer.decode(student.generate(**prompt, max_new_tokens=80)[0]))
```

Or write it as a file for a phone or a laptop: `distill export gguf {name} --bits 4`.

## Limits

It is no therapist and no crisis service, it can be wrong, and what it says is not advice. Licence
and limits of its base, and of the data that it was trained on, hold for it too.
"""


TERMS = {
    "cross_entropy": "cross-entropy of the reference replies",
    "divergence": "divergence from the teacher",
    "teacher_cross_entropy": "the teacher's own cross-entropy",
    "mmd": "MMD^2 of hidden states",
    "gate": "mean gate of the sources, where told",
    "leakage_reference_end": "leakage gauge, reference replies",
    "leakage_student_start": "leakage gauge, student before",
    "leakage_student_end": "leakage gauge, student after",
}


def card_text(
    name: str,
    provenance: Mapping[str, Any],
    recipe: Training,
    stages: Mapping[str, StageResult],
    precision: str,
    dtype: str,
) -> str:
    base = provenance["base"]
    front = ["library_name: transformers", "pipeline_tag: text-generation"]
    if base.count("/") == 1 and not base.startswith((".", "/", "~")):
        front.append(f"base_model: {base}")
    front += ["tags:", "- empathy", "- kindred", *(f"- {stage}" for stage in stages)]
    data = [
        f"| data | `{file}` (sha256 `{sha256}`) |"
        for file, sha256 in provenance["data_sha256"].items()
    ]
    return CARD.format(
        front="\n".join(front),
        name=name,
        how=how(stages),
        adapter=adapter_text(recipe),
        precision=precision,
        dtype=dtype,
        data="\n".join(data),
        stages="\n".join(row(stage, result.figures) for stage, result in stages.items()),
        terms=terms_text(stages),
        base=base,
        base_sha256=provenance["base_sha256"],
        recipe_sha256=provenance["recipe_sha256"],
    )


def how(stages: Mapping[str, StageResult]) -> str:
    if "pride" in stages:
        return "by distillation with privileged information (after arXiv 2606.23124)"
    return "in two steps, SFT then DPO (arXiv 2507.08151)" if "dpo" in stages else "by SFT"


def terms_text(stages: Mapping[str, StageResult]) -> str:
    """Terms of the loss at the end of a PRIDE run, in nats a token; nothing for other stages."""
    if "pride" not in stages:
        return ""
    figures = stages["pride"].figures
    lines = [f"| {label} | {figures[n]:.4f} |" for n, label in TERMS.items() if n in figures]
    return "\n".join(["", "| term, at the end | |", "| --- | --- |", *lines, ""])


def adapter_text(recipe: Training) -> str:
    adapter = recipe.adapter
    if adapter.kind == "full":
        return "all"
    return f"{adapter.kind}, rank {adapter.rank}, alpha {adapter.alpha}, merged"


def row(stage: str, figures: Mapping[str, float]) -> str:
    scored = figures.get("validation_loss")
    return (
        f"| {stage} | {figures['steps']:.0f} | {figures['loss']:.4f} | {figures['mean_loss']:.4f} "
        f"| {'none' if scored is None else f'{scored:.4f}'} |"
    )
