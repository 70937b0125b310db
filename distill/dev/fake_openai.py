"""Serve a stand-in for OpenAI on this machine: real wire formats, no model, no cost.

In: what is to go wrong, and how often. Out: one line with the base URL once it answers; then
chat completions, models, files and batches until Ctrl-C; GET /counts tells what was paid.
Refused: rates that are none, a port in use.
"""

from fastapi import APIRouter, Depends, FastAPI

from distill.dev.faults import Faults
from distill.dev.openai_batches import OpenAIBatches
from distill.dev.openai_chat import OpenAIChats
from distill.dev.openai_files import OpenAIFiles
from distill.dev.server import Server
from distill.dev.service import Service
from distill.dev.serving import serving


class FakeOpenAI(Server):
    """`with FakeOpenAI(Faults(fail_429=0.1)) as server:` a client of `server.base_url`."""

    path = "/v1"

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
    app = FastAPI(title="stand-in for OpenAI", openapi_url=None)
    chats, files = OpenAIChats(service), OpenAIFiles()
    chats.routes(app)
    for part in (files, OpenAIBatches(chats, files)):
        router = APIRouter(dependencies=[Depends(chats.trouble)])
        part.routes(router)
        app.include_router(router)
    return app


run = serving(FakeOpenAI, "OpenAI")
