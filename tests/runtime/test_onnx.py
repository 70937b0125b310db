"""An ONNX folder behind the engine: the same API as a file, several chats, nothing copied."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import openai
import pytest

from distill.core.errors import BadInput, MissingInput, Unsupported
from export.checkpoint import open_checkpoint
from runtime import load
from runtime.backends import Sampling, Work
from runtime.backends.onnx import Onnx
from runtime.backends.onnx_graph import Graph
from runtime.backends.onnx_tokens import Tokens
from tests.runtime.serving import Serving

HELLO = [{"role": "user", "content": "hi"}]
LONGER = [{"role": "user", "content": "I lost my job today and I do not know what to do."}]
TEXTS = ["I lost my job.", "  two  spaces\n\ttab", "é🐶 日本語", "<|end|> typed", "x = {'a': [1]}"]


@pytest.fixture(scope="module")
def backend(tiny_onnx):
    opened = Onnx(tiny_onnx, context=256, threads=1, sequences=4)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def engine(tiny_onnx):
    with load(tiny_onnx, threads=1) as opened:
        yield opened


def changed(source: Path, target: Path, **settings) -> Path:
    """A copy whose genai_config.json says something else of the model."""
    shutil.copytree(source, target)
    path = target / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"] |= settings
    path.write_text(json.dumps(config))
    return target


def without_cache(folder: Path, tokens: list[int]) -> np.ndarray:
    """Logits of one plain pass: what every other way must give."""
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    empty = {
        i.name: np.zeros((1, i.shape[1], 0, 64), np.float32)
        for i in session.get_inputs()
        if i.name.startswith("past")
    }
    ids = np.array([tokens], np.int64)
    return session.run(
        ["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids), **empty}
    )[0][0]


def fed(backend, sequence, tokens):
    """The logits after all tokens, read in slices of 7."""
    held = backend.keep(sequence, 0)
    for start in range(0, len(tokens), 7):
        part = tokens[start : start + 7]
        backend.decode([Work(sequence, part, held + start, True)])
    return backend.logits(0).copy()


def test_slices_with_a_cache_give_the_logits_of_one_pass(tiny_onnx, backend):
    tokens = np.random.default_rng(0).integers(5, 380, 40).tolist()
    expected = without_cache(tiny_onnx, tokens)[-1]
    assert np.abs(fed(backend, 0, tokens) - expected).max() < 1e-3


def test_sequences_in_one_pass_do_not_disturb_each_other_nor_the_idle_one_between(
    tiny_onnx, backend
):
    texts = [np.random.default_rng(i).integers(5, 380, 20 + 5 * i).tolist() for i in range(4)]
    for sequence, tokens in enumerate(texts):
        fed(backend, sequence, tokens[:-2])
    # 1 reads two tokens at once beside single ones; 2 is idle and lies between 0 and 3.
    work = [Work(s, texts[s][-2:-1], len(texts[s]) - 2, True) for s in (0, 3)]
    backend.decode([work[0], Work(1, texts[1][-2:], len(texts[1]) - 2, True), work[1]])
    found = {1: backend.logits(1).copy()}
    backend.decode([Work(s, texts[s][-1:], len(texts[s]) - 1, True) for s in (3, 0)])
    found |= {3: backend.logits(0).copy(), 0: backend.logits(1).copy()}
    backend.decode([Work(2, texts[2][-2:], len(texts[2]) - 2, True)])
    found[2] = backend.logits(0).copy()
    for sequence, tokens in enumerate(texts):
        expected = without_cache(tiny_onnx, tokens)[-1]
        assert np.abs(found[sequence] - expected).max() < 1e-3, sequence


def test_a_full_sequence_between_two_others_stays_whole(tiny_onnx):
    graph = Graph(tiny_onnx, context=16, threads=1, sequences=3)
    tokens = list(range(5, 21))
    graph.read(tokens[:15], past=0, sequence=1)
    expected = graph.read(tokens[15:], past=15, sequence=1)
    found = graph.step({0: 7, 2: 7}, [0, 16, 0])
    assert np.abs(found[0] - found[2]).max() == 0
    assert np.abs(graph.read(tokens[15:], past=15, sequence=1) - expected).max() < 1e-4


def test_what_was_forgotten_or_copied_counts_as_it_should(tiny_onnx, backend):
    tokens = np.random.default_rng(5).integers(5, 380, 30).tolist()
    fed(backend, 0, tokens)
    assert backend.keep(0, 20) == 20
    assert backend.copy(0, 1, 20) == 20
    backend.decode([Work(0, [9], 20, True), Work(1, [8], 20, True)])
    rows = [backend.logits(row).copy() for row in (0, 1)]
    for row, last in zip(rows, (9, 8), strict=True):
        expected = without_cache(tiny_onnx, [*tokens[:20], last])[-1]
        assert np.abs(row - expected).max() < 1e-3


def test_the_bytes_of_tokens_are_the_text(tiny_onnx):
    tokens = Tokens(tiny_onnx)
    for text in TEXTS:
        ids = tokens.encode(text)
        assert not set(ids) & set(tokens.control.values())
        assert b"".join(map(tokens.bytes_of, ids)).decode() == text
    assert tokens.bytes_of(tokens.control["<|end|>"]) == b""


def test_greedy_text_is_that_of_a_plain_loop(tiny_onnx, backend, engine):
    tokens = engine.prompt_ids(LONGER)
    written = []
    while len(written) < 12:
        written.append(int(without_cache(tiny_onnx, [*tokens, *written])[-1].argmax()))
    expected = b"".join(map(backend.bytes_of, written)).decode("utf-8", "replace")
    pieces = engine.chat(LONGER, temperature=0, max_tokens=12)
    assert "".join(piece.text for piece in pieces) == expected


def test_prompts_are_the_checkpoints_own(tiny_folder, engine):
    tokenizer = open_checkpoint(tiny_folder).tokenizer
    ids = tokenizer.apply_chat_template(LONGER, add_generation_prompt=True, return_dict=False)
    assert engine.prompt_ids(LONGER) == ids


def test_the_folder_is_served_to_openais_own_client(tiny_onnx, tmp_path, engine):
    reply = engine.chat(LONGER, temperature=0, max_tokens=8)
    expected = "".join(piece.text for piece in reply)
    asked = {"model": "tiny-onnx-f16", "messages": LONGER, "temperature": 0, "max_tokens": 8}
    with (
        Serving(tiny_onnx, tmp_path / "log") as server,
        openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=60) as client,
    ):
        (model,) = client.models.list()
        made = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True))
    assert model.id == "tiny-onnx-f16"
    assert made.choices[0].message.content == expected
    assert made.usage.prompt_tokens == reply.prompt_tokens
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == expected


def test_seeds_stops_and_lengths_work_as_with_a_file(engine):
    def text(**options):
        return "".join(p.text for p in engine.chat(LONGER, max_tokens=20, **options))

    assert text(seed=3) == text(seed=3) != text(seed=4)
    greedy = text(temperature=0)
    assert text(temperature=0, stop=[greedy[4:6]]) == greedy[: greedy.index(greedy[4:6])]
    reply = engine.chat(HELLO, max_tokens=2, temperature=0)
    assert [p.finish_reason for p in reply][-1] == "length"


def test_two_replies_read_in_turns_are_those_of_one(engine):
    def reply(messages):
        return engine.chat(messages, temperature=0, max_tokens=10)

    alone = ["".join(p.text for p in reply(m)) for m in (HELLO, LONGER)]
    texts = ["", ""]
    for pair in zip(*map(reply, (HELLO, LONGER)), strict=True):
        texts = [text + piece.text for text, piece in zip(texts, pair, strict=True)]
    assert texts == alone


def test_the_end_token_that_a_folder_names_ends_a_reply(tiny_onnx, tmp_path, engine):
    first = int(without_cache(tiny_onnx, engine.prompt_ids(HELLO))[-1].argmax())
    folder = changed(tiny_onnx, tmp_path / "ends", eos_token_id=[4, first])
    with load(folder) as ends:
        assert [p.finish_reason for p in ends.chat(HELLO, temperature=0)] == ["stop"]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused(tiny_onnx, tmp_path, name):
    folder = Path(shutil.copytree(tiny_onnx, tmp_path / "student"))
    (folder / name).unlink()
    with pytest.raises(MissingInput, match=f"has no {name}"):
        load(folder)


def test_a_folder_without_a_config_or_a_template_is_refused(tiny_onnx, tmp_path):
    folder = Path(shutil.copytree(tiny_onnx, tmp_path / "student"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(Unsupported, match="carries no chat template"):
        load(folder)
    (folder / "genai_config.json").unlink()
    with pytest.raises(BadInput, match="is a folder with no ONNX student"):
        load(folder)
    with pytest.raises(MissingInput, match=r"has no genai_config\.json"):
        Onnx(folder, context=64, threads=1)


def test_files_that_do_not_say_what_they_should_are_refused(tiny_onnx, tmp_path):
    with pytest.raises(BadInput, match="does not say the sizes"):
        load(changed(tiny_onnx, tmp_path / "sizes", context_length="long"))
    folder = Path(shutil.copytree(tiny_onnx, tmp_path / "broken"))
    (folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(BadInput, match="cannot be opened"):
        load(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="is no tokenizer"):
        load(folder)
    (folder / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="is not UTF-8"):
        load(folder)


def test_a_template_that_does_not_compile_is_refused_before_the_graph_is_opened(
    tiny_onnx, tmp_path
):
    folder = Path(shutil.copytree(tiny_onnx, tmp_path / "student"))
    (folder / "chat_template.jinja").write_text("{% if %}")
    (folder / "model.onnx").unlink()
    with pytest.raises(Unsupported, match="does not compile"):
        load(folder)


def test_a_graph_whose_cache_is_not_shared_is_refused(tiny_onnx, tmp_path):
    folder = changed(tiny_onnx, tmp_path / "student")
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    config["search"]["past_present_share_buffer"] = False
    path.write_text(json.dumps(config))
    with pytest.raises(Unsupported, match="no decoder with a shared float32 cache"):
        load(folder)


@pytest.mark.parametrize(("said", "used"), [(1.3, 1.3), (0, 1.0), ("much", 1.0)])
def test_the_penalty_that_a_folder_recommends_is_used(tiny_onnx, tmp_path, said, used):
    folder = changed(tiny_onnx, tmp_path / "student")
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    config["search"]["repetition_penalty"] = said
    path.write_text(json.dumps(config))
    opened = Onnx(folder, context=64, threads=1)
    assert opened.repetition_penalty == used
    assert opened.sampler(Sampling(seed=1)) is not None
    opened.close()
