"""Reference replies: the responses of a gathered folder that count as good ones.

In: a folder that `distill gather` wrote, and an author or strategy. Out: the responses by dialogue.
Refused: a name that no response has (BadInput, which names those that are there).
"""

from collections import Counter
from pathlib import Path

from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Response


def read_references(data: Path, name: str) -> dict[str, list[Response]]:
    found: dict[str, list[Response]] = {}
    names: Counter[str] = Counter()
    for response in read_jsonl(data / "responses.jsonl", Response):
        mine = {response.author, response.strategy} - {None}
        names.update(str(one) for one in mine)
        if name in mine:
            found.setdefault(response.dialogue_id, []).append(response)
    if not found:
        known = ", ".join(sorted(names)) or "none"
        raise BadInput(
            f"{data / 'responses.jsonl'} has no response of the author or strategy {name!r}; "
            f"give --reference one of: {known}"
        )
    return found
