"""A MITI profile: how likely each behaviour code is in the replies.

In: replies, and a scorer that `distill eval scoring fit --features miti-learned` wrote, for its
classifier of codes is what reads them. Out: the mean chance of each code. Refused: a scorer that
has learned no codes (BadInput).
"""

from distill.core.errors import BadInput
from eval.measures.seam import Figure, Material, mean
from eval.scoring.columns import LEARNED, Source, columns_of
from eval.scoring.model import CODED, load_model
from eval.scoring.rated import Row

NEEDS = ("coder",)


def figures(material: Material) -> list[Figure]:
    assert material.coder
    model, card = load_model(material.coder)
    if model.coder is None:
        raise BadInput(
            f"{material.coder} has learned no codes; fit one on a file with MITI codes: "
            f"distill eval scoring fit DATA --features {LEARNED}"
        )
    rows = [
        Row(dialogue.id, dialogue.id, tuple(dialogue.turns), text, "candidate", 0)
        for dialogue, text in zip(material.dialogues, material.texts, strict=True)
    ]
    read = columns_of(rows, CODED, Source(model.design.embedder))
    chances = model.coder.predict_proba(read.values)
    told = card.get("codes_measured", {})
    return [
        mean(
            f"miti_{code.lower().replace(' ', '_').replace('-', '_')}",
            chances[:, number],
            material.seed,
            unit="mean chance",
            means=f"the reply would be coded {code!r}",
            is_not=f"a count by a trained coder; {known(told.get(code))}",
        )
        for number, code in enumerate(model.codes)
    ]


def known(area: float | None) -> str:
    """How well the classifier tells a code on dialogues that it has not seen."""
    if area is None:
        return "how well our classifier tells this code was not measured"
    return f"our classifier tells it with an area under the curve of {area:.2f} (chance 0.50)"
