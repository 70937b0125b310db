"""A chat model as a judge, behind any OpenAI-compatible endpoint.

In: two replies under the rubric. Out: the verdict on the last line of the answer. The line must
carry a code that neither reply can know, so nothing that a reply says can be read as a verdict;
whatever is not exactly one such line, at the end of a finished answer, is unreadable.
"""

import re
from importlib import resources

from distill.core.chat import Chat, Messages, OpenAIChat, Reply, Sampling
from distill.core.errors import BadInput
from distill.core.jsonl import digest_text
from distill.core.records import Side
from eval.judges import JudgeOptions, Opinion

RUBRIC = "empathy"
SIDES: dict[str, Side] = {"first": "first", "second": "second", "tie": "tie"}
CODE_LENGTH = 8


class ChatJudge:
    """Asks a chat model under a rubric."""

    parallel = True
    agreement_note = "agreement of this judge with people was not measured here"

    def __init__(self, chat: Chat, sampling: Sampling, rubric: str = RUBRIC) -> None:
        self.chat, self.sampling, self.rubric = chat, sampling, rubric
        self.name = chat.name
        self.text = read_rubric(rubric)
        self.rubric_digest = digest_text(self.text)

    def compare(self, turns: Messages, first: str, second: str) -> Opinion:
        material = "\n".join([*(turn["content"] for turn in turns), first, second])
        code = digest_text(self.rubric_digest + material)[:CODE_LENGTH]
        prompt = f"{self.text}\n{shown(code, turns, first, second)}"
        reply = self.chat.reply([{"role": "user", "content": prompt}], self.sampling)
        return Opinion(read_verdict(reply, code), reply.text, reply.model)


def read_rubric(name: str) -> str:
    return resources.files("eval").joinpath("rubrics", f"{name}.md").read_text("utf-8")


def shown(code: str, turns: Messages, first: str, second: str) -> str:
    """The material, in tags that carry the code, so that no reply can close its own."""
    talk = "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
    parts = {"conversation": talk, "first": first, "second": second}
    fenced = [f"<{tag}-{code}>\n{text}\n</{tag}-{code}>" for tag, text in parts.items()]
    return "\n\n".join([f"CODE: {code}", *fenced, f"Your last line begins: Verdict {code}:"])


def read_verdict(reply: Reply, code: str) -> Side:
    """The side that the last line names, or `unreadable`."""
    lines = [line.strip() for line in reply.text.splitlines() if line.strip()]
    pattern = re.compile(rf"\**Verdict {code}: (first|second|tie)\.?\**")
    found = [pattern.fullmatch(line) for line in lines]
    matches = [match for match in found if match]
    if reply.finish_reason != "stop" or len(matches) != 1 or not found[-1]:
        return "unreadable"
    return SIDES[matches[0].group(1)]


def open_judge(options: JudgeOptions) -> ChatJudge:
    if not options.model:
        raise BadInput("the judge openai needs a model; name it with --model")
    chat = OpenAIChat(
        options.model,
        base_url=options.base_url,
        timeout_s=options.timeout_s,
        retries=options.retries,
    )
    _ = chat.client  # a missing key is found before the first call, not in a thread
    return ChatJudge(chat, Sampling(options.max_tokens, options.temperature))
