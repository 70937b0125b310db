"""A data folder on a temporary file, response by response with all that a rule needs.

In: a folder in gather's format. Out: cases in the order of `responses.jsonl`, verdicts, and the
lines that are kept. Refused: broken lines, all named at once, a dialogue that occurs twice, a
response or privileged fields of none (BadInput). The memory does not grow with the rows.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from distill.core.errors import BadInput
from distill.core.jsonl import Problems, each_record, line_of
from distill.core.records import Dialogue, Privileged, Refusal, Response
from distill.corpora.lengths import words_in
from distill.curating.case import Case
from distill.sets.rules import HUMAN

# What people said is never refused: it is the original, and the rejected side of preferences.
CASES = """
SELECT r.place, r.line, d.line, p.line, o.line FROM responses r JOIN dialogues d ON d.id = r.asked
LEFT JOIN privileged p ON p.id = r.asked LEFT JOIN responses o ON o.id = r.improves
WHERE r.author != ? ORDER BY r.place
"""
KEPT = "FROM responses LEFT JOIN verdicts USING (place) WHERE rule IS NULL"


class Material:
    """Everything of a data folder, and the verdicts on its responses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = sqlite3.connect("", isolation_level=None)
        self.rows.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;"
            "CREATE TABLE dialogues (id TEXT PRIMARY KEY, line TEXT);"
            "CREATE TABLE privileged (id TEXT PRIMARY KEY, line TEXT);"
            "CREATE TABLE responses (place INTEGER PRIMARY KEY, id TEXT UNIQUE, asked TEXT,"
            " improves TEXT, author TEXT, words INTEGER, line TEXT);"
            "CREATE TABLE verdicts (place INTEGER PRIMARY KEY, rule TEXT, reason TEXT);"
            "BEGIN;"
        )
        problems = Problems()
        self.read_dialogues(problems)
        self.read_privileged(problems)
        self.read_responses(problems)
        problems.refuse()
        self.refuse_strays()

    def read_dialogues(self, problems: Problems) -> None:
        for one in each_record(self.folder / "dialogues.jsonl", Dialogue, problems):
            self.insert("dialogues", (one.id, line_of(one)), one.id)

    def read_privileged(self, problems: Problems) -> None:
        if (file := self.folder / "privileged.jsonl").exists():
            for one in each_record(file, Privileged, problems):
                self.insert("privileged", (one.dialogue_id, line_of(one)), one.dialogue_id)

    def read_responses(self, problems: Problems) -> None:
        every = each_record(self.folder / "responses.jsonl", Response, problems)
        for place, one in enumerate(every):
            keys = (place, one.id, one.dialogue_id, one.improves, one.author)
            self.insert("responses", (*keys, words_in(one.text), line_of(one)), one.id)

    def insert(self, table: str, values: tuple[object, ...], name: str) -> None:
        marks = ", ".join("?" * len(values))
        try:
            self.rows.execute(f"INSERT INTO {table} VALUES ({marks})", values)
        except sqlite3.IntegrityError as error:
            raise BadInput(
                f"{self.folder}/{table}.jsonl holds {name} twice; gather the data again"
            ) from error

    def refuse_strays(self) -> None:
        for table, name, asked in (("privileged", "id", "id"), ("responses", "id", "asked")):
            stray = self.rows.execute(
                f"SELECT {name}, {asked} FROM {table} WHERE {asked} NOT IN "
                "(SELECT id FROM dialogues) LIMIT 1"
            ).fetchone()
            if stray:
                raise BadInput(
                    f"{self.folder}/{table}.jsonl: {stray[0]} belongs to {stray[1]}, which is not "
                    "in dialogues.jsonl; gather the data again"
                )

    def cases(self) -> Iterator[Case]:
        """Every response that a person did not write."""
        for place, line, dialogue, privileged, original in self.rows.execute(CASES, (HUMAN,)):
            yield Case(
                place,
                Response.model_validate_json(line),
                Dialogue.model_validate_json(dialogue),
                Privileged.model_validate_json(privileged).fields if privileged else {},
                Response.model_validate_json(original).text if original else None,
            )

    def texts(self, limit: int) -> Iterator[str]:
        """The first texts, for what is counted or fitted on a sample."""
        query = "SELECT line FROM responses ORDER BY place LIMIT ?"
        for (line,) in self.rows.execute(query, (limit,)):
            yield Response.model_validate_json(line).text

    def refuse(self, place: int, rule: str, reason: str) -> None:
        self.rows.execute("INSERT INTO verdicts VALUES (?, ?, ?)", (place, rule, reason))

    def lengths(self) -> dict[int, int]:
        """How many of the cases that are kept have how many words."""
        rows = self.rows.execute(f"SELECT words {KEPT} AND author != ?", (HUMAN,))
        return Counter(words for (words,) in rows)

    def kept_of_length(self, words: int, limit: int) -> list[int]:
        """Places of the last kept cases of so many words."""
        query = f"SELECT place {KEPT} AND author != ? AND words = ? ORDER BY place DESC LIMIT ?"
        return [place for (place,) in self.rows.execute(query, (HUMAN, words, limit))]

    def counts(self) -> dict[str, int]:
        """Refusals by rule."""
        return dict(self.rows.execute("SELECT rule, COUNT(*) FROM verdicts GROUP BY rule"))

    def kept_lines(self) -> Iterator[str]:
        return (line for (line,) in self.rows.execute(f"SELECT line {KEPT} ORDER BY place"))

    def refusals(self, *, of_teachers: bool = False) -> Iterator[Refusal]:
        """In the order of the responses; of teachers only, those that can be asked for again."""
        query = (
            "SELECT line, rule, reason FROM responses JOIN verdicts USING (place) ORDER BY place"
        )
        for line, rule, reason in self.rows.execute(query):
            response = Response.model_validate_json(line)
            if response.prompt or not of_teachers:
                yield Refusal(response_id=response.id, rule=rule, reason=reason)

    def name_at(self, place: int) -> str:
        query = "SELECT id FROM responses WHERE place = ?"
        name: str = self.rows.execute(query, (place,)).fetchone()[0]
        return name

    @property
    def responses(self) -> int:
        count: int = self.rows.execute("SELECT COUNT(*) FROM responses").fetchone()[0]
        return count
