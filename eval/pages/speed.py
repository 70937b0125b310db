"""How fast the file answers and how much memory it takes, and on which machine.

In: evidence. Out: a section. The headlines are the latency command's; the plots show every answer
as it was given, and say so.
"""

from collections.abc import Callable
from typing import Any

from distill.core.records import Answer
from eval.pages.evidence import Evidence
from eval.pages.page import Figure, Headline, Section, Table
from eval.pages.plots import Series, distribution
from eval.pages.wording import NOT_MEASURED, count, plain, rate, seconds, size

MILLISECONDS = 1000
MACHINE_BYTES = {"memory_bytes"}


def speed_section(found: Evidence) -> Section:
    title = "Latency and memory"
    plots = answer_plots(found)
    held = found.latency
    if held is None:
        said = "Not measured: latency.json is not there. Measure it with: distill eval latency."
        return Section("speed", title, figures=plots, absent=said)
    return Section(
        "speed",
        title,
        headlines=[
            Headline(seconds(held.get("first_token_s")), "to the first token, median"),
            Headline(rate(held.get("tokens_per_s")), "after the first, median"),
            Headline(size(held.get("peak_memory_bytes")), "peak memory of the serving process"),
        ],
        beside=[machine_said(held.get("machine"))],
        tables=[latency_table(held), *machine_table(held.get("machine"))],
        figures=plots,
    )


def machine_said(machine: Any) -> str:
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


def latency_table(held: dict[str, Any]) -> Table:
    tokens = (plain(held.get(f"{name}_tokens", NOT_MEASURED)) for name in ("prompt", "reply"))
    rows = [
        ("first token, median", seconds(held.get("first_token_s"))),
        ("first token, 95 % within", seconds(held.get("first_token_p95_s"))),
        ("tokens per second, median", rate(held.get("tokens_per_s"))),
        ("tokens per second, 95 % at least", rate(held.get("tokens_per_s_p5"))),
        ("peak memory", size(held.get("peak_memory_bytes"))),
        ("of it mapped from the file", size(held.get("mapped_file_bytes"))),
        ("read from", plain(held.get("peak_memory_source", "not stated"))),
        ("prompts", plain(held.get("prompts", NOT_MEASURED))),
        ("tokens of prompt, of reply (medians)", ", ".join(tokens)),
        ("threads", plain(held.get("threads", "not stated"))),
    ]
    return Table("One reply after another", ("what", "value"), rows)


def machine_table(machine: Any) -> list[Table]:
    if not isinstance(machine, dict):
        return []
    rows = [
        (name.removesuffix("_bytes").replace("_", " "), machine_value(name, value))
        for name, value in machine.items()
    ]
    return [Table("Machine", ("what", "value"), rows)]


def machine_value(name: str, value: Any) -> str:
    return size(value) if name in MACHINE_BYTES else plain(value)


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
