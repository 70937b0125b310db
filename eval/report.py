"""Join everything that is known of a file on one page, keyed by the file's digest.

In: the folder of a run, each part of it optional. Out: `report/report.html` (needs nothing else),
`report.md`, `report.json`. Refused: figures that belong to another file (CheckFailed), a folder
with nothing to report (MissingInput). The same folder gives the same bytes.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from distill.core.command import Outcome, command
from distill.core.jsonl import write_json, write_text
from eval.outputs import writable_folder
from eval.pages.artifact import artifact_section
from eval.pages.comparison import comparison
from eval.pages.evidence import Evidence, read_evidence
from eval.pages.html import html
from eval.pages.joining import refuse_foreign
from eval.pages.making import making
from eval.pages.markdown import markdown
from eval.pages.measured import measured
from eval.pages.page import Page
from eval.pages.ranking import ranking
from eval.pages.samples import dialogues, doubts
from eval.pages.speed import speed_section
from eval.pages.summary import summary

SECTIONS = (
    comparison,
    ranking,
    measured,
    speed_section,
    artifact_section,
    making,
    dialogues,
    doubts,
)
ENDS = {"html": "html", "markdown": "md", "json": "json"}


def build(found: Evidence) -> Page:
    """The page in its fixed order."""
    parts = (part(found) for part in SECTIONS)
    return Page(found.name, found.sha256, summary(found), [part for part in parts if part])


def data_of(found: Evidence, page: Page) -> dict[str, Any]:
    """What `report.json` holds: the parts as they were found, joined under one digest."""
    samples = {s.dialogue_id: s for section in page.sections for s in section.samples}
    return {
        "artifact": found.name,
        "artifact_sha256": found.sha256,
        "summary": page.summary,
        "absent": {s.slug: s.absent for s in page.sections if s.absent},
        "winrate": found.winrate,
        "comparison": found.comparison,
        "measures": found.measures,
        "latency": found.latency,
        "manifest": found.artifact.manifest.model_dump() if found.artifact else None,
        "provenance": found.provenance,
        "dataset_card": found.dataset_card,
        "samples": [
            {
                "dialogue_id": sample.dialogue_id,
                "messages": [turn.message() for turn in sample.turns],
                "replies": {reply.candidate: reply.text for reply in sample.replies},
                "verdict": sample.verdict,
            }
            for sample in samples.values()
        ],
    }


@command
def run(
    run_dir: Annotated[Path, typer.Argument(help="The folder of a run, as in runs/quickstart.")],
    artifact: Annotated[
        str | None,
        typer.Option(help="The artifact in edge/ that the report is about, if several."),
    ] = None,
) -> Outcome:
    """Join everything that is known of an artifact on one page: HTML, Markdown, JSON."""
    found = read_evidence(run_dir, artifact)
    refuse_foreign(found)
    out = writable_folder(run_dir / "report")
    page = build(found)
    paths = {kind: out / f"report.{end}" for kind, end in ENDS.items()}
    write_text(paths["html"], html(page))
    write_text(paths["markdown"], markdown(page))
    write_json(paths["json"], data_of(found, page))
    data = {**{kind: str(path) for kind, path in paths.items()}, "artifact_sha256": found.sha256}
    absent = [f"  {section.absent}" for section in page.sections if section.absent]
    return Outcome(
        {**data, "summary": page.summary},
        [page.summary, *absent, *(f"  {path}" for path in paths.values())],
    )
