"""What is known of a file: where it came from, how near it is to its student, how fast it is.

In: an exported file, in the `edge/` of a run or alone. Out: sections, each with rows or with the
sentence that says what is missing. A part that belongs to another file (by digest) is called
missing, never shown. Nothing is refused: a part that cannot be read says so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import KindredError
from distill.core.identity import own_files, stated_digest
from distill.core.jsonl import read_json
from distill.core.manifest import ArtifactManifest, manifest_path, read_manifest
from distill.core.naming import HOME, named, run_of

Row = tuple[str, ...]
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Section:
    """A table with its heading; `absent` stands in for rows that are not there."""

    title: str
    head: Row = ()
    rows: tuple[Row, ...] = ()
    absent: str | None = None


@dataclass(frozen=True)
class Source:
    """The file, the folder of its run, and its manifest, where there is one."""

    file: Path
    manifest: ArtifactManifest | None

    @property
    def run(self) -> Path:
        return run_of(self.file)

    @property
    def sha256(self) -> str | None:
        if self.manifest is None:
            return None
        return stated_digest(self.manifest, self.file.name)


def open_source(file: Path) -> Source:
    return Source(named(file), read_manifest(file) if manifest_path(file).exists() else None)


def story(file: Path) -> list[Section]:
    """Everything that is known, in a fixed order."""
    try:
        source = open_source(file)
    except KindredError as error:
        return [Section("The file", absent=str(error))]
    return [told(part, title, source) for title, part in PARTS.items()]


def told(part: Callable[[Source], Section], title: str, source: Source) -> Section:
    try:
        return part(source)
    except (KindredError, KeyError, TypeError, AttributeError) as error:
        return Section(title, absent=f"It cannot be read: {error}")


def the_file(source: Source) -> Section:
    title = "The file"
    if source.manifest is None:
        return Section(title, absent=f"{manifest_path(source.file)} is not there.")
    held = source.manifest.quantization
    size = sum(file.size_bytes for file in own_files(source.manifest, source.file.name))
    fallback = ", ".join(map(str, held.get("fallback") or [])) or "none"
    rows = [
        ("name", source.file.name),
        ("size", f"{size / 1e6:.1f} MB"),
        ("type", str(held.get("type", NOT_STATED))),
        ("effective bits per weight", number(held.get("bits_per_weight"))),
        ("tensors that fell back to another type", fallback),
        ("exported from", source.manifest.student),
        ("sha256", source.sha256 or NOT_STATED),
    ]
    return Section(title, ("what", "value"), tuple(rows))


def the_gate(source: Source) -> Section:
    """Each comparison that the export made before it let the file out."""
    title = "Is it still the student? (parity gate)"
    parity = source.manifest.parity if source.manifest else {}
    if not parity.get("links"):
        return Section(title, absent="Not measured: the manifest holds no figures of a gate.")
    rows = [
        (
            f"{link['candidate']} against {link['reference']}",
            f"{link['mean_kld']:.2g} (at most {link['most_mean_kld']:g})",
            f"{link['top1']:.1%} (at least {link['least_top1']:.0%})",
        )
        for link in parity["links"]
    ]
    passed = {True: "passed", False: "failed"}.get(bool(parity["passed"]))
    head = (f"gate: {passed}", "mean KLD", "same first choice")
    return Section(title, head, tuple(rows))


def training_of(source: Source) -> dict[str, Any] | None:
    """What the training wrote down, if it is the training that this file came from."""
    path = source.run / "student/kindred.json"
    made: dict[str, Any] = read_json(path) if path.exists() else {}
    mine = source.manifest and made.get("recipe_sha256") == source.manifest.recipe_sha256
    return made if made and mine else None


def the_training(source: Source) -> Section:
    title = "What it was distilled from"
    path = source.run / "student/kindred.json"
    manifest, made = source.manifest, training_of(source)
    if not path.exists():
        known = (("base", manifest.base),) if manifest and manifest.base else ()
        said = f"{path} is not there: the training left no record here."
        return Section(title, ("what", "value"), known, None if known else said)
    if made is None:
        return Section(title, absent=f"{path} tells of another training than this file's.")
    rows = [("base", str(made.get("base"))), *stages(made.get("stages") or {})]
    return Section(title, ("what", "value"), tuple(rows))


def stages(held: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, figures in held.items():
        shown = ", ".join(
            f"{key.replace('_', ' ')} {number(value)}" for key, value in figures.items()
        )
        yield name, shown


def the_data(source: Source) -> Section:
    """The data card, when the training says that these are its sets."""
    title = "What it learnt from (data card)"
    path = source.run / "sets/dataset_card.json"
    if not path.exists():
        return Section(title, absent=f"{path} is not there.")
    card = read_json(path)
    learnt = (training_of(source) or {}).get("data_sha256")
    if not learnt or any(card["files"].get(name) != sha for name, sha in learnt.items()):
        return Section(title, absent=f"{path} describes other sets than this file's.")
    rows = [
        (name, f"{held['rows']:,}", counts(held["sources"])) for name, held in card["sets"].items()
    ]
    return Section(title, (f"rule: {card['rule']}", "rows", "from"), tuple(rows))


def counts(held: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in held.items())


def the_verdict(source: Source) -> Section:
    title = "Is it better? (win rate)"
    path = source.run / "judged/winrate.json"
    if not path.exists():
        return Section(title, absent=f"Not measured: {path} is not there.")
    found = read_json(path)
    judged = {one["artifact_sha256"] for one in found["candidates"].values()}
    if source.sha256 not in judged:
        return Section(title, absent=f"{path} is about other files.")
    low, high = found["interval"] or (None, None)
    rate = found["win_rate"]
    rows = [
        (f"{found['first']} wins against {found['second']}", share(rate)),
        ("95 % interval", f"{share(low)} to {share(high)}"),
        ("decided pairs", f"{found['decided']} of {found['pairs']}"),
        ("judge", f"{found['judge']}: {found['agreement_note']}"),
    ]
    return Section(title, ("what", "value"), tuple(rows))


def the_speed(source: Source) -> Section:
    title = "How fast is it?"
    path = source.run / "latency.json"
    if not path.exists():
        return Section(title, absent=f"Not measured: {path} is not there.")
    held = read_json(path)
    if held.get("artifact_sha256") != source.sha256:
        return Section(title, absent=f"{path} is about another file.")
    machine = held.get("machine") or {}
    memory = held.get("peak_memory_bytes")
    rows = [
        ("first token, median", f"{held['first_token_s'] * 1000:.0f} ms"),
        ("tokens per second, median", number(held["tokens_per_s"])),
        ("between two pieces", pauses(held.get("between_pieces_s"))),
        ("peak memory", f"{memory / 1e6:.0f} MB" if memory else "not measured"),
        ("machine", f"{machine.get('processor', NOT_STATED)}, {held.get('threads')} threads"),
    ]
    return Section(title, ("what", "value"), tuple(rows))


def pauses(held: dict[str, Any] | None) -> str:
    if not held:
        return "not measured"
    shown = (
        f"{share} % within {held[f'p{share}']['value'] * 1000:.1f} ms" for share in (50, 95, 99)
    )
    return ", ".join(shown)


PARTS: dict[str, Callable[[Source], Section]] = {
    "The file": the_file,
    "What it was distilled from": the_training,
    "What it learnt from (data card)": the_data,
    "Is it still the student? (parity gate)": the_gate,
    "Is it better? (win rate)": the_verdict,
    "How fast is it?": the_speed,
}


def first_tokens_ms(file: Path) -> list[float]:
    """Milliseconds to the first token of every reply that was measured of this very file."""
    try:
        source = open_source(file)
        path = source.run / "latency.json"
        held = read_json(path) if path.exists() else {}
        if source.sha256 and held.get("artifact_sha256") == source.sha256:
            replies = held.get("replies") or []
            return [one["first_token_s"] * 1000 for one in replies if one["first_token_s"]]
    except (KindredError, KeyError, TypeError, AttributeError):
        pass
    return []


def recipe(file: Path) -> str | None:
    """The recipe as it was run, where it lies in the run's folder."""
    path = run_of(file) / "student/recipe.yaml"
    at_home = named(named(file).parent).name == HOME
    return path.read_text("utf-8") if at_home and path.exists() else None


def number(value: Any) -> str:
    if value is None:
        return NOT_STATED
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def share(value: float | None) -> str:
    return "nothing was decided" if value is None else f"{value:.1%}"


def markdown(section: Section) -> str:
    """A section as the page shows it."""
    if section.absent or not section.rows:
        return f"## {section.title}\n\n{section.absent or 'Nothing is known.'}"
    lines = [row(section.head), row(("---",) * len(section.head)), *map(row, section.rows)]
    return f"## {section.title}\n\n" + "\n".join(lines)


def row(cells: Row) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
