"""BERTScore's greedy matching (arXiv 1904.09675, F1) over the token vectors of all-MiniLM-L6-v2.

In: replies and references. Out: the mean F1 with the best reference, and the same against the
reference of another dialogue, which is where nothing in common would be. Neither rescaled nor
weighted by rarity. The library bert-score wants a model from a hub, so the matching is here.
Refused: an encoder that is not installed (MissingExtra).
"""

from distill.core.encoder import Floats, open_encoder
from eval.measures.seam import Figure, Material, mean

NEEDS = ("references",)


def matched(reply: Floats, reference: Floats) -> float:
    """F1 of [tokens, D] unit vectors; 0 when one has no token."""
    if not (len(reply) and len(reference)):
        return 0.0
    near = reply @ reference.T
    precision, recall = float(near.max(1).mean()), float(near.max(0).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def figures(material: Material) -> list[Figure]:
    encoder = open_encoder()
    texts = [text for _, text, _ in material.references]
    groups = [references for *_, references in material.references]
    replies = encoder.token_vectors(texts)
    flat = iter(encoder.token_vectors([one for group in groups for one in group]))
    known = [[next(flat) for _ in group] for group in groups]
    own = [max(matched(r, one) for one in group) for r, group in zip(replies, known, strict=True)]
    others = [*known[1:], *known[:1]]
    foreign = [max(matched(r, o) for o in group) for r, group in zip(replies, others, strict=True)]
    unit = "F1 of cosines, unscaled"
    return [
        mean(
            "bertscore_minilm",
            own,
            material.seed,
            unit=unit,
            means="meaning shared with the reference, token by token",
            is_not="comparable with BERTScore by another model; read it against the next line",
        ),
        mean(
            "bertscore_minilm_stranger",
            foreign,
            material.seed,
            unit=unit,
            means="the same against the reference of the next dialogue",
            is_not="a quality: it is where nothing in common would be",
        ),
    ]
