"""`/v1/responses`: OpenAI's newer protocol, without its memory.

In: a request. Out: its conversation, and the shape and events of what comes back. Refused: what
`request.py` refuses, and everything that would need this server to keep a conversation:
`previous_response_id`, `conversation`, `store: true`, `background`.
"""

import secrets
import time
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from runtime.engine import Piece, Reply
from runtime.guard import Checked
from runtime.replies import ApiError, Shape, ascii_json, ours
from runtime.request import Asked, Message, Part, PlainFormat, Schema, whole_characters


def as_items(given: Any) -> Any:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


class Item(Message):
    """One message of the input; other kinds of items belong to tools."""

    type: Literal["message"] = "message"


class SchemaHere(Schema):
    """`text.format`: a schema whose parts lie beside its type."""

    type: Literal["json_schema"]


class TextOptions(Part):
    format: PlainFormat | SchemaHere | None = Field(None, discriminator="type")


class ResponsesRequest(Asked):
    """POST /v1/responses."""

    NEUTRAL: ClassVar[dict[str, tuple[Any, ...]]] = {
        "background": (False,),
        "conversation": (),
        "include": ([],),
        "max_tool_calls": (),
        "parallel_tool_calls": (True, False),
        "previous_response_id": (),
        "prompt": (),
        "reasoning": ({},),
        "store": (False,),
        "stream_options": ({},),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "top_logprobs": (0,),
        "truncation": ("disabled",),
    }

    input: Annotated[list[Item], BeforeValidator(as_items), Field(min_length=1)]
    instructions: Annotated[str, AfterValidator(whole_characters)] | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    text: TextOptions | None = None

    def said(self) -> list[dict[str, str]]:
        first = [{"role": "system", "content": self.instructions}] if self.instructions else []
        return [*first, *(item.plain() for item in self.input)]

    def limit(self) -> int | None:
        return self.max_output_tokens

    def options(self) -> dict[str, Any]:
        form = self.text.format if self.text else None
        bound = {"json_schema": form.schema_} if isinstance(form, SchemaHere) else {}
        return super().options() | bound

    def shape(self, model: str, checked: Checked | None) -> Shape:
        return Response(model, self, checked)


class Response:
    """One response and its events, numbered from 0."""

    def __init__(self, model: str, asked: ResponsesRequest, checked: Checked | None = None) -> None:
        self.before = checked.block if checked else ""
        self._model, self._asked, self._ours = model, asked, ours(checked)
        self._id = f"resp_{secrets.token_hex(12)}"
        self._message_id = f"msg_{secrets.token_hex(12)}"
        self._created = int(time.time())
        form = asked.text.format if asked.text else None
        told = form.model_dump(by_alias=True) if form else {"type": "text"}
        self._format = {"format": told}
        self._number = 0
        self._text = ""

    def whole(self, piece: Piece, reply: Reply, finish: str) -> dict[str, Any]:
        self._text = self.before + piece.text
        return self._ended(reply, finish)

    def opening(self) -> list[bytes]:
        running = self._response("in_progress", [])
        place = {"output_index": 0, "item": self._message("in_progress", [])}
        events = [
            self._event("response.created", response=running),
            self._event("response.in_progress", response=running),
            self._event("response.output_item.added", **place),
            self._event("response.content_part.added", **self._place(), part=spoken("")),
        ]
        return [*events, *([self.piece_event(Piece(self.before))] if self.before else [])]

    def piece_event(self, piece: Piece) -> bytes:
        self._text += piece.text
        name = "response.output_text.delta"
        return self._event(name, **self._place(), delta=piece.text, logprobs=[])

    def closing(self, reply: Reply, finish: str) -> list[bytes]:
        status = STATUS[finish]
        whole = spoken(self._text)
        done = self._message(status, [whole])
        return [
            self._event("response.output_text.done", **self._place(), text=self._text, logprobs=[]),
            self._event("response.content_part.done", **self._place(), part=whole),
            self._event("response.output_item.done", output_index=0, item=done),
            self._event(f"response.{status}", response=self._ended(reply, finish)),
        ]

    def broken(self, error: ApiError) -> list[bytes]:
        code = error.code or "server_error"
        failed = self._response("failed", [])
        failed["error"] = {"code": "server_error", "message": str(error)}
        return [
            self._event("error", code=code, message=str(error), param=error.param),
            self._event("response.failed", response=failed),
        ]

    def _ended(self, reply: Reply, finish: str) -> dict[str, Any]:
        status = STATUS[finish]
        ended = self._response(status, [self._message(status, [spoken(self._text)])])
        if status == "incomplete":
            ended["incomplete_details"] = {"reason": "max_output_tokens"}
        ended["usage"] = {
            "input_tokens": reply.prompt_tokens,
            "input_tokens_details": {"cached_tokens": reply.cached_tokens},
            "output_tokens": reply.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": reply.prompt_tokens + reply.tokens,
        }
        return ended | {"timings": reply.timings()} | self._ours

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": self._asked.instructions,
            "max_output_tokens": self._asked.max_output_tokens,
            "metadata": {},
            "model": self._model,
            "output": output,
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "temperature": self._asked.temperature,
            "text": self._format,
            "tool_choice": "none",
            "tools": [],
            "top_p": self._asked.top_p,
            "truncation": "disabled",
            "usage": None,
        }

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._message_id, "output_index": 0, "content_index": 0}

    def _event(self, name: str, **fields: Any) -> bytes:
        data = ascii_json({"type": name, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


STATUS = {"stop": "completed", "length": "incomplete"}


def spoken(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
