"""A run folder of any size with several candidates, a panel of judges, a comparison, measures."""

import random
from itertools import combinations
from pathlib import Path

from distill.core.journal import Journal
from distill.core.jsonl import digest_text, write_json, write_jsonl
from distill.core.records import Answer, Judgement
from eval.compare import told
from eval.held_out import read_answers
from eval.judges.scripted import Script, ScriptedJudge
from eval.judging import judge_pairs
from eval.winrate import pairs_of, result_of_panel
from tests.eval.run_folder import RunFolder

WORDS = (
    "I am sorry to hear that your dog is gone and it must be hard when the house is so quiet "
    "what do you miss most about him take the time that you need you did all you could"
)
SKILL = {"student": 0.62, "base": 0.4, "student-Q8_0": 0.6, "one-step": 0.5}


def say(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS.split(), k=words)).capitalize() + "."


def leaning(skill: dict[str, float], noise: float) -> Script:
    """A judge that likes the abler candidate, now and then whoever stands first, now and then none.

    What it says of a pair depends on the pair alone.
    """

    def judge(turns: list[dict[str, str]], first: str, second: str) -> str:
        draw = random.Random(f"{noise} {sorted((first, second))}").random()
        if draw < noise:
            return "first"
        if draw < 2 * noise:
            return "tie"
        sides = (first, "first"), (second, "second")
        ranked = [
            (
                skill[text],
                random.Random(text).random(),
                random.Random(f"{text}{noise}").random(),
                side,
            )
            for text, side in sides
        ]
        worth = [(0.5 * able + 0.3 * luck + 0.2 * own, side) for able, luck, own, side in ranked]
        return max(worth)[1]

    return judge


class Crowd(RunFolder):
    """`pairs` are those of student and base; `others` are drawn beside them."""

    def __init__(self, path: Path, count: int, others: tuple[str, ...] = (), seed: int = 0) -> None:
        chance = random.Random(seed)
        said = [say(chance, chance.randint(8, 40)) for _ in range(count)]
        super().__init__(
            path, [(s, *(say(chance, chance.randint(12, 45)) for _ in "ab")) for s in said]
        )
        self.others = {
            name: [say(chance, chance.randint(10, 50)) for _ in range(count)] for name in others
        }

    def skill(self) -> dict[str, float]:
        """How able the author of each text is."""
        known = {text: SKILL["student"] for _, text, _ in self.pairs}
        known |= {text: SKILL["base"] for _, _, text in self.pairs}
        return known | {
            text: SKILL.get(name, 0.5) for name, texts in self.others.items() for text in texts
        }

    def write_everything(self) -> "Crowd":
        self.write_all()
        self.write_others()
        self.write_panel()
        self.write_compared()
        for name in self.others:
            self.write_measures(name)
        return self

    def write_others(self) -> None:
        for name, texts in self.others.items():
            common = {"first_token_s": 0.03, "tokens_per_s": 300.0, "tokens": 30}
            sha256 = digest_text(name)
            answers = [
                Answer(dialogue_id=d, candidate=name, text=t, artifact_sha256=sha256,
                       finish_reason="stop", **common)
                for d, t in zip(self.ids, texts, strict=True)
            ]  # fmt: skip
            write_jsonl(self.path / f"answers/{name}.jsonl", answers)

    def judges(self) -> list[ScriptedJudge]:
        skill = self.skill()
        return [
            ScriptedJudge(
                leaning(skill, noise),
                name=f"judge-{noise}",
                rubric_digest=digest_text("rubric"),
                agreement_note=f"agrees with people on {80 - 100 * noise:.0f} % of 300 pairs",
            )
            for noise in (0.06, 0.14)
        ]

    def write_panel(self) -> None:
        a, b = self.answers("student"), self.answers("base")
        pairs = pairs_of(self.dialogues(), a, b)
        path = self.path / "judged/judgements.jsonl"
        path.unlink(missing_ok=True)
        with Journal(path, Judgement) as journal:
            panel = [(judge, judge_pairs(pairs, judge, journal)) for judge in self.judges()]
        result, _ = result_of_panel(pairs, a, b, panel, 0, "both-orders")
        write_json(self.path / "judged/winrate.json", result)

    def write_compared(self) -> None:
        files = [read_answers(path) for path in sorted((self.path / "answers").glob("*.jsonl"))]
        couples, dialogues = list(combinations(files, 2)), self.dialogues()
        judge = self.judges()[0]
        out = self.path / "compared"
        with Journal(out / "judgements.jsonl", Judgement) as journal:
            panels = [
                [(judge, judge_pairs(pairs_of(dialogues, *c), judge, journal))] for c in couples
            ]
        told(couples, dialogues, panels, 0, out)
