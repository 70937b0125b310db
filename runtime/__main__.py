"""Serve a file locally, or talk to it."""

from distill.core.command import Entry, main

GROUP = {
    "chat": Entry("runtime.terminal", "Talk to a file in the terminal.", "runtime", ("llama_cpp",)),
    "describe": Entry(
        "runtime.describe",
        "Say how this runtime prompts, samples and guards with a file.",
        "runtime",
        ("llama_cpp",),
    ),
    "serve": Entry(
        "runtime.serve",
        "Serve a file to OpenAI clients on this machine.",
        "runtime",
        ("llama_cpp", "fastapi", "uvicorn", "prometheus_client"),
    ),
}


def run() -> None:
    main("runtime", "Serve a file locally, or talk to it.", GROUP)


if __name__ == "__main__":
    run()
