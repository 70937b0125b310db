"""OpenAI's batches, as a stand-in.

In: the id of an uploaded file of requests. Out: a batch that passes through its states as it is
looked at, then an output file and an error file. A batch fails as a whole, as the real one does,
for a line that is no request, a custom_id that comes twice, two models, or a limit passed.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from distill.dev.answers import Asked
from distill.dev.batch_rows import Row, counted, results
from distill.dev.openai_chat import OpenAIChats, completion
from distill.dev.openai_files import OpenAIFiles
from distill.dev.wire import WireError, digest_of, parsed, read_object

ENDPOINT = "/v1/chat/completions"
MAX_ROWS = 50_000
MAX_BYTES = 200 * 1024 * 1024
ENDED = ("failed", "completed", "expired", "cancelled")
EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


class Invalid(Exception):
    """Why a batch fails before any of its rows is asked."""

    def __init__(self, code: str, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.data = {"code": code, "message": message, "line": line, "param": None}


@dataclass
class OpenAIBatches:
    """The handlers of batches."""

    chats: OpenAIChats
    files: OpenAIFiles
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)

    def routes(self, app: APIRouter) -> None:
        app.add_api_route("/v1/batches", self.create, methods=["POST"])
        app.add_api_route("/v1/batches", self.list, methods=["GET"])
        app.add_api_route("/v1/batches/{name}", self.retrieve, methods=["GET"])
        app.add_api_route("/v1/batches/{name}/cancel", self.cancel, methods=["POST"])

    async def create(self, request: Request) -> Response:
        self.chats.require_key(request)
        body = await read_object(request)
        if body.get("endpoint") != ENDPOINT or body.get("completion_window") != "24h":
            raise WireError(400, f"this stand-in batches {ENDPOINT} within 24h and nothing else")
        self.files.known(str(body.get("input_file_id")))
        self.chats.service.count("batches")
        batch = fresh(f"batch_{len(self.batches) + 1:06d}", body)
        self.batches[batch["id"]] = batch
        self.looks[batch["id"]] = 0
        if self.chats.service.faults.batch_lost(batch["id"]):
            raise WireError(500, "The answer was lost, and the batch was made (injected).")
        return JSONResponse(batch)

    async def list(self) -> dict[str, Any]:
        return {"object": "list", "data": [*self.batches.values()], "has_more": False}

    async def retrieve(self, name: str) -> dict[str, Any]:
        batch = self.known(name)
        self.looks[name] += 1
        if batch["status"] in ENDED:
            return batch
        if self.looks[name] < self.chats.service.faults.batch_looks:
            batch["status"] = "in_progress"
        else:
            self.finish(batch)
        return batch

    async def cancel(self, name: str) -> dict[str, Any]:
        batch = self.known(name)
        if batch["status"] not in ENDED:
            batch.update(status="cancelled", cancelled_at=now())
        return batch

    def known(self, name: str) -> dict[str, Any]:
        if name not in self.batches:
            raise WireError(404, f"No batch found with id '{name}'.")
        return self.batches[name]

    def finish(self, batch: dict[str, Any]) -> None:
        data = self.files.contents[batch["input_file_id"]]
        try:
            rows = self.rows(data)
            self.refuse_by_chance(data)
        except Invalid as error:
            batch.update(status="failed", failed_at=now())
            batch["errors"] = {"object": "list", "data": [error.data]}
            return
        found = results(self.chats.service, rows)
        expired = counted(found, "expired") > 0
        batch.update(status="expired" if expired else "completed")
        batch["expired_at" if expired else "completed_at"] = now()
        done = counted(found, "done")
        failed = len(rows) - done
        batch["request_counts"] = {"total": len(rows), "completed": done, "failed": failed}
        batch["output_file_id"] = self.written(row for row in found if row.given)
        batch["error_file_id"] = self.written(row for row in found if not row.given)

    def refuse_by_chance(self, data: bytes) -> None:
        service = self.chats.service
        digest = digest_of(data.decode("utf-8", "replace"))
        if service.faults.batch_fails(digest, service.attempt(digest)):
            raise Invalid("token_limit_exceeded", "Enqueued token limit reached (injected).")

    def rows(self, data: bytes) -> Sequence[tuple[str, Asked]]:
        """The requests of a file, as (custom_id, request)."""
        lines = data.splitlines()
        if not lines:
            raise Invalid("empty_file", "The batch file is empty.")
        if len(lines) > MAX_ROWS or len(data) > MAX_BYTES:
            raise Invalid("file_too_large", f"A batch holds {MAX_ROWS} rows and {MAX_BYTES} bytes.")
        found: dict[str, Asked] = {}
        for number, line in enumerate(lines, 1):
            key, asked = self.row(line, number)
            if key in found:
                raise Invalid("duplicate_custom_id", f"The custom_id {key!r} comes twice.", number)
            found[key] = asked
        if len({asked.model for asked in found.values()}) > 1:
            raise Invalid("mismatched_model", "A batch is for one model.")
        return list(found.items())

    def row(self, line: bytes, number: int) -> tuple[str, Asked]:
        try:
            value = parsed(line)
            asked = self.chats.read(value.get("body") or {})
        except WireError as error:
            raise Invalid("invalid_request", error.message, number) from error
        key = value.get("custom_id")
        if (
            not isinstance(key, str)
            or value.get("method") != "POST"
            or value.get("url") != ENDPOINT
        ):
            raise Invalid("invalid_request", "custom_id, method or url is wrong.", number)
        return key, asked

    def written(self, rows: Iterable[Row]) -> str | None:
        """Keep a file of results, when there is any."""
        lines = [json.dumps(line_of(row), ensure_ascii=False) + "\n" for row in rows]
        if not lines:
            return None
        return str(self.files.keep("".join(lines).encode(), "results.jsonl", "batch_output")["id"])


def fresh(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "object": "batch",
        "endpoint": body["endpoint"],
        "input_file_id": body["input_file_id"],
        "completion_window": body["completion_window"],
        "status": "validating",
        "created_at": now(),
        "expires_at": now() + 86_400,
        "errors": None,
        "output_file_id": None,
        "error_file_id": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": body.get("metadata"),
    }


def line_of(row: Row) -> dict[str, Any]:
    """A row's result: a response with a status, or an error in its place."""
    head = {"id": f"batch_req_{row.asked.digest[:16]}", "custom_id": row.key}
    if row.fate == "expired":
        return {**head, "response": None, "error": EXPIRED}
    if row.given:
        status, body = 200, completion(row.asked, row.given)
    else:
        message = {"message": "The server had an error (injected).", "type": "server_error"}
        status, body = 500, {"error": {**message, "param": None, "code": None}}
    response = {"status_code": status, "request_id": row.asked.digest[:16], "body": body}
    return {**head, "response": response, "error": None}


def now() -> int:
    return int(time.time())
