"""OpenAI's batch API: a file of requests up, a file of answers and one of errors down.

In: rows with a `custom_id`. Out: a reply or a reason for every row that came back; rows are in any
order, and may be in neither file. A batch is created without retries: one that was made by a
request whose answer was lost is found by its mark.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.core.batches.seam import Look, Result, State
from distill.core.chat.openai import OpenAIChat
from distill.core.chat.seam import Messages, Reply, Sampling
from distill.core.errors import BadInput
from distill.core.jsonl import numbered_lines, replacing
from distill.core.progress import say

ENDPOINT = "/v1/chat/completions"
WINDOW = "24h"
MARKED = "kindred"
STATES: Mapping[str, State] = {
    "completed": "done",
    "expired": "expired",
    "failed": "failed",
    "cancelled": "cancelled",
}
FILES = ("output_file_id", "error_file_id")


@dataclass(frozen=True)
class OpenAIBatches:
    """The batches of one model at one address."""

    chat: OpenAIChat
    provider: str = "openai"

    @property
    def model(self) -> str:
        return self.chat.model

    @property
    def url(self) -> str:
        return self.chat.url

    def row(self, key: str, messages: Messages, sampling: Sampling) -> dict[str, Any]:
        body = self.chat.request(messages, sampling)
        return {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body}

    def send(self, requests: Path, mark: str) -> str:
        with self.plain_errors():
            file = self.chat.client.files.create(file=requests, purpose="batch")
            batch = self.chat.client.with_options(max_retries=0).batches.create(
                input_file_id=file.id,
                endpoint=ENDPOINT,
                completion_window=WINDOW,
                metadata={MARKED: mark},
            )
        return str(batch.id)

    def find(self, mark: str) -> str | None:
        with self.plain_errors():
            for batch in self.chat.client.batches.list(limit=100):
                if (batch.metadata or {}).get(MARKED) == mark:
                    return str(batch.id)
        return None

    def look(self, id: str) -> Look:
        with self.plain_errors():
            batch = self.chat.client.batches.retrieve(id)
        counts = batch.request_counts
        told = (
            f"{counts.completed} of {counts.total} done, {counts.failed} failed" if counts else ""
        )
        why = [
            f"line {e.line}: {e.message}" if e.line else str(e.message) for e in errors_of(batch)
        ]
        return Look(STATES.get(batch.status, "waiting"), "; ".join(why[:3]) or told)

    def results(self, id: str, folder: Path) -> Iterator[Result]:
        with self.plain_errors():
            batch = self.chat.client.batches.retrieve(id)
            wanted = [(name, getattr(batch, name)) for name in FILES if getattr(batch, name)]
            paths = [self.fetched(file, folder / f"{name[:-8]}.jsonl") for name, file in wanted]
        for path in paths:
            for number, line in numbered_lines(path):
                if result := self.read(line):
                    yield result
                else:
                    say(f"{path}:{number} is no result of a batch; its call counts as missing")

    def fetched(self, file: str, path: Path) -> Path:
        with (
            replacing(path) as temporary,
            self.chat.client.files.with_streaming_response.content(file) as content,
        ):
            content.stream_to_file(temporary)
        return path

    def read(self, line: Any) -> Result | None:
        """A row of either file; None when it does not say whose it is."""
        if not isinstance(line, dict) or not isinstance(key := line.get("custom_id"), str):
            return None
        answer = line.get("response") or {}
        body = answer.get("body") or {}
        if answer.get("status_code") == 200:
            return self.answered(key, body)
        error = body.get("error") or line.get("error")
        error = error if isinstance(error, dict) else {"message": error}
        if error.get("code") == "content_filter":
            return Result(key, Reply("", self.model, "content_filter", 0, 0.0, 0.0), None)
        status = f"HTTP {answer['status_code']}: " if answer.get("status_code") else ""
        return Result(key, None, f"{status}{error.get('message') or json.dumps(line)[:200]}")

    def answered(self, key: str, body: Mapping[str, Any]) -> Result:
        from openai.types.chat import ChatCompletion

        try:
            reply = self.chat.read(ChatCompletion.model_validate(body), 0.0)
        except (ValueError, OSError) as error:
            return Result(key, None, " ".join(f"an answer that cannot be read: {error}".split()))
        return Result(key, replace(reply, tokens_per_s=0.0), None)

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """As for a chat; what is not found here is a batch or a file, and no model."""
        import openai

        with self.chat.plain_errors(self.url):
            try:
                yield
            except openai.NotFoundError as error:
                raise BadInput(
                    f"{self.url} has no such batch or file, or no batches at all: {error.message}"
                ) from error


def errors_of(batch: Any) -> list[Any]:
    return (batch.errors.data if batch.errors else None) or []


def opened(model: str, url: str | None, timeout_s: float) -> OpenAIBatches:
    return OpenAIBatches(OpenAIChat(model, base_url=url, timeout_s=timeout_s))
