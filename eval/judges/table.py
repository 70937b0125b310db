"""The judges by name; one more is one more file beside this and one more line here.

In: `KIND` or `KIND:WHAT`, options, and the folder of the run. Out: judges. Refused: an unknown
judge, one without a model, batches of a judge that has none (BadInput). No file is made here.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path

from distill.core.chat.table import PROVIDERS
from distill.core.errors import BadInput
from eval.judges.options import JudgeOptions
from eval.judges.seam import Judge

JUDGES: Mapping[str, str] = {
    "offline": "eval.judges.offline",
    "embedded": "eval.judges.embedded",
    "person": "eval.judges.person",
    **dict.fromkeys(PROVIDERS, "eval.judges.chat"),
}


def open_judges(asked: JudgeOptions, out: Path, *, ties: bool = True) -> list[Judge]:
    """Every judge of the options, in their order; `ties` says whether they may call one."""
    found = []
    for spec in asked.specs():
        kind = spec.partition(":")[0]
        if kind not in JUDGES:
            known = ", ".join(f"{k}:MODEL" if k in PROVIDERS else k for k in JUDGES)
            raise BadInput(f"there is no judge {spec!r}; choose one of: {known}")
        if kind not in PROVIDERS and asked.batch:
            raise BadInput(f"the judge {kind} has no batches; leave --batch out")
        judge: Judge = importlib.import_module(JUDGES[kind]).opened(spec, asked, out, ties)
        found.append(judge)
    return found
