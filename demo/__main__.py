"""Talk to a student in the browser."""

from distill.core.command import Entry, main

GROUP = {
    "chat": Entry("demo.chat", "Open a chat page on a served file.", "demo", ("gradio", "openai")),
}


def run() -> None:
    main("demo", "Talk to a student in the browser.", GROUP)


if __name__ == "__main__":
    run()
