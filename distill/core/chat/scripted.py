"""A double for tests and dry demos: a function, or a fixed sentence, answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from distill.core.chat.seam import Messages, Reply, Sampling
from distill.core.errors import BadInput


@dataclass
class ScriptedChat:
    """A double for tests: a function from messages to text; `asked` keeps what it was asked.

    The function may raise a `KindredError`, as an endpoint would.
    """

    script: Callable[[Messages], str]
    name: str = "scripted"
    finish_reason: str = "stop"
    asked: list[list[dict[str, str]]] = field(default_factory=list)
    provider: str = "scripted"

    @property
    def model(self) -> str:
        return self.name

    def reply(self, messages: Messages, sampling: Sampling) -> Reply:
        self.asked.append([dict(message) for message in messages])
        words = self.script(messages).split(" ")
        kept = words[: sampling.max_tokens]
        return Reply(
            text=" ".join(kept),
            model=self.name,
            finish_reason="length" if len(kept) < len(words) else self.finish_reason,
            tokens=len(kept),
            first_token_s=0.0,
            tokens_per_s=0.0,
        )


def echo(messages: Messages) -> str:
    return "That sounds like a lot to carry, and I am glad you told me. What weighs on you most?"


SCRIPTS: Mapping[str, Callable[[Messages], str]] = {"echo": echo}


def opened(model: str, base_urls: Sequence[str], timeout_s: float, stream: bool) -> ScriptedChat:
    if model not in SCRIPTS:
        raise BadInput(f"there is no script {model!r}; choose one of: {', '.join(SCRIPTS)}")
    return ScriptedChat(SCRIPTS[model], model)
