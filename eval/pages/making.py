"""How the student was made: base, recipe, data, losses.

In: evidence. Out: a section. The losses say how well the replies were learnt, and no more.
"""

import base64
from typing import Any

from eval.pages.evidence import Evidence
from eval.pages.page import Figure, Section, Table
from eval.pages.wording import NOT_MEASURED, NOT_RECORDED, plain


def making(found: Evidence) -> Section:
    title = "How it was made"
    tables = [*origin_table(found), *stage_table(found), *data_tables(found)]
    if not tables:
        said = "Not known: neither a manifest nor student/kindred.json is there."
        return Section("making", title, absent=said)
    beside = ["The losses say how well the training replies were learnt, not how good they are."]
    if found.curves_png is None:
        beside.append("Training curves: student/curves.png is not there.")
    return Section("making", title, beside=beside, tables=tables, figures=curves(found))


def origin_table(found: Evidence) -> list[Table]:
    """Where the student came from: the training's own record, else the file's manifest."""
    made = found.provenance
    manifest = found.artifact.manifest if found.artifact else None
    if made is None and manifest is None:
        return []
    known = made or (manifest.model_dump() if manifest else {})
    rows = [
        ("base", plain(known.get("base"))),
        ("base sha256", plain((made or {}).get("base_sha256") or "not stated")),
        ("recipe sha256", plain(known.get("recipe_sha256") or "not stated")),
    ]
    if manifest:
        rows.append(("checkpoint sha256", manifest.student_sha256))
    rows += [(f"{name} sha256", sha) for name, sha in (known.get("data_sha256") or {}).items()]
    return [Table("Origin", ("what", "value"), rows)]


def stage_table(found: Evidence) -> list[Table]:
    """One column a stage, one row for each figure that any stage has."""
    stages: dict[str, Any] = (found.provenance or {}).get("stages") or {}
    measured = {name: held for name, held in stages.items() if isinstance(held, dict)}
    names = list(dict.fromkeys(figure for held in measured.values() for figure in held))
    if not names:
        return []
    rows = [
        (
            name.replace("_", " "),
            *(plain(held[name]) if name in held else NOT_RECORDED for held in measured.values()),
        )
        for name in names
    ]
    return [Table("Training", ("figure", *measured), rows)]


def data_tables(found: Evidence) -> list[Table]:
    card = found.dataset_card
    if not card:
        return []
    sets = card.get("sets")
    tables = []
    if isinstance(sets, dict):
        rows = [(name, *set_row(held)) for name, held in sets.items() if isinstance(held, dict)]
        tables.append(Table("Data sets", ("set", "rows", "from"), rows))
    chosen = [
        (name.replace("_", " "), plain(value))
        for name, value in card.items()
        if not isinstance(value, dict | list)
    ]
    return [*tables, Table("Composed by", ("what", "value"), chosen)] if chosen else tables


def set_row(held: dict[str, Any]) -> tuple[str, str]:
    return plain(held.get("rows", NOT_MEASURED)), plain(held.get("sources", "not stated"))


def curves(found: Evidence) -> list[Figure]:
    if found.curves_png is None:
        return []
    content = base64.b64encode(found.curves_png).decode()
    said = "Loss of each training stage over its steps; the final figures are in the table."
    return [Figure("Training curves", said, "png", content)]
