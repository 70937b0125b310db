"""`/v1/completions`: a text that the model continues, without a chat template.

In: a request. Out: its prompt, and the shape of what comes back. Refused: what `request.py`
refuses, several prompts at once, and prompts of token ids.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from runtime.engine import Choice
from runtime.guard import Checked, Guard
from runtime.replies import Shape, Spoken, text_of
from runtime.request import Asked, StreamOptions, wants_usage, whole_characters


def only_one(prompt: Any) -> Any:
    """The one text of a list of one; anything else is left for the validator to refuse."""
    return prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt


class CompletionRequest(Asked):
    """POST /v1/completions."""

    NEUTRAL: ClassVar[dict[str, tuple[Any, ...]]] = {
        "best_of": (1,),
        "echo": (False,),
        "n": (1,),
        "suffix": ("",),
    }

    prompt: Annotated[
        str, BeforeValidator(only_one), AfterValidator(whole_characters), Field(min_length=1)
    ]
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(16, ge=1)
    logprobs: int | None = Field(None, ge=0, le=5)

    def said(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.prompt}]

    def limit(self) -> int | None:
        return self.max_tokens

    def prompted(self, guard: Guard | None) -> str:
        return self.prompt

    def options(self) -> dict[str, Any]:
        asked = super().options()
        return asked if self.logprobs is None else asked | {"logprobs": self.logprobs}

    def shape(self, model: str, checked: Checked | None) -> Shape:
        return TextCompletion(model, wants_usage(self.stream_options), checked)


class TextCompletion(Spoken):
    """The parts of one text completion."""

    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"
    _offset = 0

    def whole_choice(self, text: str, finish: str) -> dict[str, Any]:
        return self.chunk_choice(text, finish)

    def chunk_choice(self, text: str | None, finish: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text or "", "logprobs": None, "finish_reason": finish}

    def logprobs(self, choices: Sequence[Choice]) -> dict[str, Any]:
        tokens = [text_of(each.chosen) for each in choices]
        offsets = [self._offset + sum(map(len, tokens[:n])) for n in range(len(tokens))]
        self._offset += sum(map(len, tokens))
        return {
            "tokens": tokens,
            "token_logprobs": [each.chosen.logprob for each in choices],
            "top_logprobs": [{text_of(c): c.logprob for c in each.likeliest} for each in choices],
            "text_offset": offsets,
        }
