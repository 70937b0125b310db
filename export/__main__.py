"""Write the student as a file for the device, and check it."""

from distill.core.command import Entry, main

GROUP = {
    "gguf": Entry(
        "export.gguf",
        "Write a GGUF file and prove that it is still the student.",
        "export",
        ("torch", "gguf", "llama_cpp"),
    ),
    "onnx": Entry(
        "export.onnx",
        "Write an ONNX folder and prove that it is still the student.",
        "export",
        ("torch", "gguf", "llama_cpp", "onnx", "onnxruntime", "tokenizers"),
    ),
    "verify": Entry(
        "export.verify",
        "Check an exported file against its manifest and its student.",
        "export",
        ("torch", "llama_cpp"),
    ),
}


def run() -> None:
    main("export", "Write the student as a file for the device, and check it.", GROUP)


if __name__ == "__main__":
    run()
