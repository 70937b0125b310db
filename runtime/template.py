"""Prompts: a file's chat template, rendered in a sandbox, as token ids.

In: messages. Out: text, or ids in which control tokens come from the template alone: whoever
types `<|end|>` has typed seven characters. Refused: a template that is missing, too large or does
not compile (Unsupported), and messages that it does not accept (BadInput).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from jinja2 import TemplateError
from jinja2.exceptions import SecurityError

from distill.core.errors import BadInput, Unsupported
from runtime.backends import Backend
from runtime.sandbox import Bounded, Budget, TooMuch, joined

MAX_SOURCE_CHARACTERS = 32 * 1024
MAX_RENDER_S = 0.5
MAX_REASON_CHARACTERS = 200
PRIVATE = 0xF0000  # the first private plane of Unicode
# Whitespace as Unicode has it, which is what tokenizers strip; Python counts four separators too.
SPACES = re.compile(r"[^\S\x1c-\x1f]*")

# What Python's own compiler and operators raise on a template's behalf.
COMPILE_ERRORS = (TemplateError, SyntaxError, RecursionError, MemoryError, ValueError, TooMuch)
RENDER_ERRORS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
PROBES = (
    [{"role": "user", "content": "Hello"}],
    [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Bye"},
    ],
)

Message = Mapping[str, str]


class ChatTemplate:
    """A compiled chat template with the variables that Hugging Face templates expect."""

    def __init__(self, source: str, *, begin: str = "", end: str = "") -> None:
        if len(source) > MAX_SOURCE_CHARACTERS:
            raise Unsupported(
                f"the chat template has {len(source)} characters; at most "
                f"{MAX_SOURCE_CHARACTERS} are accepted"
            )
        environment = Bounded()
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
        self._variables = {"bos_token": begin, "eos_token": end, "tools": None, "documents": None}
        try:
            with Budget(MAX_RENDER_S):  # constants are computed while it compiles
                self._template = environment.from_string(source)
        except COMPILE_ERRORS as error:
            raise Unsupported(f"the chat template does not compile: {reason(error)}") from error

    def render(self, messages: Sequence[Message], *, reply_next: bool = True) -> str:
        """The prompt as text; with `reply_next` it ends where the assistant's reply begins."""
        try:
            with Budget(MAX_RENDER_S):
                return joined(
                    self._template.generate(
                        messages=messages, add_generation_prompt=reply_next, **self._variables
                    )
                )
        except (TooMuch, MemoryError) as error:
            raise BadInput(
                f"the chat template of this file is not usable: {reason(error)}"
            ) from error
        except RENDER_ERRORS as error:
            raise BadInput(
                f"the chat template does not accept these messages: {reason(error)}"
            ) from error

    def probe(self) -> None:
        """Refuse a template that accepts no short conversation at all."""
        refusals = []
        for messages in PROBES:
            try:
                self.render(messages)
            except BadInput as error:
                if isinstance(error.__cause__, TooMuch | MemoryError | SecurityError):
                    raise
                refusals.append(error)
        if len(refusals) == len(PROBES):
            raise refusals[0]


class Prompter:
    """Messages to token ids, for one open file."""

    def __init__(self, template: ChatTemplate, backend: Backend) -> None:
        self.template = template
        self._backend = backend
        texts = sorted(backend.control, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts)) or "(?!)")
        self._beginnings = {text[:n] for text in texts for n in range(1, len(text))}
        self._longest = max(map(len, texts), default=1)

    def encode(self, messages: Sequence[Message] | str, *, reply_next: bool = True) -> list[int]:
        """Token ids of a prompt, with exactly one begin token where the file wants one.

        A text instead of messages is taken as it is, without template and control tokens.
        """
        if isinstance(messages, str):
            if any("\ud800" <= character <= "\udfff" for character in messages):
                raise BadInput("the prompt holds half a surrogate pair: no valid text")
            return self._begun(self._backend.encode(messages) if messages else [])
        stand_ins = StandIns(message["content"] for message in messages)
        shielded = [
            {**message, "content": self._shield(message["content"], stand_ins)}
            for message in messages
        ]
        text = self.template.render(shielded, reply_next=reply_next)
        ids: list[int] = []
        done = 0
        for match in self._control.finditer(text):
            ids += self._plain(text[done : match.start()], stand_ins)
            token = self._backend.control[match.group()]
            ids.append(token)
            done = match.end()
            if token in self._backend.swallowing:
                done = end_of_spaces(text, done)
        ids += self._plain(text[done:], stand_ins)
        return self._begun(ids)

    def _begun(self, ids: list[int]) -> list[int]:
        begin = self._backend.begin
        return ids if begin is None or ids[:1] == [begin] else [begin, *ids]

    def _plain(self, text: str, stand_ins: "StandIns") -> list[int]:
        return self._backend.encode(stand_ins.undo(text)) if text else []

    def _shield(self, content: str, stand_ins: "StandIns") -> str:
        """A content in which nothing reads as a control token, nor as the beginning of one.

        The rest stays as it is, since templates trim and compare contents.
        """
        content = self._control.sub(lambda match: stand_ins.take(match.group()), content)
        body = content.rstrip()
        for length in range(min(self._longest, len(body)), 0, -1):
            if (tail := body[-length:]) in self._beginnings:
                return body[:-length] + stand_ins.take(tail) + content[len(body) :]
        return content


class StandIns:
    """Private characters, absent from the messages, that take a text's place while it renders."""

    def __init__(self, contents: Iterable[str]) -> None:
        taken = {character for text in contents for character in text if ord(character) >= PRIVATE}
        self._free = (c for code in range(PRIVATE, 0x10FFFE) if (c := chr(code)) not in taken)
        self._characters: dict[str, str] = {}
        self._texts: dict[int, str] = {}

    def take(self, text: str) -> str:
        if text not in self._characters:
            character = next(self._free, None)
            if character is None:
                raise BadInput("the messages hold every private character of Unicode")
            self._characters[text] = character
            self._texts[ord(character)] = text
        return self._characters[text]

    def undo(self, text: str) -> str:
        return text.translate(self._texts) if self._texts else text


def end_of_spaces(text: str, start: int) -> int:
    found = SPACES.match(text, start)
    assert found is not None, "no space is a match too"
    return found.end()


def reason(error: BaseException) -> str:
    """What an error says, cut: a template chooses its words."""
    return str(error)[:MAX_REASON_CHARACTERS]


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(str(form)[:64])
