"""How likely a student finds replies that are given to it.

In: a checkpoint folder or an exported GGUF file, and dialogues with replies. Out: for each the sum
of the log-probabilities of the reply's tokens, in nats, and their number; the end of the turn is
not among them. Refused: an endpoint or an ONNX folder, which tell no probabilities of a given text
(Unsupported), a reply that does not fit the context (BadInput), no torch or llama.cpp
(MissingExtra), a file that the runtime refuses (Unavailable).

Shapes: T tokens of prompt and reply, V vocabulary.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import BadInput, MissingExtra, Unsupported
from distill.core.jsonl import sha256_of
from distill.core.machine import physical_cores
from distill.core.naming import is_onnx
from distill.core.records import Dialogue
from distill.core.serving import served
from eval.candidates import CandidateOptions, kind_of
from eval.machine import load

Likelihood = Callable[[Dialogue, str], tuple[float, int]]
LONGEST = 4096


def opened_likelihood(student: str) -> AbstractContextManager[tuple[str, Likelihood]]:
    """The digest of a student and its likelihood, for as long as the block lasts."""
    kind = kind_of(student)
    if kind == "checkpoint":
        return of_checkpoint(student)
    if kind == "artifact" and not is_onnx(Path(student)):
        return of_file(Path(student))
    raise Unsupported(
        f"{student} tells no probabilities of a given text; give --student a checkpoint folder or "
        "a GGUF file, or leave it out"
    )


@contextmanager
def of_checkpoint(student: str) -> Iterator[tuple[str, Likelihood]]:
    """By torch, one dialogue after another."""
    from eval.candidates.checkpoint import opened

    with opened(student, CandidateOptions()) as candidate:
        model: Any = candidate
        network, tokenizer = model.student, model.tokenizer
        room = getattr(network.config, "max_position_embeddings", None) or LONGEST

        def likelihood(dialogue: Dialogue, reply: str) -> tuple[float, int]:
            import torch

            prompt = tokenizer.apply_chat_template(
                dialogue.messages(), tokenize=False, add_generation_prompt=True
            )
            asked, said = (
                tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, reply)
            )
            refuse_long(dialogue, len(asked) + len(said), room)
            ids = torch.tensor([[*asked, *said]], device=network.device)
            with torch.inference_mode():
                logits_TV = network(input_ids=ids).logits[0, len(asked) - 1 : -1]
            return total(logits_TV.float().cpu().numpy(), said)

        yield candidate.sha256, likelihood


@contextmanager
def of_file(path: Path) -> Iterator[tuple[str, Likelihood]]:
    """By llama.cpp in this process, once the runtime has found the file sound."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise MissingExtra(
            "the likelihood of a GGUF file needs llama-cpp-python; install it with: "
            "pip install 'kindred-slm[runtime]'"
        )
    # The runtime bounds headers and templates before native code sees them; eval does not.
    with served(path):
        pass
    from llama_cpp import Llama
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    known = metadata_of(path)
    # A context as long as the student was trained for may not fit the memory.
    trained = int(known.get(f"{known['general.architecture']}.context_length", LONGEST))
    room = min(trained, LONGEST)
    cores = spare_cores()
    model: Any = Llama(
        str(path),
        n_ctx=room,
        n_threads=cores,
        n_threads_batch=cores,
        logits_all=True,
        verbose=False,
    )
    try:
        end, begin = (
            model._model.token_get_text(token) if token >= 0 else ""
            for token in (model.token_eos(), model.token_bos())
        )
        template = known["tokenizer.chat_template"]
        render: Any = Jinja2ChatFormatter(template, eos_token=end, bos_token=begin)
        begins = [model.token_bos()] if model._model.add_bos_token() else []

        def likelihood(dialogue: Dialogue, reply: str) -> tuple[float, int]:
            prompt = render(messages=dialogue.messages()).prompt.encode()
            asked = model.tokenize(prompt, add_bos=False, special=True)
            if begins and asked[:1] != begins:
                asked = [*begins, *asked]
            said = model.tokenize(reply.encode(), add_bos=False, special=False)
            refuse_long(dialogue, len(asked) + len(said), room)
            model.reset()
            model.eval([*asked, *said])
            return total(model.scores[len(asked) - 1 : len(asked) + len(said) - 1], said)

        yield sha256_of(path), likelihood
    finally:
        model.close()


def spare_cores() -> int:
    """Cores that nobody else is using, at least one.

    Threads of llama.cpp wait for one another at every matrix: where two share a core with other
    work, a reply takes ten times as long as on one thread.
    """
    return max(1, physical_cores() - int(load() or 0))


def metadata_of(path: Path) -> dict[str, str]:
    """What the head of a file states, without a context for it."""
    import llama_cpp
    from llama_cpp._internals import LlamaModel

    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model: Any = LlamaModel(path_model=str(path), params=params, verbose=False)
    try:
        return dict(model.metadata())
    finally:
        model.close()


def refuse_long(dialogue: Dialogue, tokens: int, room: int) -> None:
    if tokens > room:
        raise BadInput(
            f"dialogue {dialogue.id!r} and its reference take {tokens} tokens and the student "
            f"holds {room}; leave it out of --dialogues"
        )


def total(logits_TV: NDArray[np.float32], said: Sequence[int]) -> tuple[float, int]:
    """Log-probability of the tokens that came, and how many."""
    rows = logits_TV.astype(float)
    highest = rows.max(1)
    normal = highest + np.log(np.exp(rows - highest[:, None]).sum(1))
    chosen = rows[np.arange(len(said)), list(said)]
    return float((chosen - normal).sum()), len(said)
