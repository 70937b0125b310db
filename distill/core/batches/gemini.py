"""Gemini's batch API: a file of keyed requests up, a file of keyed answers down.

In: rows with a `key`. Out: a reply or a reason for every row that came back, in any order. A batch
that expired, failed or was cancelled has no answers. A batch is created without retries: one that
was made by a request whose answer was lost is found by its mark.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from distill.core.batches.seam import Look, Result, State
from distill.core.chat.gemini import GeminiChat
from distill.core.chat.retrying import with_retries
from distill.core.chat.seam import Messages, Sampling
from distill.core.errors import BadInput
from distill.core.jsonl import numbered_lines, replacing
from distill.core.progress import say

Answer = TypeVar("Answer")
STATES: Mapping[str, State] = {
    "JOB_STATE_SUCCEEDED": "done",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "done",
    "JOB_STATE_EXPIRED": "expired",
    "JOB_STATE_FAILED": "failed",
    "JOB_STATE_CANCELLED": "cancelled",
}
CONFIG = {"max_output_tokens": "maxOutputTokens", "temperature": "temperature", "seed": "seed"}
OUTPUT = "output.jsonl"
# What a reply is read from; the client refuses answers with a field that it does not know yet.
KNOWN: Mapping[str, Any] = {
    "candidates": {
        "index": {},
        "finishReason": {},
        "content": {"role": {}, "parts": {"text": {}, "thought": {}}},
    },
    "promptFeedback": {"blockReason": {}},
    "usageMetadata": {
        "promptTokenCount": {},
        "candidatesTokenCount": {},
        "thoughtsTokenCount": {},
        "totalTokenCount": {},
    },
    "modelVersion": {},
}


@dataclass(frozen=True)
class GeminiBatches:
    """The batches of one model at one address."""

    chat: GeminiChat
    provider: str = "gemini"

    @property
    def model(self) -> str:
        return self.chat.model

    @property
    def url(self) -> str:
        return self.chat.urls[0]

    def row(self, key: str, messages: Messages, sampling: Sampling) -> dict[str, Any]:
        asked = self.chat.request(messages, sampling)
        config, system = asked["config"], asked["config"].get("system_instruction")
        request: dict[str, Any] = {"contents": asked["contents"]}
        if system:
            request["systemInstruction"] = {"parts": [{"text": system}]}
        request["generationConfig"] = {CONFIG[n]: v for n, v in config.items() if n in CONFIG}
        return {"key": key, "request": request}

    def send(self, requests: Path, mark: str) -> str:
        titled = {"display_name": mark}
        upload = {**titled, "mime_type": "jsonl"}
        files, batches = self.chat.client.files, self.chat.client.batches
        file = self.patient(lambda: files.upload(file=str(requests), config=upload))
        batch = self.once(
            lambda: batches.create(model=self.model, src=file.name, config=titled), retries=0
        )
        return str(batch.name)

    def find(self, mark: str) -> str | None:
        every = self.patient(lambda: list(self.chat.client.batches.list()))
        return next((str(batch.name) for batch in every if batch.display_name == mark), None)

    def look(self, id: str) -> Look:
        batch = self.patient(lambda: self.chat.client.batches.get(name=id))
        named = batch.state.name if batch.state else ""
        why = (batch.error.message if batch.error else None) or named
        return Look(STATES.get(named, "waiting"), why.removeprefix("JOB_STATE_").lower())

    def results(self, id: str, folder: Path) -> Iterator[Result]:
        batch = self.patient(lambda: self.chat.client.batches.get(name=id))
        name = batch.dest.file_name if batch.dest else None
        if not name:
            return
        path = folder / OUTPUT
        with replacing(path) as temporary:
            self.patient(lambda: self.chat.client.files.download(file=name, destination=temporary))
        for number, line in numbered_lines(path):
            if result := self.read(line):
                yield result
            else:
                say(f"{path}:{number} is no result of a batch; its call counts as missing")

    def read(self, line: Any) -> Result | None:
        """A row of the answers; None when it does not say whose it is."""
        if not isinstance(line, dict) or not isinstance(key := line.get("key"), str):
            return None
        if not isinstance(line.get("response"), dict):
            error = line.get("error") or {}
            return Result(key, None, f"error {error.get('code')}: {error.get('message')}")
        from google.genai.types import GenerateContentResponse

        try:
            answer = GenerateContentResponse.model_validate(only(line["response"], KNOWN))
            reply = self.chat.read([answer], 0.0)
        except ValueError as error:
            return Result(key, None, " ".join(f"an answer that cannot be read: {error}".split()))
        return Result(key, replace(reply, tokens_per_s=0.0), None)

    def patient(self, call: Callable[[], Answer]) -> Answer:
        return self.once(call, self.chat.retries)

    def once(self, call: Callable[[], Answer], retries: int) -> Answer:
        """As for a chat; what is not found here is a batch or a file, and no model."""
        from google.genai import errors

        def plainly() -> Answer:
            try:
                with self.chat.plain_errors(self.url):
                    return call()
            except BadInput as error:
                cause = error.__cause__
                if not isinstance(cause, errors.APIError) or cause.code != 404:
                    raise
                raise BadInput(f"{self.url} has no such batch or file: {cause.message}") from error

        return with_retries(plainly, retries, self.chat.sleep)


def only(value: Any, known: Mapping[str, Any]) -> Any:
    """A JSON value without the fields that are not known; an empty form keeps the value whole."""
    if isinstance(value, list):
        return [only(item, known) for item in value]
    if isinstance(value, dict) and known:
        return {name: only(value[name], known[name]) for name in known if name in value}
    return value


def opened(model: str, url: str | None, timeout_s: float) -> GeminiBatches:
    return GeminiBatches(GeminiChat(model, timeout_s=timeout_s, base_urls=(url,) if url else ()))
