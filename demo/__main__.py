"""Talk to a student in the browser; without a command, to the newest one under runs/."""

from distill.core.command import Entry, main

GROUP = {
    "chat": Entry(
        "demo.chat", "Open a page: chat, blind comparison, origin.", "demo", ("gradio", "openai")
    ),
}
BARE = "chat"


def run() -> None:
    main("demo", __doc__ or "", GROUP, BARE)


if __name__ == "__main__":
    run()
