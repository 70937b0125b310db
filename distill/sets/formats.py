"""The files of a composed set, in the format of the trainer that will read them.

In: `Composed` by split. Out: contents by file name: a list of rows is a file of JSON lines or,
where the name ends in `.json`, one JSON list; anything else is one JSON value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.core.records import Dialogue, Preference, Split
from distill.sets.composed import Composed

Row = dict[str, Any]
Files = dict[str, Any]
Parts = Mapping[Split, Composed]
SETS = ("sft", "sft_valid", "preferences", "preferences_valid")
SHAREGPT_ROLES = {"user": "human", "assistant": "gpt"}


@dataclass(frozen=True)
class Format:
    """How a format writes the sets, and every name that it may write."""

    files: Callable[[Parts], Files]
    names: tuple[str, ...]
    help: str


def ending(split: Split) -> str:
    return "" if split == "train" else f"_{split}"


def trl(parts: Parts) -> Files:
    """TRL's conversational format: `messages`; `prompt`, `chosen`, `rejected`."""
    files: Files = {}
    for split, part in parts.items():
        files[f"sft{ending(split)}.jsonl"] = [
            {"messages": [*dialogue.messages(), assistant(response.text)]}
            for dialogue, response in part.targets
        ]
        files[f"preferences{ending(split)}.jsonl"] = [trl_pair(p) for p in part.preferences]
    return files


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def trl_pair(preference: Preference) -> Row:
    return {
        "prompt": preference.dialogue.messages(),
        "chosen": [assistant(preference.chosen)],
        "rejected": [assistant(preference.rejected)],
    }


def llamafactory(parts: Parts) -> Files:
    """LLaMA-Factory's ShareGPT form with `dataset_info.json`; empty sets are left out.

    Train with `mask_history: true` there, or earlier turns of the assistant are learnt too.
    """
    files: Files = {}
    for split, part in parts.items():
        files[f"sft{ending(split)}.json"] = [
            sharegpt(dialogue, {"from": "gpt", "value": response.text})
            for dialogue, response in part.targets
        ]
        files[f"preferences{ending(split)}.json"] = [sharegpt_pair(p) for p in part.preferences]
    files = {name: rows for name, rows in files.items() if rows}
    return {**files, "dataset_info.json": dict(described(list(files)))}


def sharegpt(dialogue: Dialogue, *replies: dict[str, str]) -> Row:
    turns = [turn for turn in dialogue.turns if turn.role != "system"]
    said = [{"from": SHAREGPT_ROLES[turn.role], "value": turn.content} for turn in turns]
    system = " ".join(turn.content for turn in dialogue.turns if turn.role == "system")
    return {"conversations": [*said, *replies], "system": system}


def sharegpt_pair(preference: Preference) -> Row:
    return {
        **sharegpt(preference.dialogue),
        "chosen": {"from": "gpt", "value": preference.chosen},
        "rejected": {"from": "gpt", "value": preference.rejected},
    }


def described(names: Sequence[str]) -> Iterator[tuple[str, Row]]:
    for name in names:
        stem = name.removesuffix(".json")
        columns = {"messages": "conversations", "system": "system"}
        entry: Row = {"file_name": name, "formatting": "sharegpt", "columns": columns}
        if stem.startswith("preferences"):
            columns |= {"chosen": "chosen", "rejected": "rejected"}
            entry["ranking"] = True
        yield f"kindred_{stem}", entry


FORMATS = {
    "trl": Format(trl, tuple(f"{name}.jsonl" for name in SETS), "JSON lines that TRL reads"),
    "llamafactory": Format(
        llamafactory,
        (*(f"{name}.json" for name in SETS), "dataset_info.json"),
        "ShareGPT and dataset_info.json",
    ),
}
