"""How Ollama is told to run a file: template, stop tokens, parameters.

In: a checkpoint. Out: a Modelfile. The chat template is translated into Go's syntax only where
it is a plain sequence of framed messages; that is tried on conversations and not read from its
text. Where it is more than that, Ollama is left to the template inside the file, and the
Modelfile says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from export.checkpoint import Checkpoint
from export.conversations import Messages, bundled
from export.text_parity import ids, rendered

MOST_CONTEXT = 4096
MARK = "\u2063kindred\u2063"
ROLES = ("system", "user", "assistant")
UNTRANSLATABLE = ("{{", "}}", '"""')


@dataclass(frozen=True)
class Frames:
    """What stands before and after a message of each role, and before a reply."""

    begin: str
    around: dict[str, tuple[str, str]]
    reply: str

    def text(self, messages: Messages) -> str:
        parts = [self.begin]
        for message in messages:
            before, after = self.around[message["role"]]
            parts += [before, message["content"], after]
        return "".join([*parts, self.reply])

    def go(self) -> str:
        """The same as a template of Ollama."""
        cases = [
            f'{{{{ {"if" if n == 0 else "else if"} eq .Role "{role}" }}}}'
            f"{before}{{{{ .Content }}}}{after}"
            for n, (role, (before, after)) in enumerate(self.around.items())
        ]
        each = "{{ range .Messages }}" + "".join(cases) + "{{ end }}{{ end }}"
        return self.begin + each + self.reply


def modelfile(checkpoint: Checkpoint, file: str) -> str:
    """The text of a Modelfile that stands beside `file`."""
    lines = [f"FROM ./{file}"]
    if frames := frames_of(checkpoint):
        lines.append(f'TEMPLATE """{frames.go()}"""')
    else:
        lines.append(
            "# The chat template cannot be said exactly in Ollama's template language, so Ollama\n"
            "# uses what it makes of the one inside the file. Compare a prompt before you rely on "
            "it;\n# llama.cpp and `distill runtime serve` render the template itself."
        )
    for token in checkpoint.end_tokens():
        text = checkpoint.tokenizer.convert_ids_to_tokens(token)
        lines.append(f'PARAMETER stop "{text}"')
    context = min(checkpoint.config.max_position_embeddings, MOST_CONTEXT)
    lines.append(f"PARAMETER num_ctx {context}")
    for key, name in {"repetition_penalty": "repeat_penalty", "temperature": "temperature"}.items():
        value = checkpoint.setting(key)
        if value is not None:
            lines.append(f"PARAMETER {name} {value:g}")
    return "\n".join(lines) + "\n"


def frames_of(checkpoint: Checkpoint) -> Frames | None:
    """The frames of the chat template, or None where it is no plain sequence of messages."""
    frames = guessed(checkpoint)
    if frames is None:
        return None
    plain = {"role": "user", "content": " \n spaces around \n "}
    answer = {"role": "assistant", "content": " so "}
    told = {"role": "system", "content": " be kind "}
    trials: Sequence[Messages] = [[plain], [plain, answer, plain], [told, plain], *bundled()]
    begins = begin_token(checkpoint)
    for messages in trials:
        wanted = rendered(checkpoint, messages, True)
        if wanted is not None and wanted.removeprefix(begins) != frames.text(messages):
            return None
    pieces = [frames.begin, frames.reply, *(p for pair in frames.around.values() for p in pair)]
    return None if any(mark in p for p in pieces for mark in UNTRANSLATABLE) else frames


def guessed(checkpoint: Checkpoint) -> Frames | None:
    """Frames as they show around a mark; whether they hold everywhere is for trials to say."""

    def around(*roles: str, reply: bool = False) -> list[str] | None:
        messages = [{"role": role, "content": MARK} for role in roles]
        text = rendered(checkpoint, messages, reply)
        parts = text.removeprefix(begin_token(checkpoint)).split(MARK) if text else []
        return parts if len(parts) == len(roles) + 1 else None

    one = around("user")
    two, three = around("user", "assistant"), around("user", "assistant", "user")
    asked = around("user", reply=True)
    if one is None or two is None or three is None or asked is None:
        return None
    user_after, reply = one[1], asked[1].removeprefix(one[1])
    assistant = two[1].removeprefix(user_after), two[2]
    user_before = three[2].removeprefix(assistant[1])
    begin = one[0].removesuffix(user_before)
    frames = {"user": (user_before, user_after), "assistant": assistant}
    if told := around("system", "user"):
        frames["system"] = told[0].removeprefix(begin), told[1].removesuffix(user_before)
    return Frames(begin, {role: frames[role] for role in ROLES if role in frames}, reply)


def begin_token(checkpoint: Checkpoint) -> str:
    """The text of the token that Ollama puts before a prompt by itself, or nothing."""
    first = ids(checkpoint, "a", framed=True)[:1]
    bos = checkpoint.tokenizer.bos_token
    return bos if bos and first == [checkpoint.tokenizer.bos_token_id] else ""
