"""Fit the guard's classifier again: `python -m runtime.guarding fit`."""

from distill.core.command import Entry, main

COMMANDS = {
    "fit": Entry(
        "runtime.guarding.fit",
        "Fit the guard's classifier to labelled messages.",
        "eval",
        ("numpy", "sklearn"),
    )
}

if __name__ == "__main__":
    main("python -m runtime.guarding", "Fit the guard's classifier.", COMMANDS)
