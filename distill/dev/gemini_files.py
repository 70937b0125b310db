"""Gemini's files, as a stand-in: resumable uploads, kept in memory.

In: the start of an upload, then its chunks. Out: file objects and their bytes. Refused: a file
that is not there, a chunk at the wrong place.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from distill.dev.wire import WireError, either, read_object


@dataclass
class GeminiFiles:
    """The handlers of files; `uploads` holds what is under way."""

    described: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, tuple[dict[str, Any], bytearray]] = field(default_factory=dict)

    def routes(self, app: APIRouter) -> None:
        app.add_api_route("/upload/{version}/files", self.upload, methods=["POST"])
        app.add_api_route("/{version}/files", self.list, methods=["GET"])
        app.add_api_route("/{version}/files/{name}", self.retrieve, methods=["GET"])
        app.add_api_route("/{version}/files/{name}", self.delete, methods=["DELETE"])

    async def upload(self, request: Request) -> Response:
        under_way = request.query_params.get("upload_id")
        return await (self.take(request, under_way) if under_way else self.start(request))

    async def start(self, request: Request) -> Response:
        """The first request of an upload tells what comes, and is told where to send it."""
        sent = (await read_object(request)).get("file") or {}
        kind = request.headers.get("x-goog-upload-header-content-type", "")
        described = {"displayName": either(sent, "displayName") or "", "mimeType": kind}
        name = f"upload-{len(self.uploads) + 1}"
        self.uploads[name] = (described, bytearray())
        where = f"{request.url}?upload_id={name}&upload_protocol=resumable"
        headers = {"x-goog-upload-url": where, "x-goog-upload-status": "active"}
        return JSONResponse({}, headers=headers)

    async def take(self, request: Request, under_way: str) -> Response:
        if under_way not in self.uploads:
            raise WireError(404, f"there is no upload {under_way}")
        described, data = self.uploads[under_way]
        if int(request.headers.get("x-goog-upload-offset", "0")) != len(data):
            raise WireError(400, f"the upload stands at {len(data)} bytes")
        data += await request.body()
        if "finalize" not in request.headers.get("x-goog-upload-command", ""):
            return JSONResponse({}, headers={"x-goog-upload-status": "active"})
        kept = self.keep(bytes(data), described, "UPLOADED")
        return JSONResponse({"file": kept}, headers={"x-goog-upload-status": "final"})

    def keep(self, data: bytes, described: dict[str, Any], source: str) -> dict[str, Any]:
        number = f"{len(self.described) + 1:06d}"
        name = f"file-{number}" if source == "UPLOADED" else f"batch-{number}"
        self.contents[name] = data
        self.described[name] = {
            **described,
            "name": f"files/{name}",
            "sizeBytes": str(len(data)),
            "createTime": now(),
            "state": "ACTIVE",
            "source": source,
        }
        return self.described[name]

    async def list(self, version: str) -> dict[str, Any]:
        return {"files": [*self.described.values()]}

    async def retrieve(self, version: str, name: str) -> Response:
        plain, _, call = name.partition(":")
        if call == "download":
            return Response(self.contents[self.known(plain)], media_type="application/octet-stream")
        return JSONResponse(self.described[self.known(plain)])

    async def delete(self, version: str, name: str) -> dict[str, Any]:
        del self.contents[self.known(name)], self.described[name]
        return {}

    def known(self, name: str) -> str:
        if name not in self.described:
            raise WireError(404, f"File files/{name} is not there, or was deleted.")
        return name


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
