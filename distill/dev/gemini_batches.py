"""Gemini's batches, as a stand-in.

In: requests in the call itself, or the name of an uploaded file with one {key, request} a line.
Out: an operation that passes through its states as it is looked at, then its answers, in the call
or in a file. An expired batch has no results at all, as with the real service.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from distill.dev.answers import Asked
from distill.dev.batch_rows import Row, counted, results
from distill.dev.gemini_chat import GeminiChats, whole
from distill.dev.gemini_files import GeminiFiles, now
from distill.dev.wire import WireError, digest_of, either, parsed, read_object

ENDED = ("BATCH_STATE_SUCCEEDED", "BATCH_STATE_FAILED", "BATCH_STATE_CANCELLED")
CODES = {"failed": (13, "Internal error (injected)."), "expired": (4, "Deadline exceeded.")}


@dataclass
class GeminiBatch:
    """One batch: its operation as shown, its requests, how often it was looked at."""

    operation: dict[str, Any]
    model: str
    rows: Sequence[dict[str, Any]]
    in_file: bool
    looks: int = 0

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self.operation["metadata"]
        return found


@dataclass
class GeminiBatches:
    """The handlers of calls on a model and of batches."""

    chats: GeminiChats
    files: GeminiFiles
    batches: dict[str, GeminiBatch] = field(default_factory=dict)

    def routes(self, app: APIRouter) -> None:
        app.add_api_route("/{version}/models/{call}", self.on_model, methods=["POST"])
        app.add_api_route("/{version}/batches", self.list, methods=["GET"])
        app.add_api_route("/{version}/batches/{name}", self.retrieve, methods=["GET"])
        app.add_api_route("/{version}/batches/{call}", self.cancel, methods=["POST"])

    async def on_model(self, request: Request, version: str, call: str) -> Response:
        model, _, what = call.rpartition(":")
        if what in ("generateContent", "streamGenerateContent"):
            return await self.chats.generate(request, model, what.startswith("stream"))
        if what == "countTokens":
            return await self.chats.count(request, model)
        if what == "batchGenerateContent":
            return await self.create(request, model)
        raise WireError(404, f"this stand-in has no method {what!r}")

    async def create(self, request: Request, model: str) -> Response:
        self.chats.require_key(request)
        self.chats.require_model(model)
        batch = (await read_object(request)).get("batch") or {}
        source = either(batch, "inputConfig") or {}
        file_name = either(source, "fileName")
        rows = self.rows_of(file_name) if file_name else inlined(source)
        if not rows:
            raise WireError(400, "a batch has at least one request")
        name = f"batches/{len(self.batches) + 1:06d}"
        operation = opened(name, model, either(batch, "displayName"))
        self.chats.service.count("batches")
        self.batches[name] = GeminiBatch(operation, model, rows, bool(file_name))
        if self.chats.service.faults.batch_lost(name):
            raise WireError(500, "The answer was lost, and the batch was made (injected).")
        return JSONResponse(operation)

    async def list(self, version: str) -> dict[str, Any]:
        return {"operations": [batch.operation for batch in self.batches.values()]}

    async def retrieve(self, version: str, name: str) -> dict[str, Any]:
        batch = self.known(name)
        batch.looks += 1
        if batch.metadata["state"] not in (*ENDED, "BATCH_STATE_EXPIRED"):
            if batch.looks < self.chats.service.faults.batch_looks:
                batch.metadata["state"] = "BATCH_STATE_RUNNING"
            else:
                self.finish(batch)
        return batch.operation

    async def cancel(self, version: str, call: str) -> dict[str, Any]:
        name, _, what = call.partition(":")
        if what != "cancel":
            raise WireError(404, f"this stand-in has no method {what!r}")
        if self.known(name).metadata["state"] not in ENDED:
            self.known(name).metadata["state"] = "BATCH_STATE_CANCELLED"
        return {}

    def known(self, name: str) -> GeminiBatch:
        if f"batches/{name}" not in self.batches:
            raise WireError(404, f"batches/{name} is not there")
        return self.batches[f"batches/{name}"]

    def rows_of(self, file_name: str) -> Sequence[dict[str, Any]]:
        data = self.files.contents[self.files.known(file_name.removeprefix("files/"))]
        return [parsed(line) for line in data.splitlines()]

    def finish(self, batch: GeminiBatch) -> None:
        service, digest = self.chats.service, digest_of([dict(row) for row in batch.rows])
        attempt = service.attempt(digest)
        batch.metadata["endTime"] = now()
        try:
            asked = [self.row(batch, row, number) for number, row in enumerate(batch.rows, 1)]
            if service.faults.batch_fails(digest, attempt):
                raise WireError(429, "Enqueued tokens are over the limit (injected).")
        except WireError as error:
            batch.metadata["state"] = "BATCH_STATE_FAILED"
            batch.operation.update(done=True, error={"code": 3, "message": error.message})
            return
        if service.faults.batch_expires(digest, attempt):
            batch.metadata["state"] = "BATCH_STATE_EXPIRED"
            return
        self.succeed(batch, results(service, asked))

    def row(self, batch: GeminiBatch, row: dict[str, Any], number: int) -> tuple[str, Asked]:
        key = row.get("key") if batch.in_file else (row.get("metadata") or {}).get("key")
        return str(key or number), self.chats.read(batch.model, row.get("request") or {})

    def succeed(self, batch: GeminiBatch, found: Sequence[Row]) -> None:
        done = counted(found, "done")
        batch.metadata["state"] = "BATCH_STATE_SUCCEEDED"
        batch.metadata["batchStats"] = {
            "requestCount": str(len(batch.rows)),
            "successfulRequestCount": str(done),
            "failedRequestCount": str(len(batch.rows) - done),
        }
        if batch.in_file:
            lines = [json.dumps({"key": row.key, **result(row)}) + "\n" for row in found]
            kept = self.files.keep("".join(lines).encode(), {}, "GENERATED")
            output: dict[str, Any] = {"responsesFile": kept["name"]}
        else:
            inner = [{"metadata": {"key": row.key}, **result(row)} for row in found]
            output = {"inlinedResponses": {"inlinedResponses": inner}}
        batch.metadata["output"] = output
        batch.operation.update(done=True, response=output)


def inlined(source: dict[str, Any]) -> Sequence[dict[str, Any]]:
    rows = (source.get("requests") or {}).get("requests") or []
    return [row for row in rows if isinstance(row, dict)]


def opened(name: str, model: str, title: str | None) -> dict[str, Any]:
    metadata = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "name": name,
        "model": f"models/{model}",
        "displayName": title or name,
        "createTime": now(),
        "state": "BATCH_STATE_PENDING",
    }
    return {"name": name, "metadata": metadata}


def result(row: Row) -> dict[str, Any]:
    """A row's answer, or the error in its place."""
    if row.given:
        return {"response": whole(row.asked, row.given)}
    code, message = CODES[row.fate]
    return {"error": {"code": code, "message": message}}
