"""Checkpoints and files that several tests of the export read, written once."""

from pathlib import Path

import pytest

from export.checkpoint import Checkpoint, open_checkpoint
from export.f16 import write_f16
from tests.export.students import lively_student


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(lively_student(tmp_path_factory.mktemp("lively") / "student"))


@pytest.fixture(scope="session")
def lively_f16(lively: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("f16") / "student-F16.gguf"
    write_f16(lively, path)
    return path
