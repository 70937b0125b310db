"""Fit the offline scorer: `python -m eval.scoring fit DATA`."""

from distill.core.command import Entry, main

COMMANDS = {
    "fit": Entry(
        "eval.scoring.fit",
        "Learn the offline scorer from graded dialogues.",
        "eval",
        ("numpy", "sklearn"),
    )
}

if __name__ == "__main__":
    main("python -m eval.scoring", "Fit the offline scorer.", COMMANDS)
