"""An exported file or ONNX folder, answered by the very server that a device would run.

The runtime is a child process and is spoken to over HTTP; its digest is that of the artifact. Its
guard is off: words of help come from a policy, and what is judged are the student's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.core.chat import OpenAIChat
from distill.core.identity import digest_of
from distill.core.serving import served
from eval.candidates import Candidate, CandidateOptions
from eval.candidates.endpoint import ChatCandidate

AT_ONCE = 1  # a phone answers one person


@contextmanager
def opened(name: str, options: CandidateOptions) -> Iterator[Candidate]:
    path = Path(name)
    digest = digest_of(path)
    with served(path, threads=options.threads, guard=False) as server:
        chat = OpenAIChat(
            server.model,
            base_url=server.url,
            api_key="local",
            timeout_s=options.timeout_s,
            retries=options.retries,
            stream=True,
        )
        yield ChatCandidate(chat, digest, options.at_once or AT_ONCE)
