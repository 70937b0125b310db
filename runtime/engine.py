"""The engine: messages in, pieces of a reply out.

In: an open file. Out: `Reply`, an iterator of `Piece`. Refused: options out of range and messages
of the wrong form (BadInput), and a prompt that does not fit (PromptTooLong): nothing is ever cut.
"""

import json
import secrets
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput, KindredError, Unsupported
from distill.core.machine import physical_cores
from distill.core.naming import artifact_name
from runtime.artifact import check
from runtime.backends import Backend, Sampling
from runtime.engine_batch import Batcher, closed
from runtime.engine_reply import Chance, Choice, Piece, Reply, Task
from runtime.sampling import checked, checked_logprobs
from runtime.template import ChatTemplate, Prompter
from runtime.text import TextFlow, half_pair_in

__all__ = ["Chance", "Choice", "Engine", "Piece", "PromptTooLong", "Reply", "open_engine"]

NO_TEMPLATE = "it carries no chat template; export it again from a checkpoint that has one"
ROLES = ("system", "user", "assistant")
PARALLEL = 4  # replies computed together, by default
SEQUENCES_PER_REPLY = 4  # so that chats between two turns keep what they have in the cache


class PromptTooLong(BadInput):
    """A prompt that leaves no room for a reply."""

    def __init__(self, prompt_tokens: int, context: int) -> None:
        super().__init__(
            f"the messages take {prompt_tokens} tokens and the context holds {context}, reply "
            "included; shorten them, or open the file with a larger context"
        )


def never() -> bool:
    return False


class Engine:
    """One open file that answers several chats at once and remembers what each has evaluated.

    One thread of its own computes all replies together, at most `parallel` of them; others wait
    in the order in which they began. Replies may be read from any thread.

    With a seed, the same prompt gives the same reply again under the same conditions only: another
    batch or another cached beginning changes logits (by up to 0.17 in a 4-bit file), and so draws.
    """

    def __init__(self, name: str, backend: Backend, *, parallel: int | None = None) -> None:
        if not backend.template:
            raise Unsupported(NO_TEMPLATE)
        self.name = name
        self.context = backend.context
        self.backend = backend
        template = ChatTemplate(backend.template, begin=backend.begin_text, end=backend.end_text)
        self._prompter = Prompter(template, backend)
        self.parallel = min(parallel or backend.sequences, backend.sequences)
        self._batcher = Batcher(backend, self.parallel)
        self._close = weakref.finalize(self, self._batcher.close)

    def prompt_ids(
        self, messages: Sequence[Mapping[str, str]] | str, *, reply_next: bool = True
    ) -> list[int]:
        """The token ids of a conversation, or of a text as it is, as the model sees them."""
        plain = messages if isinstance(messages, str) else plain_messages(messages)
        with self._batcher.lock:
            self._require_open()
            return self._prompter.encode(plain, reply_next=reply_next)

    def chat(
        self,
        messages: Sequence[Mapping[str, str]] | str,
        *,
        max_tokens: int | None = 256,
        temperature: float = 0.7,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        repetition_penalty: float | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        logit_bias: Mapping[int, float] | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        logprobs: int | None = None,
        json_schema: str | Mapping[str, Any] | None = None,
        grammar: str | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> Reply:
        """Answer a conversation, or go on with a text; the reply is computed once it is read.

        Without `max_tokens` it may fill the context. The end token is neither text nor counted.
        Without `seed` every reply is drawn anew; without `repetition_penalty` it is what the file
        recommends. With `logprobs` each token comes with its log-probability and those of so many
        likeliest ones. `json_schema` and `grammar` (GBNF) bind the text; a reply that is cut by
        `max_tokens` is only the beginning of such a text. Once `cancelled()` is true no token
        follows.
        """
        prompt = self.prompt_ids(messages)
        sampling = Sampling(
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            seed=secrets.randbits(32) if seed is None else seed,
            repetition_penalty=repetition_penalty or self.backend.repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            logit_bias=dict(logit_bias or {}),
            grammar=grammar,
            json_schema=json.dumps(json_schema)
            if isinstance(json_schema, Mapping)
            else json_schema,
        )
        limit = self._limit(len(prompt), max_tokens)
        flow = TextFlow(stops_of(stop))
        logprobs = checked_logprobs(logprobs)
        with self._batcher.lock:
            self._require_open()
            sampler = self.backend.sampler(checked(sampling, self.backend.vocabulary))
        return Reply(Task(prompt, limit, sampler, flow, cancelled, logprobs), self, self._batcher)

    def counts(self) -> tuple[int, int, int]:
        """Replies that are computed, replies that wait, and tokens in the cache."""
        return self._batcher.counts()

    def _limit(self, prompt_tokens: int, max_tokens: int | None) -> int:
        """How many tokens a reply may have."""
        if max_tokens is not None and max_tokens < 1:
            raise BadInput(f"max_tokens is {max_tokens}; it must be 1 or more")
        if not prompt_tokens:
            raise BadInput("the messages render to an empty prompt")
        room = self.context - prompt_tokens
        if room < 1:
            raise PromptTooLong(prompt_tokens, self.context)
        return room if max_tokens is None else min(max_tokens, room)

    def _require_open(self) -> None:
        if self._batcher.closed:
            raise closed()

    def close(self) -> None:
        """End every reply and free the file's memory; waits for a step in progress."""
        self._close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_engine(
    path: Path,
    *,
    context: int,
    threads: int | None,
    parallel: int = PARALLEL,
    cells: int | None = None,
) -> Engine:
    """Check a file, open it, and be ready to chat."""
    numbers = {"the context": context, "threads": threads, "parallel": parallel, "cells": cells}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise BadInput(f"{name} is {number}; it must be 1 or more")
    check(path)
    threads, sequences = threads or physical_cores(), parallel * SEQUENCES_PER_REPLY
    backend: Backend
    if path.is_dir():
        from runtime.backends.onnx import Onnx

        backend = Onnx(path, context=context, threads=threads, sequences=sequences)
    else:
        from runtime.backends.llama_cpp import LlamaCpp

        backend = LlamaCpp(
            path, context=context, threads=threads, sequences=sequences, cells=cells or context
        )
    try:
        return Engine(artifact_name(path), backend, parallel=parallel)
    except KindredError as error:
        backend.close()
        raise type(error)(f"{path}: {error}") from error


def stops_of(stop: Sequence[str]) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if not all(stops):
        raise BadInput("a stop string is empty; leave it out")
    return stops


def plain_messages(messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The same messages, once each has a known role and a text that can be encoded."""
    if not messages:
        raise BadInput("there are no messages; give at least one")
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise BadInput(f"messages.{number}.role is {role!r}; use one of {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise BadInput(f"messages.{number}.content is no text")
        if half_pair_in(content):
            raise BadInput(f"messages.{number}.content holds half a surrogate pair: no valid text")
    return [{"role": message["role"], "content": message["content"]} for message in messages]
