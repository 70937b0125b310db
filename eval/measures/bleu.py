"""BLEU by sacrebleu (arXiv 1804.08771), of all replies against their references.

In: replies and references. Out: corpus BLEU from 0 to 100; its interval resamples the counts of
whole dialogues, so that each draw is a corpus BLEU again. Nothing is refused.
"""

import numpy as np

from eval.measures.seam import Figure, Material
from eval.statistics import Indices, bootstrap

NEEDS = ("references",)
ORDER = 4


def figures(material: Material) -> list[Figure]:
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(max_ngram_order=ORDER, force=True)
    parts = [
        bleu.corpus_score([text], [[one] for one in references])
        for _, text, references in material.references
    ]
    # [dialogues, 10]: right n-grams, all n-grams, length, length of the nearest reference
    rows = np.array([[*p.counts, *p.totals, p.sys_len, p.ref_len] for p in parts], int)

    def score(numbers: Indices) -> float:
        total = rows[numbers].sum(0).tolist()
        said, wanted = total[2 * ORDER :]
        right, every = total[:ORDER], total[ORDER : 2 * ORDER]
        return float(BLEU.compute_bleu(right, every, said, wanted, smooth_method="exp").score)

    interval = bootstrap(len(rows), score, material.seed)
    return [
        Figure(
            "bleu",
            score(np.arange(len(rows))),
            "of 100",
            len(rows),
            f"n-grams shared with the reference ({bleu.get_signature()})",
            "a measure of empathy: a good reply in other words scores near 0",
            (interval.low, interval.high) if interval else None,
            interval.method if interval else None,
        )
    ]
