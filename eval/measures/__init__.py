"""Measures that need no judge, by name; one more is one more file beside this and one line here.

In: `Material`. Out: figures, and for each measure without what it needs, why it is absent. A
measure that lacks a package is absent too, with the line that says how to install it. What a
measure refuses is refused.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from distill.core.errors import MissingExtra
from eval.measures.seam import Figure, Material

MEASURES: Mapping[str, str] = {
    "form": "eval.measures.form",
    "variety": "eval.measures.variety",
    "bleu": "eval.measures.bleu",
    "rouge": "eval.measures.rouge",
    "bertscore": "eval.measures.bertscore",
    "perplexity": "eval.measures.perplexity",
    "emotion": "eval.measures.emotion",
    "miti": "eval.measures.miti",
    "epitome": "eval.measures.epitome",
    "copying": "eval.measures.copying",
}
OPTIONS: Mapping[str, str] = {
    "references": "--data and --reference",
    "student": "--student",
    "training": "--training",
    "coder": "--coder",
    "epitome": "--epitome",
}


@dataclass(frozen=True)
class Measured:
    """What was found, and what was not measured and why."""

    figures: list[Figure]
    absent: dict[str, str]


def measure(material: Material) -> Measured:
    """Every measure whose material is there."""
    found: list[Figure] = []
    absent: dict[str, str] = {}
    for name, module in MEASURES.items():
        one = importlib.import_module(module)
        lacking = [OPTIONS[need] for need in one.NEEDS if not getattr(material, need)]
        if lacking:
            absent[name] = f"not measured: it needs {' and '.join(lacking)}"
            continue
        try:
            found += one.figures(material)
        except MissingExtra as error:
            absent[name] = f"not measured: {error}"
    return Measured(found, absent)
