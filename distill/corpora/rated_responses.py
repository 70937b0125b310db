"""Responses of people and models to one utterance each, rated by people: 1 bad, 2 okay, 3 good.

In: a CSV with a column `response_WHO` and `rating_WHO` for each responder, or a folder with the
two published ones: five responders (arXiv 2403.05572, used by arXiv 2507.08151) and three with
MITI codes (arXiv 2406.05063). Out: one dialogue a row, named by its EmpatheticDialogues
conversation; a row of the same dialogue in the second file adds responders and codes.
Privileged: emotion, situation, sentiment, wheel-of-emotions group, MITI codes of each response.
The raters' ids and questionnaires are not read. Refused: rows that do not fit.

Test split, by the paper: dialogues with fewer than two responses rated 3 among the responders
of the first file. A tenth of the rest, by id, is the validation split.
"""

import ast
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distill.core.errors import BadInput
from distill.core.jsonl import Problems
from distill.core.records import Dialogue, Privileged, Response, Split, Turn
from distill.corpora.item import Item, split_by_id
from distill.corpora.reading import Reading, Request, digests_of, files_of, required_path

NAME = "rated-responses"
ADDRESS = (
    "the original: datasets/dataset.csv in "
    "https://github.com/henryjxie/Distilling-Empathy-from-Large-Language-Models"
)
NAMES = {
    "human_4llm_ratings.csv": "five responders",
    "dataset.csv": "five responders",
    "human_gpt4_ratings_miti.csv": "MITI codes",
}
HUMAN, NAIVE = "human", "naive"
NAIVE_END = f"-{NAIVE}"
PAPER = {HUMAN, "chatgpt", "llama", "gemini", "mixtral"}
FIELDS = ("emotion", "situation", "sentiment", "plutchik")
REQUIRED = ("dialog_id", "emotion", "situation", "speaker_uttr", "response_human", "rating_human")
GOOD = 3
# Spreadsheets write a byte order mark before the header.
ENCODING = "utf-8-sig"


@dataclass
class Rated:
    """One dialogue while its rows are joined."""

    utterance: str
    fields: dict[str, str]
    responses: dict[str, Response] = field(default_factory=dict)
    split: Split = "train"


def read(request: Request, problems: Problems) -> Reading:
    path = required_path(request, NAME, ADDRESS)
    files = files_of(path, NAMES, NAME)
    reading = Reading(files=digests_of(files.values()))
    found: dict[str, Rated] = {}
    for order, file in enumerate(files.values()):
        responders = responders_of(file)
        if order == 0 and not set(responders) >= PAPER:
            reading.remarks.append(
                f"the test split follows {len(responders)} responders, the paper's follows "
                f"{len(PAPER)}; name the folder that holds both files to get the paper's"
            )
        seen: set[str] = set()
        for number, row in numbered_rows(file, problems):
            try:
                add_row(row, responders, found, seen)
            except ValueError as error:
                problems.add(f"{file}:{number}: {error}")
    reading.items = [item_of(name, rated) for name, rated in found.items()]
    return reading


def responders_of(file: Path) -> dict[str, str]:
    """Column ending by responder; BadInput when the columns are not those of such a file."""
    with file.open(encoding=ENCODING, errors="replace", newline="") as text:
        header = next(csv.reader(text), [])
    if missing := [column for column in REQUIRED if column not in header]:
        raise BadInput(f"{file}:1: no column {missing[0]}; this is no file of rated responses")
    endings = [c.removeprefix("response_") for c in header if c.startswith("response_")]
    unrated = [ending for ending in endings if f"rating_{ending}" not in header]
    if unrated:
        raise BadInput(f"{file}:1: no column rating_{unrated[0]} for response_{unrated[0]}")
    return {responder(ending): ending for ending in endings}


def responder(ending: str) -> str:
    """A model that was told to be empathetic bears its plain name, one that was not is naive."""
    if ending == HUMAN:
        return ending
    return (
        ending.removesuffix("_empathy") if ending.endswith("_empathy") else f"{ending}{NAIVE_END}"
    )


def numbered_rows(file: Path, problems: Problems) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with the line that each begins on; rows of another length go to `problems`."""
    with file.open(encoding=ENCODING, errors="replace", newline="") as text:
        rows = csv.reader(text)
        header = next(rows)
        begins = rows.line_num + 1
        try:
            for row in rows:
                if len(row) == len(header):
                    yield begins, dict(zip(header, row, strict=True))
                elif row:
                    problems.add(f"{file}:{begins}: {len(row)} fields, expected {len(header)}")
                begins = rows.line_num + 1
        except csv.Error as error:
            problems.add(f"{file}:{begins}: not readable from here on ({error})")


def add_row(
    row: Mapping[str, str], responders: Mapping[str, str], found: dict[str, Rated], seen: set[str]
) -> None:
    """Join a row to its dialogue; ValueError says what is wrong with it."""
    name, utterance = required(row, "dialog_id"), required(row, "speaker_uttr")
    if name in seen:
        raise ValueError(f"dialog_id {name} occurs twice")
    responses = {who: response_of(name, who, row, end) for who, end in responders.items()}
    codes = {f"miti_{who}": codes_of(row, end) for who, end in responders.items()}
    notes = {key: row.get(key, "").strip() for key in FIELDS} | codes
    notes = {key: text for key, text in notes.items() if text}
    seen.add(name)
    if name not in found:
        good = sum(response.rating == GOOD for response in responses.values())
        rest: Split = "valid" if split_by_id(name, test_percent=0) == "valid" else "train"
        found[name] = Rated(utterance, {}, {}, "test" if good < 2 else rest)
    known = found[name]
    if known.utterance != utterance:
        raise ValueError(f"speaker_uttr of {name} differs between the files")
    known.fields = notes | known.fields
    known.responses = responses | known.responses


def required(row: Mapping[str, str], column: str) -> str:
    if not (text := row[column].strip()):
        raise ValueError(f"{column} is empty")
    return text


def response_of(name: str, who: str, row: Mapping[str, str], ending: str) -> Response:
    rating = row[f"rating_{ending}"].strip()
    if rating not in {"1", "2", "3"}:
        raise ValueError(f"rating_{ending} is {rating!r}, expected 1, 2 or 3")
    return Response(
        id=f"{name}/{who}",
        dialogue_id=name,
        text=required(row, f"response_{ending}"),
        author=who,
        strategy=NAIVE if who.endswith(NAIVE_END) else None,
        rating=int(rating),
    )


def codes_of(row: Mapping[str, str], ending: str) -> str:
    """MITI codes of a response, in the order in which they occur in it."""
    raw = row.get(f"miti_{ending}", "").strip()
    try:
        codes = ast.literal_eval(raw) if raw else []
    except (SyntaxError, ValueError):
        codes = None
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise ValueError(f"miti_{ending} is no list of codes")
    return ", ".join(codes)


def item_of(name: str, rated: Rated) -> Item:
    turns = [Turn(role="user", content=rated.utterance)]
    return Item(
        Dialogue(id=name, source=NAME, turns=turns, split=rated.split),
        Privileged(dialogue_id=name, fields=rated.fields),
        tuple(rated.responses.values()),
    )
