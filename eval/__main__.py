"""Judge a candidate: answers, win rate, latency, report."""

from distill.core.command import Entry, main

GROUP = {
    "answer": Entry(
        "eval.answer",
        "Ask a candidate for a reply to every held-out dialogue.",
        "eval",
        ("openai",),
    ),
    "winrate": Entry(
        "eval.winrate",
        "Compare two candidates pair by pair, in both orders.",
        "eval",
        ("numpy", "openai"),
    ),
    "compare": Entry(
        "eval.compare",
        "Say of several candidates which is better, and rank them.",
        "eval",
        ("numpy", "openai"),
    ),
    "calibrate": Entry(
        "eval.calibrate",
        "Measure judges against the ratings of people.",
        "eval",
        ("numpy", "openai", "sklearn"),
    ),
    "measure": Entry(
        "eval.measure",
        "Measure replies without a judge: overlap, variety, emotion, likelihood, copies.",
        "eval",
        ("numpy", "sklearn", "sacrebleu", "rouge_score"),
    ),
    "scoring": Entry("eval.scoring.__main__", "Fit, apply and explain scorers of single replies."),
    "latency": Entry(
        "eval.latency",
        "Measure first token, tokens per second and memory of a served file.",
        "eval",
        ("numpy", "psutil", "matplotlib"),
    ),
    "report": Entry(
        "eval.report",
        "Join everything that is known of an artifact on one page.",
        "eval",
        ("matplotlib", "jinja2"),
    ),
}


def run() -> None:
    main("eval", "Judge a candidate: answers, win rate, latency, report.", GROUP)


if __name__ == "__main__":
    run()
