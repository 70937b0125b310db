"""How fast the file answers and how much memory it takes, and on which machine.

In: evidence. Out: a section. The figures are the latency command's; where it did not run, the plots
show every answer as it was given, and say so.
"""

from collections.abc import Callable
from typing import Any

from distill.core.records import Answer
from eval.pages.evidence import Evidence
from eval.pages.page import Figure, Headline, Section, Table
from eval.pages.plots import Series, distribution
from eval.pages.speed_plots import latency_plots
from eval.pages.wording import NOT_MEASURED, count, plain, rate, seconds, size, spread

MILLISECONDS = 1000
TITLE = "Latency and memory"
Held = dict[str, Any]


def speed_section(found: Evidence) -> Section:
    held = found.latency
    if held is None:
        said = "Not measured: latency.json is not there. Measure it with: distill eval latency."
        return Section("speed", TITLE, figures=answer_plots(found), absent=said)
    return Section(
        "speed",
        TITLE,
        headlines=[
            Headline(seconds(held.get("first_token_s")), "to the first token, median"),
            Headline(rate(held.get("tokens_per_s")), "after the first, median"),
            Headline(size(held.get("peak_memory_bytes")), "peak memory of the serving process"),
        ],
        beside=[machine_said(held), *busy(held), *held_to(held)],
        tables=[
            latency_table(held),
            *length_tables(held),
            memory_table(held),
            *browser_table(held),
            *machine_table(held.get("machine")),
        ],
        figures=latency_plots(held),
    )


def machine_said(held: Held) -> str:
    machine = held.get("machine")
    if not isinstance(machine, dict):
        return f"Machine: {machine or 'not stated'}."
    parts = [str(machine.get("processor") or "processor not stated")]
    if cores := machine.get("physical_cores"):
        parts.append(count(cores, "core"))
    if memory := machine.get("memory_bytes"):
        parts.append(size(memory))
    if system := machine.get("system"):
        parts.append(str(system))
    return f"Machine: {', '.join(parts)}. Other machines give other figures."


def busy(held: Held) -> list[str]:
    """A warning where others wanted the cores; one more than there are may be our own last step."""
    machine = held.get("machine")
    known = machine if isinstance(machine, dict) else {}
    load, cores = known.get("load_before"), known.get("usable_cores") or known.get("physical_cores")
    if not load or not cores or load <= cores + 1:
        return []
    return [
        f"The machine was busy: {load:.1f} processes wanted its {count(cores, 'core')} before the "
        "first question. Measure again when it is idle; these figures are slower than the file."
    ]


def held_to(held: Held) -> list[str]:
    """What the server was held to, which is not the same as being a phone."""
    if not held.get("profile"):
        return []
    return [
        f"The server was held to the cores and the memory of {held['profile']}; its cores are "
        "still this machine's."
    ]


def latency_table(held: Held) -> Table:
    tokens = (plain(held.get(f"{name}_tokens", NOT_MEASURED)) for name in ("prompt", "reply"))
    known, between = held.get("intervals") or {}, held.get("between_pieces_s") or {}
    rows = [
        ("first token, median", spread(known.get("first_token_s"), seconds)),
        ("first token, 95 % within", seconds(held.get("first_token_p95_s"))),
        ("tokens per second, median", spread(known.get("tokens_per_s"), rate)),
        ("tokens per second, 95 % at least", rate(held.get("tokens_per_s_p5"))),
        *(
            (f"between pieces of text, {name}", spread(between.get(name), seconds, "value"))
            for name in ("p50", "p95", "p99")
        ),
        ("tokens in a piece, mean", plain(between.get("tokens_per_piece", NOT_MEASURED))),
        ("whole reply, median", spread(held.get("whole_reply_s"), seconds)),
        ("prompts", plain(held.get("prompts", NOT_MEASURED))),
        ("tokens of prompt, of reply (medians)", ", ".join(tokens)),
        ("threads", plain(held.get("threads", "not stated"))),
        ("energy", energy_said(held.get("energy"))),
    ]
    return Table("One reply to a dialogue after another", ("what", "value"), rows)


def energy_said(found: Held | None) -> str:
    if not found:
        return NOT_MEASURED
    if not found.get("reported"):
        return f"not reported: {found.get('reason', 'no reason given')}"
    return f"{found['joules_per_token']:.3g} J a token ({found.get('source', 'not stated')})"


def length_tables(held: Held) -> list[Table]:
    rows = [
        (
            f"{row['length']:,}",
            plain(row["threads"]),
            spread(row.get("first_token_s"), seconds),
            spread(row.get("prefill_tokens_per_s"), rate),
            spread(row.get("decode_tokens_per_s"), rate),
        )
        for row in held.get("lengths") or []
    ]
    columns = (
        "tokens of the prompt",
        "threads",
        "first token",
        "prompt read at",
        "reply written at",
    )
    return [Table("By length of the prompt, new to the server", columns, rows)] if rows else []


def memory_table(held: Held) -> Table:
    load = held.get("load") or {}
    rows = [
        ("peak memory", size(held.get("peak_memory_bytes"))),
        ("read from", plain(held.get("peak_memory_source", "not stated"))),
        ("private, at its peak", size(held.get("private_bytes"))),
        ("file-backed (weights and libraries), at its peak", size(held.get("file_backed_bytes"))),
        ("told apart by", plain(held.get("split_source", "not stated"))),
        ("start of the server, its Python included", spread(load.get("start_s"), seconds)),
        ("first token of a fresh server", spread(load.get("first_reply_s"), seconds)),
        ("servers started", plain(load.get("servers", NOT_MEASURED))),
    ]
    return Table("Memory and start", ("what", "value"), rows)


def browser_table(held: Held) -> list[Table]:
    """The same file in a browser, where that was measured: rows of flat figures."""
    rows = held.get("browser") or []
    if not rows:
        return []
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [tuple(browser_cell(name, row.get(name)) for name in columns) for row in rows]
    return [Table("In a browser", tuple(named(name) for name in columns), cells)]


def named(name: str) -> str:
    bare = name if name.endswith("_per_s") else name.removesuffix("_s")
    return bare.removesuffix("_bytes").replace("_", " ")


def browser_cell(name: str, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name.endswith("tokens_per_s"):
            return rate(value)
        if name.endswith("_s"):
            return seconds(value)
        if name.endswith("_bytes"):
            return size(value)
    return NOT_MEASURED if value is None else plain(value)


def machine_table(machine: Any) -> list[Table]:
    if not isinstance(machine, dict):
        return []
    rows = [(named(name), browser_cell(name, value)) for name, value in machine.items()]
    return [Table("Machine", ("what", "value"), rows)]


def answer_plots(found: Evidence) -> list[Figure]:
    """Distributions over the student's answers; a reply of one token has no speed."""
    if found.student is None:
        return []
    answers = list(found.student.answers.values())
    several = [answer for answer in answers if answer.tokens > 1]
    return [
        *plot(
            "first-token", "First token, as each answer was given", "ms", answers, first_token_ms
        ),
        *plot("rate", "Speed, as each answer was given", "tokens/s", several, tokens_per_s),
    ]


def first_token_ms(answer: Answer) -> float:
    return answer.first_token_s * MILLISECONDS


def tokens_per_s(answer: Answer) -> float:
    return answer.tokens_per_s


def plot(
    slug: str, title: str, unit: str, answers: list[Answer], value: Callable[[Answer], float]
) -> list[Figure]:
    """A candidate that does not tell its times has no plot of them."""
    values = [value(answer) for answer in answers if value(answer) > 0]
    return [distribution(slug, title, unit, [Series("", values)])] if values else []
