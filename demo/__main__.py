"""Talk to a student in the browser; without a command, to the newest one under runs/."""

from distill.core.command import Entry, main

GROUP = {
    "chat": Entry(
        "demo.chat", "Open a page: chat, blind comparison, origin.", "demo", ("gradio", "scipy")
    ),
    "pocket": Entry(
        "demo.pocket", "Write a web folder that runs a file on a phone.", "runtime", ("llama_cpp",)
    ),
}
BARE = "chat"


def run() -> None:
    main("demo", __doc__ or "", GROUP, BARE)


if __name__ == "__main__":
    run()
