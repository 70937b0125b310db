"""Data folders and cases made in a test, for `distill curate`."""

from pathlib import Path

from distill.core.jsonl import write_json, write_jsonl
from distill.core.records import Dialogue, Privileged, Response, Turn
from distill.curating.case import Case
from tests.distill.raw_corpora import story


def dialogue(name: str, text: str | None = None, split: str = "train") -> Dialogue:
    turns = [Turn(role="user", content=text or story(len(name)))]
    return Dialogue(id=name, source="made", turns=turns, split=split)


def response(name: str, text: str, **fields: object) -> Response:
    asked = name.split("/")[0]
    known = {"author": "gpt", "strategy": "direct", "prompt": "direct", **fields}
    return Response(id=name, dialogue_id=asked, text=text, **known)


def case(text: str, said: str = "My cat came home.", place: int = 0, **fields: object) -> Case:
    original = fields.pop("original", None)
    privileged = fields.pop("privileged", {})
    known = {"improves": "d/first", **fields} if original else fields
    written = response(f"d/{place}", text, **known)
    return Case(place, written, dialogue("d", said), privileged, original)


def data_folder(
    folder: Path, responses: list[Response], fields: dict[str, dict[str, str]] | None = None
) -> Path:
    names = sorted({one.dialogue_id for one in responses})
    folder.mkdir()
    write_jsonl(folder / "dialogues.jsonl", [dialogue(name, f"It is {name}.") for name in names])
    told = [Privileged(dialogue_id=name, fields=one) for name, one in (fields or {}).items()]
    write_jsonl(folder / "privileged.jsonl", told)
    write_jsonl(folder / "responses.jsonl", responses)
    write_json(folder / "gather.json", {"corpora": [], "steps": [{"verb": "teach"}]})
    return folder
