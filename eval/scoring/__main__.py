"""Scorers of single replies: fitted on ratings of people, or ours on our own grades."""

from distill.core.command import Entry, main

NEEDS = ("numpy", "sklearn", "skops")
GROUP = {
    "fit": Entry("eval.scoring.fit", "Fit a scorer on replies that people rated.", "eval", NEEDS),
    "apply": Entry("eval.scoring.apply", "Score answers by a fitted scorer.", "eval", NEEDS),
    "report": Entry(
        "eval.scoring.report",
        "Show how good a scorer is and which features matter.",
        "eval",
        (*NEEDS, "matplotlib"),
    ),
    "learn": Entry(
        "eval.scoring.learning",
        "Learn the offline judge anew from our own graded dialogues.",
        "eval",
        ("numpy", "sklearn"),
    ),
    "learn-caring": Entry(
        "eval.scoring.learn_caring",
        "Learn the embedded judge anew from our own graded dialogues.",
        "eval",
        ("numpy", "sklearn"),
    ),
}

if __name__ == "__main__":
    main("python -m eval.scoring", "Scorers of single replies.", GROUP)
