"""One step of PRIDE against one step of SFT, on the bundled base and the bundled dialogues.

    python -m tests.benchmarks.pride_step [--rows 16] [--rounds 5]

Steps are forward, backward and AdamW of the same rows, taken in turn; medians. `stored` has the
teacher's states at hand, `live` asks the base itself, and a share of the rows is told.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from distill.corpora.starter import read_starter
from distill.learning.multi_source import MultiSource, attached
from distill.learning.origin import bundled_base
from distill.learning.pride_rows import Row, RowMaker, labels_of, padded
from distill.learning.pride_student import PrideStudent, Taking, Told
from distill.learning.privileged import Known
from distill.learning.student import load_student, read_tokenizer
from distill.learning.teacher import live_teacher
from distill.recipe import Pride, PrideLoss, parse_recipe, recipe_text

ALONE = PrideLoss(divergence_weight=0.0, mmd_weight=0.0)


def rows_of(recipe: Pride, count: int) -> list[Row]:
    tokenizer = read_tokenizer(bundled_base(), recipe)
    dialogues = [
        (
            [
                *item.dialogue.messages(),
                {"role": "assistant", "content": item.response("improved").text},
            ],
            Known(item.dialogue.id, item.privileged.fields if item.privileged else {}),
        )
        for item in read_starter()[:count]
    ]
    return list(RowMaker(recipe, tokenizer, tokenizer).rows(dialogues))


def taking_of(rows: list[Row], told: float) -> Taking:
    ids_BT, seen_BT = padded([row.ids for row in rows])
    told_B = torch.arange(len(rows)) < told * len(rows)
    return Taking(
        ids_BT, seen_BT, labels_of(rows), told_B, *padded([row.source_ids for row in rows])
    )


def steps(recipe: Pride, rows: list[Row], told: float) -> Iterator[tuple[str, Callable[[], None]]]:
    """A step of each kind, on a student of its own."""
    teacher = live_teacher("starter")
    views = [row.informed for row in rows if row.informed is not None]
    stored = Told(teacher.hidden(views), teacher.head)
    count = float(sum(len(row.reply_ids) for row in rows))
    for name in ("sft", "stored", "live"):
        student = load_student(bundled_base(), recipe, "fp32", "cpu", None)
        fusion = None if name == "sft" else MultiSource(512, [3], heads=8)
        loss = ALONE if name == "sft" else recipe.loss
        pride = PrideStudent(student, loss, fusion, None if name == "sft" else 512).train()
        optimizer = torch.optim.AdamW(pride.parameters(), lr=1e-5)

        def step(name: str = name, pride: PrideStudent = pride, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad()
            said = {"sft": None, "stored": stored}.get(name)
            if name == "live":
                said = Told(teacher.hidden(views), teacher.head)
            taking = taking_of(rows, told)
            if pride.fusion is None:
                pride(taking, said, count, plain=True).loss.backward()
            else:
                with attached(pride.fusion, pride.student):
                    pride(taking, said, count).loss.backward()
            optimizer.step()

        yield name, step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    # The mean over a run of the bundled recipe: 0.5 falling to 0 over four fifths of it.
    parser.add_argument("--told", type=float, default=0.2)
    words = parser.parse_args()
    recipe = parse_recipe(recipe_text("pride"), "pride")
    assert isinstance(recipe, Pride)
    kinds = list(steps(recipe, rows_of(recipe, words.rows), words.told))
    seconds: dict[str, list[float]] = {name: [] for name, _ in kinds}
    for _ in range(words.rounds + 1):
        for name, step in kinds:
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"{name:8} {median:7.3f} s   {median / medians['sft']:.2f} x SFT")


if __name__ == "__main__":
    main()
