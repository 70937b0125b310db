"""A model behind an OpenAI-compatible URL, named with --model; answers are streamed and timed.

Its digest is that of its URL and model name: what runs behind them cannot be seen.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

from distill.core.chat import Chat, OpenAIChat, RefusedRequest, Reply, Sampling
from distill.core.errors import BadInput
from distill.core.jsonl import digest_text
from distill.core.records import Dialogue
from eval.candidates import Candidate, CandidateOptions

AT_ONCE = 4


@dataclass(frozen=True)
class ChatCandidate:
    """Asks a chat, several dialogues at a time."""

    chat: Chat
    sha256: str
    at_once: int

    def replies(
        self, dialogues: Sequence[Dialogue], sampling: Sampling
    ) -> Iterator[tuple[Dialogue, Reply]]:
        with ThreadPoolExecutor(self.at_once) as pool:
            futures = {pool.submit(self.chat.reply, d.messages(), sampling): d for d in dialogues}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except RefusedRequest as error:
                raise RefusedRequest(f"dialogue {futures[future].id!r}: {error}") from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def opened(name: str, options: CandidateOptions) -> Iterator[Candidate]:
    if not options.model:
        raise BadInput(f"the endpoint {name} needs a model; name it with --model")
    chat = OpenAIChat(
        options.model,
        base_url=name,
        timeout_s=options.timeout_s,
        retries=options.retries,
        stream=True,
    )
    _ = chat.client
    yield ChatCandidate(chat, digest_text(f"{chat.url} {chat.model}"), options.at_once or AT_ONCE)
