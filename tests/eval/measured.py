"""A gathered folder, answers to its test dialogues, and the material that measures take."""

import csv
from pathlib import Path

from eval.held_out import answered, read_answers, read_dialogues
from eval.measures.references import read_references
from eval.measures.seam import Material
from tests.eval.pairs import write_answers, write_lines

SAD, GLAD = "My dog died and I cry all day.", "We won the cup and I dance all night!"
CARING, CHEERING = "I am so sorry that you lost him.", "Congratulations, what a wonderful win!"
TRAIN, TEST = 60, 6


def gathered(folder: Path) -> Path:
    """Sad and glad dialogues in turn, each with one good and one plain reply."""
    dialogues, notes, responses = [], [], []
    for number in range(TRAIN + TEST):
        name = f"t{number}" if number < TRAIN else f"d{number - TRAIN}"
        sad = number % 2 == 0
        turn = {"role": "user", "content": f"{SAD if sad else GLAD} It was day {number}."}
        split = "train" if number < TRAIN else "test"
        dialogues.append({"id": name, "source": "test", "turns": [turn], "split": split})
        notes.append({"dialogue_id": name, "fields": {"emotion": "sad" if sad else "joyful"}})
        good = f"{CARING if sad else CHEERING} Tell me of day {number}."
        for strategy, text in (("improved", good), ("plain", "Okay.")):
            common = {"id": f"{name}/{strategy}", "dialogue_id": name, "author": "starter"}
            responses.append(common | {"text": text, "strategy": strategy})
    write_lines(folder / "dialogues.jsonl", dialogues)
    write_lines(folder / "privileged.jsonl", notes)
    write_lines(folder / "responses.jsonl", responses)
    write_lines(folder / "test.jsonl", [one for one in dialogues if one["split"] == "test"])
    return folder


def material(folder: Path, texts: list[str], reference: str = "improved", **more) -> Material:
    """The answers `texts` to the first test dialogues of a gathered folder."""
    source = folder / "test.jsonl"
    file = read_answers(write_answers(folder / "answers.jsonl", "student", texts))
    return Material(
        answers=file,
        dialogues=answered(file, read_dialogues(source), source),
        data=folder,
        reference=reference,
        replies=read_references(folder, reference),
        **more,
    )


def write_coded(path: Path, responses: dict[int, str], count: int = 12) -> Path:
    """A file as EPITOME's: `count` responses of each level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["sp_id", "rp_id", "seeker_post", "response_post", "level", "rationales"])
        for number in range(count):
            for level, text in responses.items():
                rows.writerow([f"p{number}", f"r{level}", SAD, f"{text} {number}", level, ""])
    return path
