"""Perplexity and bits per byte of the reference replies under the student.

In: references and a student that answered. Out: exp of the mean loss per token, and bits per byte
of reference text, over all references together. Refused: another student than the one that
answered (BadInput), and what `likelihood` refuses.
"""

import math

import numpy as np

from distill.core.errors import BadInput
from distill.core.progress import track
from eval.measures.likelihood import opened_likelihood
from eval.measures.seam import Figure, Material
from eval.statistics import Indices, bootstrap

NEEDS = ("references", "student")


def figures(material: Material) -> list[Figure]:
    assert material.student
    asked = [(d, one) for d, _, references in material.references for one in references]
    with opened_likelihood(material.student) as (sha256, likelihood):
        if sha256 != material.answers.artifact_sha256:
            raise BadInput(
                f"{material.student} (sha256 {sha256[:8]}...) did not give the answers in "
                f"{material.answers.path} (sha256 {material.answers.artifact_sha256[:8]}...); name "
                "the one that did, or answer again with: distill eval answer"
            )
        found = [
            (*likelihood(dialogue, reply), len(reply.encode()))
            for dialogue, reply in track(asked, "perplexity", len(asked))
        ]
    place = {d.id: number for number, (d, *_) in enumerate(material.references)}
    sums = np.zeros((len(place), 3))  # log-probability, tokens, bytes of a dialogue
    np.add.at(sums, [place[dialogue.id] for dialogue, _ in asked], found)

    def perplexity(numbers: Indices) -> float:
        nats, tokens, _ = sums[numbers].sum(0)
        return math.exp(-nats / tokens)

    def bits_per_byte(numbers: Indices) -> float:
        nats, _, size_bytes = sums[numbers].sum(0)
        return float(-nats / math.log(2) / size_bytes)

    every, told = np.arange(len(sums)), []
    for name, figure, unit, is_not in (
        ("perplexity", perplexity, "per token", "comparable between tokenizers"),
        ("bits_per_byte", bits_per_byte, "bits", "a measure of what the student says by itself"),
    ):
        interval = bootstrap(len(sums), figure, material.seed)
        told.append(
            Figure(
                name,
                figure(every),
                unit,
                len(sums),
                "how surprised the student is by the reference replies",
                is_not,
                (interval.low, interval.high) if interval else None,
                interval.method if interval else None,
            )
        )
    return told
