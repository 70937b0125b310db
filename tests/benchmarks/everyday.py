"""What a student says to a hundred everyday prompts, and the figures that need no reader.

    python -m tests.benchmarks.everyday FILE.gguf --sets runs/quickstart/sets --out docs/everyday.md

Counts the share that ends by itself, repeated 4-gram loops, words, and replies copied whole from
training. Grammar, valence and take-up are judged by reading: the page leaves a column for them.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import runtime

PROMPTS = Path(__file__).parent.parent / "everyday_prompts.jsonl"


def reply_to(engine: "runtime.Engine", prompt: str) -> tuple[str, str]:
    """The greedy reply and why it ended."""
    text, reason = "", ""
    for piece in engine.chat([{"role": "user", "content": prompt}], max_tokens=120, temperature=0):
        text += piece.text
        reason = piece.finish_reason or reason
    return text.strip(), reason


def has_loop(text: str) -> bool:
    words = text.lower().split()
    grams = Counter(tuple(words[i : i + 4]) for i in range(len(words) - 3))
    return any(count > 1 for count in grams.values())


def training_replies(sets: Path) -> set[str]:
    replies = set()
    for line in (sets / "sft.jsonl").read_text("utf-8").splitlines():
        replies.add(json.loads(line)["messages"][-1]["content"])
    return replies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prompts = [json.loads(line) for line in PROMPTS.read_text("utf-8").splitlines()]
    known = training_replies(options.sets)
    engine = runtime.load(options.artifact)
    replies = [reply_to(engine, prompt["text"]) for prompt in prompts]
    engine.close()
    figures = {
        "prompts": len(prompts),
        "ended": sum(reason == "stop" for _, reason in replies) / len(prompts),
        "loops": sum(has_loop(text) for text, _ in replies),
        "mean_words": sum(len(text.split()) for text, _ in replies) / len(prompts),
        "copied": sum(text in known for text, _ in replies),
        "distinct": len({text for text, _ in replies}),
    }
    print(json.dumps(figures))
    if options.out:
        rows = [
            f"{number}. *{prompt['text']}*  \n   {text}"
            for number, (prompt, (text, _)) in enumerate(zip(prompts, replies, strict=True), 1)
        ]
        options.out.write_text("\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
