"""Fixtures that several packages' tests share."""

from pathlib import Path

import pytest

from tests.models import tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random checkpoint with a real tokenizer."""
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="session")
def tiny_gguf(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as an f16 file, written by our exporter."""
    from export.checkpoint import open_checkpoint
    from export.f16 import write_f16

    path = tmp_path_factory.mktemp("edge") / "tiny-F16.gguf"
    write_f16(open_checkpoint(tiny_folder), path)
    return path
