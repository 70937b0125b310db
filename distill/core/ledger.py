"""Every finished call, written down once, so that nothing is paid for twice.

In: a path. Out: replies by the key of their call, what was spent, the batches that were submitted.
SQLite with a write-ahead log, synced at every commit: a reply that `store` took survives a kill.
Threads and processes may share one file. A call that failed is never written. Refused: a file that
is no ledger (BadInput), a disk that takes no more (Unavailable).
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distill.core.chat.seam import Messages, Reply, Sampling
from distill.core.errors import BadInput, Unavailable
from distill.core.jsonl import digest_text

WAIT_S = 60.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    key TEXT PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, prompt_digest TEXT NOT NULL,
    outcome TEXT NOT NULL, reply TEXT NOT NULL, tokens INTEGER NOT NULL, cost_usd REAL,
    paid INTEGER NOT NULL, finished_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS calls_by_prompt ON calls (provider, model, prompt_digest);
CREATE TABLE IF NOT EXISTS reservations (
    id INTEGER PRIMARY KEY, cost_usd REAL NOT NULL, made_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL,
    calls INTEGER NOT NULL, folder TEXT NOT NULL, base_url TEXT, submitted_at TEXT NOT NULL,
    note TEXT NOT NULL
) STRICT;
"""
STORE = """
INSERT INTO calls VALUES (:key, :provider, :model, :prompt_digest, :outcome, :reply, :tokens,
                          :cost_usd, 1, :finished_at)
ON CONFLICT (key) DO UPDATE SET
    paid = paid + 1,
    cost_usd = CASE WHEN cost_usd IS NULL AND excluded.cost_usd IS NULL THEN NULL
                    ELSE coalesce(cost_usd, 0) + coalesce(excluded.cost_usd, 0) END,
    reply = CASE outcome WHEN 'answered' THEN reply ELSE excluded.reply END,
    tokens = CASE outcome WHEN 'answered' THEN tokens ELSE excluded.tokens END,
    outcome = CASE outcome WHEN 'answered' THEN outcome ELSE excluded.outcome END
"""


@dataclass(frozen=True)
class BatchRecord:
    """A batch at a provider; `folder` keeps the requests that it was made from."""

    id: str
    provider: str
    model: str
    state: str
    calls: int
    folder: str
    base_url: str | None = None
    submitted_at: str = ""
    note: str = ""


def call_key(chat_provider: str, chat_model: str, messages: Messages, sampling: Sampling) -> str:
    """The digest of all that decides a reply; where the model is served is not part of it."""
    parts = {
        "provider": chat_provider,
        "model": chat_model,
        "messages": [dict(message) for message in messages],
        "sampling": asdict(sampling),
    }
    return digest_text(json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


class Ledger:
    """The file of finished calls; safe for threads, and for several processes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.database = sqlite3.connect(
            path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
        )
        self.database.row_factory = sqlite3.Row
        with refusing(path, self.database):
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute("PRAGMA synchronous = FULL")
            self.database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")

    def find(self, key: str, *, retry_outcomes: bool = False) -> Reply | None:
        """The reply of a finished call; with `retry_outcomes` only one that is an answer."""
        rows = self.run("SELECT outcome, reply FROM calls WHERE key = ?", key)
        if not rows or (retry_outcomes and rows[0]["outcome"] != "answered"):
            return None
        return Reply(**json.loads(rows[0]["reply"]))

    def store(
        self,
        key: str,
        reply: Reply,
        *,
        provider: str,
        model: str,
        prompt_digest: str,
        cost_usd: float | None,
        reservation: int | None = None,
    ) -> None:
        """Write a finished call; on the disk when this returns.

        A key that is there keeps its answer and adds the cost: it was paid again.
        """
        row = {
            "key": key,
            "provider": provider,
            "model": model,
            "prompt_digest": prompt_digest,
            "outcome": reply.outcome,
            "reply": json.dumps(asdict(reply), ensure_ascii=False),
            "tokens": reply.tokens,
            "cost_usd": cost_usd,
            "finished_at": now(),
        }
        with self.transaction() as database:
            database.execute(STORE, row)
            database.execute("DELETE FROM reservations WHERE id = ?", (reservation,))

    def spent_usd(self) -> float:
        """What all recorded calls cost; calls of unknown price count nothing."""
        return float(self.run("SELECT total(cost_usd) AS usd FROM calls")[0]["usd"])

    def reserved_usd(self) -> float:
        """The most that calls under way, or lost in a kill, may have cost."""
        return float(self.run("SELECT total(cost_usd) AS usd FROM reservations")[0]["usd"])

    def reserve(self, cost_usd: float, within_usd: float) -> int | None:
        """Set money aside for a call, or None when spent and reserved would pass `within_usd`.

        What a killed run had set aside stays: its calls may have been paid for.
        """
        with self.transaction() as database:
            if self.spent_usd() + self.reserved_usd() + cost_usd > within_usd:
                return None
            added = database.execute(
                "INSERT INTO reservations (cost_usd, made_at) VALUES (?, ?)", (cost_usd, now())
            )
            return added.lastrowid

    def release(self, reservation: int) -> None:
        self.run("DELETE FROM reservations WHERE id = ?", reservation)

    def mean_tokens(self, provider: str, model: str, prompt_digest: str) -> float | None:
        """Tokens of a recorded reply to that prompt on average, or None when there is none."""
        found = self.run(
            "SELECT avg(tokens) AS mean FROM calls "
            "WHERE provider = ? AND model = ? AND prompt_digest = ?",
            *(provider, model, prompt_digest),
        )[0]["mean"]
        return None if found is None else float(found)

    def counts(self) -> dict[str, int]:
        """How many calls are recorded, by outcome."""
        rows = self.run("SELECT outcome, count(*) AS calls FROM calls GROUP BY outcome")
        return {row["outcome"]: row["calls"] for row in rows}

    def add_batch(self, record: BatchRecord) -> None:
        dated = record if record.submitted_at else replace(record, submitted_at=now())
        values = asdict(dated)
        marks = ", ".join(f":{name}" for name in values)
        with self.transaction() as database:
            database.execute(f"INSERT INTO batches ({', '.join(values)}) VALUES ({marks})", values)

    def batches(self) -> list[BatchRecord]:
        """Every batch, in the order of submission."""
        rows = self.run("SELECT * FROM batches ORDER BY submitted_at, rowid")
        return [BatchRecord(**dict(row)) for row in rows]

    def set_batch_state(self, id: str, state: str, note: str | None = None) -> None:
        self.run(
            "UPDATE batches SET state = ?, note = coalesce(?, note) WHERE id = ?", state, note, id
        )

    def run(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self.lock, writing(self.path):
            return self.database.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.lock, writing(self.path):
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                raise

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.database.close()


@contextmanager
def refusing(path: Path, database: sqlite3.Connection) -> Iterator[None]:
    """A file that SQLite cannot read, as one line."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        database.close()
        raise BadInput(
            f"{path} cannot be used as a ledger ({error}); name another with --ledger"
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A disk that is full, a file that others hold: as one line."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(
            f"{path} cannot be written now ({error}); free the disk or wait for the other runs, "
            "then run the same command again"
        ) from error


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
