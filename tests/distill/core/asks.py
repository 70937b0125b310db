"""Questions, replies and a chat that waits until a test lets it go."""

import threading
from collections.abc import Callable

from distill.core.asking import Ask
from distill.core.chat import Messages, Reply, Sampling, ScriptedChat

LIMIT = Sampling(max_tokens=20)
ROOM = Sampling(max_tokens=200)


def ask(text: str, id: str | None = None, sampling: Sampling = LIMIT) -> Ask:
    messages = [{"role": "user", "content": text}]
    return Ask(id or text, messages, sampling, prompt="direct", prompt_digest="d1")


def asks(count: int, sampling: Sampling = LIMIT) -> list[Ask]:
    return [ask(f"question {number}", sampling=sampling) for number in range(count)]


def reply(text: str = "I hear you.", finish_reason: str = "stop", tokens: int = 4) -> Reply:
    return Reply(text, "m-1", finish_reason, tokens, 0.0, 0.0, prompt_tokens=10)


class GatedChat(ScriptedChat):
    """Holds every call until `gate` is set, and knows how many were inside at once."""

    def __init__(self, script: Callable[[Messages], str] = lambda messages: "yes") -> None:
        super().__init__(script)
        self.gate, self.lock = threading.Event(), threading.Lock()
        self.entered = threading.Semaphore(0)
        self.inside = self.most_inside = 0

    def reply(self, messages: Messages, sampling: Sampling) -> Reply:
        with self.lock:
            self.inside += 1
            self.most_inside = max(self.inside, self.most_inside)
        self.entered.release()
        assert self.gate.wait(30)
        with self.lock:
            self.inside -= 1
        return super().reply(messages, sampling)
