"""Serve a stand-in for Gemini on this machine: real wire formats, no model, no cost.

In: what is to go wrong, and how often. Out: one line with the base URL once it answers; then
generateContent, models, files and batches until Ctrl-C; GET /counts tells what was paid.
Refused: rates that are none, a port in use.
"""

from fastapi import APIRouter, Depends, FastAPI

from distill.dev.faults import Faults
from distill.dev.gemini_batches import GeminiBatches
from distill.dev.gemini_chat import GeminiChats
from distill.dev.gemini_files import GeminiFiles
from distill.dev.server import Server
from distill.dev.service import Service
from distill.dev.serving import serving


class FakeGemini(Server):
    """`with FakeGemini(Faults(block=0.1)) as server:` a client of `server.base_url`."""

    def __init__(
        self,
        faults: Faults = Faults(),
        *,
        port: int = 0,
        key: str | None = None,
        models: tuple[str, ...] = (),
    ) -> None:
        service = Service(faults, key, models)
        super().__init__(application(service), service, port)


def application(service: Service) -> FastAPI:
    app = FastAPI(title="stand-in for Gemini", openapi_url=None)
    chats, files = GeminiChats(service), GeminiFiles()
    chats.routes(app)
    for part in (files, GeminiBatches(chats, files)):
        router = APIRouter(dependencies=[Depends(chats.trouble)])
        part.routes(router)
        app.include_router(router)
    return app


run = serving(FakeGemini, "Gemini")
