"""Files for the runtime's tests."""

import shutil
from itertools import islice
from pathlib import Path

import gguf
from llama_cpp import Llama


def greedy(path: Path, ids: list[int], count: int) -> tuple[list[int], str]:
    """Tokens and text of llama-cpp-python's own greedy loop."""
    plain = Llama(str(path), n_ctx=1024, n_threads=1, verbose=False)
    try:
        tokens = list(islice(plain.generate(ids, temp=0.0), count))
        return tokens, plain.detokenize(tokens).decode("utf-8", "replace")
    finally:
        plain.close()


def ending_early(source: Path, target: Path, ids: list[int]) -> int:
    """Write a copy whose end token is one that greedy decoding meets; return how many precede."""
    tokens, _ = greedy(source, ids, 12)
    place = max(i for i, token in enumerate(tokens) if token not in tokens[:i])
    shutil.copy(source, target)
    reader = gguf.GGUFReader(target, "r+")
    field = reader.fields["tokenizer.ggml.eos_token_id"]
    field.parts[field.data[0]][0] = tokens[place]
    reader.data.flush()
    return place
