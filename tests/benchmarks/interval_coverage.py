"""Whether intervals hold what they say, on simulated judges.

    python -m tests.benchmarks.interval_coverage [--simulations N]

A simulated judge decides 70 % of the pairs, with a known chance for the first candidate. Printed:
how often the 95 % interval holds that chance (aim 94 to 96 %), and how often 2,000 comparisons of
equal candidates end as "not distinguishable" (aim at least 94 %).
"""

from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from eval.statistics import Tally, finding, win_rate_interval

PAIRS = (50, 100, 250, 1000)
CHANCES = (0.5, 0.6, 0.75, 0.9)
DECIDED = 0.7
EQUAL = 2000


def judged(random: np.random.Generator, pairs: int, chance: float) -> Tally:
    shares = [DECIDED * chance, DECIDED * (1 - chance), 1 - DECIDED]
    wins, losses, ties = random.multinomial(pairs, shares).tolist()
    return Tally(wins=wins, losses=losses, ties=ties)


def covered(random: np.random.Generator, pairs: int, chance: float, simulations: int) -> float:
    inside = 0
    for seed in range(simulations):
        interval = win_rate_interval(judged(random, pairs, chance), seed)
        inside += interval is not None and interval.low <= chance <= interval.high
    return inside / simulations


def told_apart(random: np.random.Generator, pairs: int) -> int:
    found = (judged(random, pairs, 0.5) for _ in range(EQUAL))
    told = [finding(counts, win_rate_interval(counts, 0)) for counts in found]
    return EQUAL - told.count("not distinguishable")


def main(simulations: Annotated[int, typer.Option()] = 4000) -> None:
    random = np.random.default_rng(0)
    table = Table("pairs", *(f"covers {chance:.0%}" for chance in CHANCES), "equal: kept together")
    every = []
    for pairs in PAIRS:
        shares = [covered(random, pairs, chance, simulations) for chance in CHANCES]
        every += shares
        kept = 1 - told_apart(random, pairs) / EQUAL
        table.add_row(str(pairs), *(f"{share:.1%}" for share in shares), f"{kept:.1%}")
    Console().print(table, f"mean coverage {np.mean(every):.1%}")


if __name__ == "__main__":
    typer.run(main)
