"""Sets that overlap, found exactly, in memory that does not grow with how many there are.

In: sets of hashable members. Out: for a new set, one that was posted before and is near to it.
Two sets are near when their Jaccard index is `threshold` or more. No pair is missed and none is
estimated: rare members are looked up first, and sets that share at least t of their union must
share one of their n - ceil(t n) + 1 rarest members (prefix filtering, Bayardo, Ma and Srikant
2007, "Scaling up all pairs similarity search"). Members are 64-bit hashes, kept in a temporary
SQLite file; how rare one is comes from a table of fixed size, which changes the speed alone. A
library would be datasketch (MinHash, an estimate, with numpy and scipy).
"""

import math
import sqlite3
from array import array
from collections.abc import Hashable, Iterable
from functools import lru_cache

Members = frozenset[int]
SLOTS = 2**20
REMEMBERED = 4096


def members_of(things: Iterable[Hashable]) -> Members:
    return frozenset(map(hash, things))


def jaccard(left: Members, right: Members) -> float:
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


class Rarity:
    """How often members were seen, in a table of fixed size."""

    def __init__(self) -> None:
        self.seen = array("I", bytes(SLOTS * array("I").itemsize))

    def see(self, members: Members) -> None:
        for member in members:
            self.seen[member % SLOTS] += 1

    def rarest(self, members: Members, threshold: float) -> list[int]:
        """The members that a set near to this one must share one of."""
        # The margin keeps a product such as 0.6 * 5 from being rounded up to 4.
        length = len(members) - math.ceil(threshold * len(members) - 1e-9) + 1
        return sorted(members, key=lambda member: (self.seen[member % SLOTS], member))[:length]


class SimilarSets:
    """Posted sets by number; the file is deleted when this is."""

    def __init__(self, threshold: float, rarity: Rarity) -> None:
        self.threshold, self.rarity = threshold, rarity
        self.rows = sqlite3.connect("", isolation_level=None)
        self.rows.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;"
            "CREATE TABLE posted (member INTEGER, number INTEGER, size INTEGER, part INTEGER,"
            " PRIMARY KEY (member, number)) WITHOUT ROWID;"
            "CREATE TABLE sets (number INTEGER PRIMARY KEY, members BLOB);"
            "BEGIN;"
        )
        self.members = lru_cache(maxsize=REMEMBERED)(self.stored)

    def post(self, number: int, members: Members, part: int = 0) -> None:
        """Let later sets be found near to this one; numbers are given once."""
        rare = self.rarity.rarest(members, self.threshold)
        self.rows.executemany(
            "INSERT INTO posted VALUES (?, ?, ?, ?)",
            [(m, number, len(members), part) for m in rare],
        )
        packed = array("q", sorted(members)).tobytes()
        self.rows.execute("INSERT INTO sets VALUES (?, ?)", (number, packed))

    def near(self, members: Members, above: int = -1) -> int | None:
        """The lowest number of a posted set that is near, in a part above the one named."""
        for number in sorted(self.candidates(members, above)):
            if jaccard(members, self.members(number)) >= self.threshold:
                return number
        return None

    def candidates(self, members: Members, above: int) -> set[int]:
        """Posted sets with a rare member in common, of a size that can be near."""
        low = self.threshold * len(members) - 1e-9
        high = len(members) / self.threshold + 1e-9
        found: set[int] = set()
        for member in self.rarity.rarest(members, self.threshold):
            rows = self.rows.execute(
                "SELECT number FROM posted WHERE member = ? AND part > ? AND size BETWEEN ? AND ?",
                (member, above, low, high),
            )
            found.update(number for (number,) in rows)
        return found

    def stored(self, number: int) -> Members:
        query = "SELECT members FROM sets WHERE number = ?"
        members = array("q")
        members.frombytes(self.rows.execute(query, (number,)).fetchone()[0])
        return frozenset(members)

    def close(self) -> None:
        self.rows.close()
