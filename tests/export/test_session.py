"""An exported file under llama.cpp: silent, exact, and refused when it is not whole."""

import numpy as np
import pytest

from distill.core.errors import CheckFailed
from export.native_log import SHOW
from export.session import Session


def test_llama_cpp_is_silent_unless_its_lines_are_asked_for(lively_f16, capfd, monkeypatch):
    with Session(lively_f16):
        pass
    assert capfd.readouterr().err == ""
    monkeypatch.setenv(SHOW, "1")
    with Session(lively_f16):
        pass
    assert "general.architecture" in capfd.readouterr().err


def test_logits_do_not_depend_on_the_size_of_the_chunks(lively_f16):
    tokens = list(range(20, 60))
    with Session(lively_f16, context=64, batch=64) as session:
        whole_NV = session.read(tokens)
        session.restart()
        parts = [session.read(tokens[:7]), session.read(tokens[7:])]
    assert whole_NV.shape == (40, 512)
    assert np.abs(np.concatenate(parts) - whole_NV).max() < 1e-3


def test_a_file_that_was_cut_off_is_refused_with_the_reason(lively_f16, tmp_path):
    part = tmp_path / "part.gguf"
    part.write_bytes(lively_f16.read_bytes()[:400_000])
    with pytest.raises(CheckFailed, match=r"llama\.cpp does not open .*part\.gguf: \S+"):
        Session(part, context=64)
