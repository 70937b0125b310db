"""A run folder as the other commands leave it, written with their own records."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.core.journal import Journal
from distill.core.jsonl import digest_text, read_json, sha256_of, write_json, write_jsonl
from distill.core.manifest import ArtifactManifest, describe, write_manifest
from distill.core.records import Answer, Dialogue, Judgement, Turn
from eval.held_out import AnswerFile, read_answers
from eval.judges.scripted import Script, ScriptedJudge
from eval.judging import judge_pairs
from eval.pages.evidence import STUDENT
from eval.winrate import result_of

MACHINE = {
    "processor": "An example processor",
    "architecture": "x86_64",
    "system": "Linux 6.1",
    "physical_cores": 2,
    "memory_bytes": 8_000_000_000,
    "python": "3.11.9",
}
LINK = {
    "reference": "torch float32",
    "candidate": "F16",
    "positions": 2048,
    "mean_kld": 1.2e-5,
    "max_kld": 0.004,
    "top1": 0.9985,
    "greedy_prefix": 0.99,
    "end_of_turn": 1.0,
    "most_mean_kld": 0.001,
    "least_top1": 0.99,
    "failed": [],
}
PARITY = {
    "passed": True,
    "failed": [],
    "conversations": 40,
    "text": "sets/test.jsonl",
    "text_sha256": digest_text("text"),
    "unicode_form": None,
    "identical": ["chat template", "rendered prompts", "token ids", "end tokens"],
    "links": [
        LINK,
        LINK
        | {"reference": "F16", "candidate": "Q4_K_M", "mean_kld": 0.0312, "max_kld": 1.9}
        | {"top1": 0.914, "greedy_prefix": 0.71, "end_of_turn": None}
        | {"most_mean_kld": 0.08, "least_top1": 0.88},
    ],
}
QUANTIZATION = {
    "type": "Q4_K_M",
    "nominal_bits_per_weight": 4.5,
    "bits_per_weight": 4.9412,
    "file_bits_per_weight": 5.1203,
    "parameters": 11_012_352,
    "bytes_by_class": {"embedding": 1_200_000, "attention": 1_900_000, "feed-forward": 3_700_000},
    "weights_by_type": {"Q4_K": 8_000_000, "Q6_K": 3_000_000, "F32": 12_352},
    "fallback": ["blk.0.ffn_down.weight Q8_0"],
    "token_embedding": "Q5_K",
}
STAGES = {
    "sft": {"steps": 281, "loss": 1.8123, "valid_loss": 1.9021},
    "dpo": {"steps": 140, "loss": 0.2013, "accuracy": 0.953},
}


def around(median: float, share: float = 0.05) -> dict[str, float]:
    return {"median": median, "low": median * (1 - share), "high": median * (1 + share)}


def between(scale: float) -> dict[str, Any]:
    shares = {"p50": 0.0027, "p95": 0.0041, "p99": 0.0068}
    values = {n: {"value": v * scale, "low": v, "high": v * 1.4} for n, v in shares.items()}
    return {"pieces": 400, "tokens_per_piece": 1.02, **values}


def length_row(threads: int, length: int) -> dict[str, Any]:
    wait = length / (900 * threads**0.7) + 0.01
    return {
        "threads": threads,
        "length": length,
        "prompt_tokens": float(length),
        "decoded_tokens": 128.0,
        "repeats": 5,
        "first_token_s": around(wait),
        "prefill_tokens_per_s": around(length / wait),
        "decode_tokens_per_s": around((320 - length / 20) * threads**0.5),
        "between_pieces_s": between(1.1),
        "bench": [{"test": f"pp{length}", "mean_tokens_per_s": length / wait, "deviation": 9.1}],
    }


LATENCY: dict[str, Any] = {
    "artifact_sha256": digest_text("file"),
    "file": "student-Q4_K_M.gguf",
    "format": "gguf",
    "size_bytes": 12_000,
    "first_token_s": 0.0341,
    "first_token_p95_s": 0.0522,
    "tokens_per_s": 371.4,
    "tokens_per_s_p5": 322.0,
    "intervals": {"first_token_s": around(0.0341), "tokens_per_s": around(371.4)},
    "between_pieces_s": between(1.0),
    "whole_reply_s": around(0.119),
    "prompts": 20,
    "prompt_tokens": 42.0,
    "reply_tokens": 31.0,
    "lengths": [length_row(t, n) for t in (1, 2) for n in (32, 128, 512, 1024)],
    "load": {"start_s": around(1.21), "first_reply_s": around(0.061), "servers": 3},
    "peak_memory_bytes": 71_303_168,
    "private_bytes": 63_100_000,
    "file_backed_bytes": 8_110_080,
    "peak_memory_source": "VmHWM of the serving process",
    "split_source": "smaps_rollup",
    "energy": {"reported": False, "reason": "this machine has no counters of energy (powercap)"},
    "profile": None,
    "threads": 2,
    "context": 2048,
    "replies": [
        {
            "dialogue_id": f"d{number}",
            "tokens": 31,
            "first_token_s": 0.03 + 0.0009 * ((number * 7) % 17),
            "tokens_per_s": 340.0 + 3 * number,
            "between_pieces_ms": [2.4 + 0.1 * ((number * step) % 13) for step in range(30)],
        }
        for number in range(20)
    ],
    "machine": MACHINE | {"load_before": 0.4, "load_after": 1.9},
}
NOTE = "agrees with people on 57 % of 1,204 pairs that people decided (95 % interval 54 % to 60 %)"


@dataclass
class RunFolder:
    """A run folder under `path`; every part is written by a method of its own."""

    path: Path
    pairs: list[tuple[str, str, str]]
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ids = self.ids or [f"d{number}" for number in range(len(self.pairs))]

    @property
    def artifact(self) -> Path:
        return self.path / "edge/student-Q4_K_M.gguf"

    @property
    def sha256(self) -> str:
        return sha256_of(self.artifact)

    def dialogues(self) -> list[Dialogue]:
        return [
            Dialogue(id=name, source="test", turns=[Turn(role="user", content=said)], split="test")
            for name, (said, _, _) in zip(self.ids, self.pairs, strict=True)
        ]

    def write_all(self) -> "RunFolder":
        self.write_sets()
        self.write_student()
        self.write_artifact()
        self.write_answers()
        self.write_judged()
        self.write_latency()
        self.write_measures("student")
        self.write_measures("base")
        return self

    def write_sets(self) -> None:
        write_jsonl(self.path / "sets/test.jsonl", self.dialogues())
        write_jsonl(self.path / "sets/sft.jsonl", [{"messages": []}])
        card = {
            "rule": "improved",
            "seed": 0,
            "format": "trl",
            "sets": {
                "sft": {"rows": 9120, "sources": {"starter": 120, "curriculum": 9000}},
                "test": {"rows": len(self.pairs), "sources": {"test": len(self.pairs)}},
            },
            "files": {"sft.jsonl": sha256_of(self.path / "sets/sft.jsonl")},
        }
        write_json(self.path / "sets/dataset_card.json", card)

    def write_student(self, recipe: str = "recipe") -> None:
        provenance = {
            "base": "distill/starter/base",
            "base_sha256": digest_text("base"),
            "recipe_sha256": digest_text(recipe),
            "data_sha256": {"sft.jsonl": sha256_of(self.path / "sets/sft.jsonl")},
            "stages": STAGES,
            "tools": {"torch": "2.13.0"},
        }
        write_json(self.path / "student/kindred.json", provenance)
        (self.path / "student/curves.png").write_bytes(one_pixel())

    def write_artifact(self, name: str = "student", **changed: Any) -> None:
        file = self.path / f"edge/{name}-Q4_K_M.gguf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"GGUF {name}".encode() * 1000)
        manifest: dict[str, Any] = {
            "files": [describe(file)],
            "student": str(self.path / name),
            "student_sha256": digest_text(name),
            "base": "distill/starter/base",
            "recipe_sha256": digest_text("recipe") if name == STUDENT else None,
            "data_sha256": {},
            "quantization": QUANTIZATION,
            "parity": PARITY,
            "tools": {"torch": "2.13.0", "gguf": "0.19.0"},
        }
        write_manifest(file, ArtifactManifest.model_validate(manifest | changed))

    def write_answers(self, student_sha256: str | None = None) -> None:
        mine = student_sha256 or self.sha256
        texts = {"student": [pair[1] for pair in self.pairs], "base": [p[2] for p in self.pairs]}
        for place, (name, sha256) in enumerate({"student": mine, "base": digest_text("b")}.items()):
            answers = [
                Answer(
                    dialogue_id=dialogue_id,
                    candidate=name,
                    text=text,
                    artifact_sha256=sha256,
                    first_token_s=0.028 + 0.0009 * ((number * 7 + place) % 17),
                    tokens_per_s=310.0 + 6 * ((number * 5) % 23),
                    tokens=len(text.split()) + 3,
                    finish_reason="length" if number % 50 == 49 else "stop",
                )
                for number, (dialogue_id, text) in enumerate(
                    zip(self.ids, texts[name], strict=True)
                )
            ]
            write_jsonl(self.path / f"answers/{name}.jsonl", answers)

    def answers(self, name: str) -> AnswerFile:
        return read_answers(self.path / f"answers/{name}.jsonl")

    def write_judged(self, script: Script | None = None, note: str = NOTE) -> None:
        """Judge the answers by `script`; by default the student wins every pair."""
        own = {pair[1] for pair in self.pairs}
        judge = ScriptedJudge(
            script or (lambda turns, first, second: "first" if first in own else "second"),
            name="offline",
            rubric_digest=digest_text("rubric"),
            agreement_note=note,
        )
        a, b = self.answers("student"), self.answers("base")
        pairs = [(d, a.answers[d.id], b.answers[d.id]) for d in self.dialogues()]
        path = self.path / "judged/judgements.jsonl"
        path.unlink(missing_ok=True)
        with Journal(path, Judgement) as journal:
            judged = judge_pairs(pairs, judge, journal)
        result = result_of(pairs, a, b, judge, judged, seed=0)
        write_json(self.path / "judged/winrate.json", result)

    def change_winrate(self, **changed: Any) -> None:
        change(self.path / "judged/winrate.json", changed)

    def change_latency(self, **changed: Any) -> None:
        change(self.path / "latency.json", changed)

    def write_latency(self, sha256: str | None = None) -> None:
        mine = {"artifact_sha256": sha256 or self.sha256, "file": str(self.artifact)}
        write_json(self.path / "latency.json", LATENCY | mine)

    def write_measures(self, name: str) -> None:
        answers = self.path / f"answers/{name}.jsonl"
        known = {"unit": "share", "over": len(self.pairs), "interval_method": "bca"}
        distinct = {"means": "different words among all words", "is_not": "a measure of sense"}
        bleu = {"means": "overlap with the references", "is_not": "a measure of empathy"}
        write_json(
            self.path / f"measures/{name}.json",
            {
                "candidate": name,
                "artifact_sha256": read_answers(answers).artifact_sha256,
                "answers": str(answers),
                "answers_sha256": sha256_of(answers),
                "count": len(self.pairs),
                "reference": "human",
                "measures": [
                    {"name": "distinct_1", "value": 0.21, "interval": [0.19, 0.24]}
                    | known
                    | distinct,
                    {"name": "bleu", "value": None, "interval": None} | known | bleu,
                ],
                "absent": {"perplexity": "no --student was given"},
            },
        )

    def change_measures(self, name: str, **changed: object) -> None:
        change(self.path / f"measures/{name}.json", changed)


def change(path: Path, changed: dict[str, Any]) -> None:
    write_json(path, read_json(path) | changed)


def one_pixel() -> bytes:
    """The smallest PNG there is to embed."""
    import io

    from matplotlib.figure import Figure

    drawn = io.BytesIO()
    Figure(figsize=(0.02, 0.02), dpi=50).savefig(drawn, format="png")
    return drawn.getvalue()
