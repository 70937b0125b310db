"""What a request may say.

In: the bytes of a body, and the kind of request they should be. Out: that request. Refused, each as
an ApiError that names the parameter: broken JSON, wrong types and ranges, parameters that we do
not know, and known ones that would change the reply in a way we cannot.
"""

import json
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runtime.guard import Checked, Guard
from runtime.replies import ApiError, Completion, Shape
from runtime.sampling import REPETITION_PENALTIES
from runtime.text import half_pair_in

MAX_STOPS = 16
MAX_BIASES = 1024
MAX_SHOWN = 64  # characters of a parameter's name in a refusal
SHAPING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
)
# Parameters that concern OpenAI's bookkeeping, not the reply.
ADMINISTRATIVE = {
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "user",
}


def joined(content: Any) -> Any:
    """Text parts as one text; anything else is left for the validator to refuse."""
    if isinstance(content, list) and all(
        isinstance(part, dict)
        and part.get("type") in ("text", "input_text", "output_text")
        and isinstance(part.get("text"), str)
        for part in content
    ):
        return "".join(part["text"] for part in content)
    return content


def whole_characters(text: str) -> str:
    if half_pair_in(text):
        raise ValueError("it holds half a surrogate pair: no valid text")
    return text


def as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class Part(BaseModel):
    """A part of a request; what SDKs add to it (`name`, `refusal`, ...) is not read."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Message(Part):
    """One message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(joined), AfterValidator(whole_characters)]

    def plain(self) -> dict[str, str]:
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": self.content}


class StreamOptions(Part):
    include_usage: bool | None = None


class Schema(Part):
    """A JSON schema that the reply must follow."""

    name: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")


class PlainFormat(Part):
    type: Literal["text"]


class ObjectFormat(Part):
    type: Literal["json_object"]


class SchemaFormat(Part):
    type: Literal["json_schema"]
    json_schema: Schema


TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
Stop = Annotated[str, Field(min_length=1, max_length=256)]
Stops = Annotated[list[Stop], Field(max_length=MAX_STOPS)]


class Asked(BaseModel):
    """The parameters that every kind of request has; what is absent is the engine's default."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    # Parameters of OpenAI's that are accepted as long as they ask for nothing.
    NEUTRAL: ClassVar[dict[str, tuple[Any, ...]]] = {}

    model: str
    stream: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, lt=2**31)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(
        None, ge=REPETITION_PENALTIES[0], le=REPETITION_PENALTIES[1]
    )
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=MAX_BIASES)] | None = None
    seed: int | None = None
    stop: Annotated[Stops | None, BeforeValidator(as_list)] = None

    def said(self) -> list[dict[str, str]]:
        """The conversation, as the guard reads it."""
        raise NotImplementedError

    def limit(self) -> int | None:
        """The most tokens that the reply may have."""
        raise NotImplementedError

    def shape(self, model: str, checked: Checked | None) -> Shape:
        """How the reply is spelled."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Keyword arguments for `Engine.chat`."""
        given = {name: value for name in SHAPING if (value := getattr(self, name)) is not None}
        if self.logit_bias:
            given["logit_bias"] = {int(token): bias for token, bias in self.logit_bias.items()}
        return given

    def prompted(self, guard: Guard | None) -> "str | list[dict[str, str]]":
        """What the model reads: the conversation without the guard's own blocks."""
        return guard.without_blocks(self.said()) if guard else self.said()


class ChatRequest(Asked):
    """POST /v1/chat/completions."""

    NEUTRAL: ClassVar[dict[str, tuple[Any, ...]]] = {
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "modalities": (["text"],),
        "n": (1,),
        "parallel_tool_calls": (True, False),
        "prediction": (),
        "reasoning_effort": (),
        "store": (True, False),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "verbosity": (),
        "web_search_options": (),
    }

    messages: list[Message] = Field(min_length=1)
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: PlainFormat | ObjectFormat | SchemaFormat | None = Field(
        None, discriminator="type"
    )

    def said(self) -> list[dict[str, str]]:
        return [message.plain() for message in self.messages]

    def limit(self) -> int | None:
        given = [n for n in (self.max_tokens, self.max_completion_tokens) if n is not None]
        return min(given, default=None)

    def options(self) -> dict[str, Any]:
        asked = super().options()
        if self.logprobs:
            asked["logprobs"] = self.top_logprobs or 0
        if isinstance(self.response_format, ObjectFormat):
            asked["json_schema"] = {"type": "object"}
        elif isinstance(self.response_format, SchemaFormat):
            asked["json_schema"] = self.response_format.json_schema.schema_
        return asked

    def shape(self, model: str, checked: Checked | None) -> Shape:
        return Completion(model, wants_usage(self.stream_options), checked)


def wants_usage(options: StreamOptions | None) -> bool:
    return bool(options and options.include_usage)


Kind = TypeVar("Kind", bound=Asked)


def read_request(body: bytes, kind: type[Kind]) -> Kind:
    """Parse and validate a body."""
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not valid JSON: {_place(error)}") from error
    if not isinstance(value, dict):
        raise ApiError(400, f"the body is a JSON {type(value).__name__}; send an object")
    _refuse_what_we_cannot(value, kind)
    known = {k: v for k, v in value.items() if k not in kind.NEUTRAL and k not in ADMINISTRATIVE}
    try:
        return kind.model_validate(known)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(str(place)[:MAX_SHOWN] for place in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ApiError(400, f"unknown parameter: {param}", param, "unknown_parameter") from None
        raise ApiError(400, f"{param}: {first['msg']}", param, "invalid_value") from None


def _refuse_what_we_cannot(value: dict[str, Any], kind: type[Asked]) -> None:
    for name, harmless in kind.NEUTRAL.items():
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
