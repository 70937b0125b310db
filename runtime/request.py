"""What a chat request may say.

In: the bytes of a body. Out: `ChatRequest`. Refused, each as an ApiError that names the
parameter: broken JSON, wrong types and ranges, parameters that we do not know, and known ones
that would change the reply in a way we cannot.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runtime.replies import ApiError

MAX_STOPS = 16
# Parameters of OpenAI's that are accepted as long as they ask for nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
# Parameters that concern OpenAI's bookkeeping, not the reply.
ADMINISTRATIVE = {
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
}


def joined(content: Any) -> Any:
    """Text parts as one text; anything else is left for the validator to refuse."""
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
        for part in content
    ):
        return "".join(part["text"] for part in content)
    return content


def as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class Message(BaseModel):
    """One message; what SDKs add to it (`name`, `refusal`, ...) is not read."""

    model_config = ConfigDict(strict=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(joined)]

    def plain(self) -> dict[str, str]:
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": self.content}


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    include_usage: bool | None = None


Stop = Annotated[str, Field(min_length=1, max_length=256)]


class ChatRequest(BaseModel):
    """The parameters that shape a reply; what is absent is the engine's default."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, lt=2**31)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    seed: int | None = None
    stop: Annotated[list[Stop] | None, BeforeValidator(as_list), Field(max_length=MAX_STOPS)] = None

    def options(self) -> dict[str, Any]:
        """Keyword arguments for `Engine.chat`."""
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        limits = [n for n in (self.max_tokens, self.max_completion_tokens) if n is not None]
        return {**given, "max_tokens": min(limits, default=None)}

    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


def read_request(body: bytes) -> ChatRequest:
    """Parse and validate a body."""
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not valid JSON: {_place(error)}") from error
    if not isinstance(value, dict):
        raise ApiError(400, f"the body is a JSON {type(value).__name__}; send an object")
    _refuse_what_we_cannot(value)
    known = {k: v for k, v in value.items() if k not in NEUTRAL and k not in ADMINISTRATIVE}
    try:
        return ChatRequest.model_validate(known)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(str(place) for place in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ApiError(400, f"unknown parameter: {param}", param, "unknown_parameter") from None
        raise ApiError(400, f"{param}: {first['msg']}", param, "invalid_value") from None


def _refuse_what_we_cannot(value: dict[str, Any]) -> None:
    for name, harmless in NEUTRAL.items():
        asked = value.get(name)
        if asked is not None and asked not in harmless:
            message = f"{name} is not supported here; leave it out"
            raise ApiError(400, message, name, "unsupported_parameter")


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _place(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
