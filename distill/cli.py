"""The umbrella command: `distill VERB`. Importing this file imports no verb."""

from distill.core.command import Entry, main

COMMANDS = {
    "quickstart": Entry(
        "distill.quickstart", "Walk from dialogues to a judged 4-bit student, offline."
    ),
    "doctor": Entry("distill.doctor", "Say what this machine has, lacks, and how to get it."),
    "gather": Entry(
        "distill.gather", "Read a corpus into dialogues, privileged fields and responses."
    ),
    "teach": Entry("distill.teach", "Ask a teacher for responses, now or by batch."),
    "annotate": Entry(
        "distill.annotate", "Ask a teacher for the privileged fields that dialogues lack."
    ),
    "improve": Entry("distill.improve", "Improve responses by targeted empathy strategies."),
    "curate": Entry("distill.curate", "Refuse responses that a student should not learn from."),
    "compose": Entry("distill.compose", "Compose SFT and preference sets by the paper's rules."),
    "train": Entry(
        "distill.train", "Train a student by a recipe.", "train", ("torch", "trl", "peft")
    ),
    "sweep": Entry("distill.sweep", "Train and judge a student for each set of a table."),
    "export": Entry("export.__main__", "Write the student as a file for the device, and check it."),
    "runtime": Entry("runtime.__main__", "Serve a file locally, or talk to it."),
    "eval": Entry("eval.__main__", "Judge a candidate: answers, win rate, latency, report."),
    "dev": Entry("distill.dev.__main__", "Stand-ins for paid services, for tests and dry demos."),
    "demo": Entry("demo.__main__", "Talk to a student in the browser."),
}


def run() -> None:
    main(
        "distill",
        "Distill empathy into a model that fits a phone, and prove that it arrived.",
        COMMANDS,
    )


if __name__ == "__main__":
    run()
