"""OpenAI's files, as a stand-in: kept in memory, gone when the server ends.

In: uploads as multipart forms. Out: file objects and their bytes. Refused: a file that is not
there, an upload without a file.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile

from distill.dev.wire import WireError


@dataclass
class OpenAIFiles:
    """The handlers of files."""

    described: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def routes(self, app: APIRouter) -> None:
        app.add_api_route("/v1/files", self.upload, methods=["POST"])
        app.add_api_route("/v1/files", self.list, methods=["GET"])
        app.add_api_route("/v1/files/{name}", self.retrieve, methods=["GET"])
        app.add_api_route("/v1/files/{name}", self.delete, methods=["DELETE"])
        app.add_api_route("/v1/files/{name}/content", self.content, methods=["GET"])

    async def upload(self, request: Request) -> Response:
        async with request.form() as form:
            sent, purpose = form.get("file"), form.get("purpose")
            if not isinstance(sent, UploadFile) or not isinstance(purpose, str):
                raise WireError(400, "an upload has a file and a purpose")
            kept = self.keep(await sent.read(), sent.filename or "upload", purpose)
        return JSONResponse(kept)

    def keep(self, data: bytes, filename: str, purpose: str) -> dict[str, Any]:
        name = f"file-{len(self.described) + 1:06d}"
        self.contents[name] = data
        self.described[name] = {
            "id": name,
            "object": "file",
            "bytes": len(data),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        return self.described[name]

    async def list(self) -> dict[str, Any]:
        return {"object": "list", "data": [*self.described.values()], "has_more": False}

    async def retrieve(self, name: str) -> dict[str, Any]:
        return self.described[self.known(name)]

    async def content(self, name: str) -> Response:
        return Response(self.contents[self.known(name)], media_type="application/octet-stream")

    async def delete(self, name: str) -> dict[str, Any]:
        del self.contents[self.known(name)], self.described[name]
        return {"id": name, "object": "file", "deleted": True}

    def known(self, name: str) -> str:
        if name not in self.described:
            raise WireError(404, f"No such File object: {name}")
        return name
