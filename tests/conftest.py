"""Fixtures that several packages' tests share."""

import sys
from pathlib import Path

import pytest

from tests.models import tiny_checkpoint

LAYER_STRENGTH = 100  # fresh weights hardly change the last token, and greedy decoding repeats it


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random checkpoint with a real tokenizer."""
    from safetensors.torch import load_file, save_file

    folder = tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny")
    weights = load_file(folder / "model.safetensors")
    for name, tensor in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            tensor *= LAYER_STRENGTH
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def tiny_gguf(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as an f16 file, written by our exporter."""
    from export.checkpoint import open_checkpoint
    from export.f16 import write_f16

    path = tmp_path_factory.mktemp("edge") / "tiny-F16.gguf"
    write_f16(open_checkpoint(tiny_folder), path)
    return path


@pytest.fixture(scope="session")
def tiny_onnx(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as an ONNX folder with float16 weights, by our exporter."""
    from export.checkpoint import open_checkpoint
    from export.onnx_build import build

    folder = tmp_path_factory.mktemp("edge") / "tiny-onnx-f16"
    folder.mkdir()
    build(open_checkpoint(tiny_folder), folder, 16)
    return folder


def pytest_unconfigure() -> None:
    """llama-cpp-python leaves two files open, which Python's exit reports as a warning."""
    if module := sys.modules.get("llama_cpp._utils"):
        module.outnull_file.close()
        module.errnull_file.close()
