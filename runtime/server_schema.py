"""`/openapi.json`: what can be asked, from the models that check it.

In: request models by route. Out: an OpenAPI 3.1 document. Nothing is refused.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from runtime.request import Asked

PLACES = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
REFUSED = {
    "description": "Refused, or not possible now.",
    "content": {"application/json": {"schema": {"$ref": PLACES.format(model="Error")}}},
}
READ = {"/v1/models": "The one model.", "/health": "Whether it answers.", "/metrics": "Figures."}


def described(kinds: Mapping[str, type[Asked]], model: str) -> Callable[[], dict[str, Any]]:
    """A function that gives the document."""

    @cache
    def document() -> dict[str, Any]:
        names, schemas = models_json_schema(
            [(kind, "validation") for kind in kinds.values()], ref_template=PLACES
        )
        known = schemas["$defs"]
        for kind in kinds.values():
            known[kind.__name__]["properties"]["model"] = {"const": model}
        paths = {path: {"get": operation(says, path)} for path, says in READ.items()}
        for path, kind in kinds.items():
            found = names[kind, "validation"]
            body = {"required": True, "content": {"application/json": {"schema": found}}}
            paths[path] = {"post": operation(kind.__doc__ or "", path) | {"requestBody": body}}
        return {
            "openapi": "3.1.0",
            "info": {"title": "Kindred", "version": version("kindred-slm")},
            "paths": paths,
            "components": {"schemas": known | {"Error": ERROR}},
        }

    return document


def operation(says: str, path: str) -> dict[str, Any]:
    kind = "text/plain" if path == "/metrics" else "application/json"
    content: dict[str, Any] = {kind: {}}
    if path in ("/v1/chat/completions", "/v1/completions", "/v1/responses"):
        content["text/event-stream"] = {}
    return {
        "summary": says.split("\n")[0],
        "responses": {
            "200": {"description": "Done.", "content": content},
            "4XX": REFUSED,
            "503": REFUSED,
        },
    }
