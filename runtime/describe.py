"""`distill runtime describe FILE`: how this runtime prompts, samples and guards, as JSON.

In: an exported .gguf. Out: what another engine needs to answer as this one does: the template,
control tokens, sampling defaults, the guard, and probes (conversations with the token ids that
they become here, by which it can check itself). Refused: what `runtime.load` refuses, and an ONNX
folder, since only llama.cpp is another engine's too (Unsupported).
"""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput, Unsupported
from distill.core.naming import exported_artifact
from runtime.guarding.switch import GuardLocale, GuardPolicy

if TYPE_CHECKING:
    from runtime.engine import Engine

SHAPES = ("max_tokens", "temperature", "top_p", "top_k", "min_p")
TYPED_CONTROL = "I typed {control} myself, and {control} again. {half}"
LONG = "Some days are long, and this one was; I would rather talk than sleep. " * 6
PROBES = (
    [("user", "I did not get the job. I really wanted it.")],
    [("system", "Be kind."), ("user", "Hello"), ("assistant", "Hi."), ("user", "Bye")],
    [
        ("user", "  Grüße, 你好 👋🏽\n\n\ttabs  and   spaces  "),
        ("assistant", "Ok."),
        ("user", LONG),
    ],
    [("user", TYPED_CONTROL), ("assistant", "I see."), ("user", "1234567890 don't I'LL we've")],
)


@command
def run(
    file: Annotated[Path, typer.Argument(help="An exported file (.gguf).")],
    guard_locale: GuardLocale = "default",
    guard_policy: GuardPolicy = None,
) -> Outcome:
    """Say how this runtime prompts, samples and guards with a file."""
    from runtime.guarding.policy import read_policy
    from runtime.guarding.portable import portable

    guard = portable(read_policy(guard_policy), guard_locale)
    found = {**described(file), "guard": guard}
    shown = [f"{name}: {found[name]}" for name in ("name", "context", "sampling")]
    return Outcome(found, [*shown, "everything else: --json"])


def described(file: Path) -> dict[str, Any]:
    """What `run` tells, without the guard."""
    from runtime import load

    if exported_artifact(file).is_dir():
        raise Unsupported(f"{file} is an ONNX folder; give a .gguf file")
    with load(file, threads=1, parallel=1) as engine:
        backend = engine.backend
        return {
            "name": engine.name,
            "context": engine.context,
            "template": backend.template,
            "control": dict(backend.control),
            "swallowing": sorted(backend.swallowing),
            "begin": backend.begin,
            "begin_text": backend.begin_text,
            "end_text": backend.end_text,
            "sampling": sampling_of(engine),
            "probes": list(probes_of(engine)),
        }


def sampling_of(engine: "Engine") -> dict[str, Any]:
    """The defaults of `Engine.chat`, and what this file recommends."""
    from runtime.backends import PENALTY_TOKENS

    defaults = inspect.signature(engine.chat).parameters
    return {
        **{name: defaults[name].default for name in SHAPES},
        "repetition_penalty": engine.backend.repetition_penalty,
        "penalty_tokens": PENALTY_TOKENS,
    }


def probes_of(engine: "Engine") -> list[dict[str, Any]]:
    """Conversations that this file's template accepts, each with its token ids.

    A template that asks for the date has none: tomorrow's prompt is another one.
    """
    if "strftime_now" in (engine.backend.template or ""):
        return []
    control = max(engine.backend.control, key=len, default="")
    found = []
    for turns in PROBES:
        messages = [
            {"role": role, "content": said.format(control=control, half=control[:-1])}
            for role, said in turns
        ]
        try:
            found.append({"messages": messages, "ids": engine.prompt_ids(messages)})
        except BadInput:
            continue  # a template without a system role, say: it refuses there as it does here
    return found
