"""ROUGE-L by rouge-score: the longest common subsequence with the best reference.

In: replies and references. Out: the mean F-measure over dialogues. Nothing is refused.
"""

from eval.measures.seam import Figure, Material, mean

NEEDS = ("references",)


def figures(material: Material) -> list[Figure]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    return [
        mean(
            "rouge_l",
            [
                scorer.score_multi(references, text)["rougeL"].fmeasure
                for _, text, references in material.references
            ],
            material.seed,
            unit="F-measure, 0 to 1",
            means="words shared with the reference in the same order",
            is_not="a measure of empathy: a good reply in other words scores low",
        )
    ]
