"""Stand-ins for paid services, for tests and dry demos."""

from distill.core.command import Entry, main

GROUP = {
    "fake-openai": Entry(
        "distill.dev.fake_openai",
        "Serve a stand-in for OpenAI's chat, files and batches.",
        "dev",
        ("fastapi", "uvicorn", "python_multipart"),
    ),
    "fake-gemini": Entry(
        "distill.dev.fake_gemini",
        "Serve a stand-in for Gemini's chat, files and batches.",
        "dev",
        ("fastapi", "uvicorn"),
    ),
}


def run() -> None:
    main("dev", "Stand-ins for paid services, for tests and dry demos.", GROUP)


if __name__ == "__main__":
    run()
