"""A scorer of ratings 1 to 3: columns, a selection, a classifier; data on the disk, never code.

In: rows and what to fit. Out: a `RatingModel` that tells chances of each rating. Saved as
`scorer.json` and skops files, which hold arrays and the names of scikit-learn's own classes.
Refused: a saved scorer with a type that is none of those (BadInput).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.errors import BadInput
from distill.core.jsonl import existing, read_json, sha256_of, write_json
from eval.scoring.classifiers import Floats, Labels, classifier, selected
from eval.scoring.columns import LEARNED, MITI, Columns, Source, columns_of
from eval.scoring.rated import RATINGS, Row, ratings_of

CARD, FITTED, CODER = "scorer.json", "scorer.skops", "coder.skops"
CODED = ("text", "embeddings")
CODER_FOLDS = 5
FEWEST_CODED = 20
# Classes of scikit-learn that hold numbers alone, and that skops does not know by itself: a
# crafted one can end the process, and cannot run code.
TRUSTED = [
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
]


@dataclass(frozen=True)
class Design:
    """What a scorer is made of."""

    families: tuple[str, ...]
    classifier: str = "logistic"
    selection: str = "none"
    keep: int = 50
    embedder: str = "local"
    seed: int = 0

    @property
    def plain(self) -> tuple[str, ...]:
        """The families that need no fitting."""
        return tuple(one for one in self.families if one != LEARNED)

    @property
    def learns_codes(self) -> bool:
        return LEARNED in self.families


@dataclass(frozen=True)
class Known:
    """Rows with their columns, computed once for any number of fits; `base` is what codes read."""

    rows: Sequence[Row]
    columns: Columns
    base: Columns | None

    def at(self, numbers: Labels) -> "Known":
        rows = [self.rows[number] for number in numbers]
        columns, base = self.columns, self.base
        some = Columns(columns.names, columns.values[numbers])
        return Known(rows, some, Columns(base.names, base.values[numbers]) if base else None)


def known(rows: Sequence[Row], design: Design, source: Source) -> Known:
    columns = (
        columns_of(rows, design.plain, source)
        if design.plain
        else Columns((), np.empty((len(rows), 0)))
    )
    base = columns_of(rows, CODED, source) if design.learns_codes else None
    return Known(rows, columns, base)


@dataclass(frozen=True)
class RatingModel:
    """A fitted scorer; `kept` are the numbers of the columns that its classifier sees.

    `codes_measured`: area under the curve of each learned code, on folds without its dialogue.
    """

    design: Design
    names: tuple[str, ...]
    kept: Labels
    fitted: Any
    coder: Any = None
    codes_measured: Mapping[str, float] = field(default_factory=dict)

    def matrix(self, rows: Known) -> Floats:
        values = rows.columns.values
        if self.coder is not None:
            assert rows.base
            values = np.hstack([values, self.coder.predict_proba(rows.base.values)])
        return values

    def chances(self, rows: Known) -> Floats:
        """[rows, 3] chances of the ratings 1, 2 and 3."""
        columns = self.matrix(rows)[:, self.kept]
        if hasattr(self.fitted, "predict_proba"):
            found: Floats = self.fitted.predict_proba(columns)
        else:
            margins = self.fitted.decision_function(columns)
            powers = np.exp(margins - margins.max(1, keepdims=True))
            found = powers / powers.sum(1, keepdims=True)
        return found

    def told(self, rows: Known) -> Labels:
        labels: Labels = self.fitted.predict(self.matrix(rows)[:, self.kept])
        return labels

    def expected(self, rows: Known) -> Floats:
        """The mean rating that the chances give, from 1 to 3."""
        found: Floats = self.chances(rows) @ np.array(RATINGS, float)
        return found

    @cached_property
    def kept_names(self) -> tuple[str, ...]:
        return tuple(self.names[number] for number in self.kept)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that the coder tells, in the order of its columns."""
        start = f"{LEARNED}: "
        return tuple(name.removeprefix(start) for name in self.names if name.startswith(start))


def fit_model(rows: Known, design: Design) -> RatingModel:
    """Fit codes, selection and classifier on these rows alone."""
    names, values, coder = rows.columns.names, rows.columns.values, None
    areas: dict[str, float] = {}
    if design.learns_codes:
        assert rows.base
        coder, chances, areas = fit_coder(rows.rows, rows.base.values)
        values = np.hstack([values, chances])
        names = (*names, *(f"{LEARNED}: {code}" for code in areas))
    labels = ratings_of(rows.rows)
    kept = selected(design.selection, values, labels, design.keep, design.seed)
    fitted = classifier(design.classifier, design.seed).fit(values[:, kept], labels)
    return RatingModel(design, names, kept, fitted, coder, areas)


def fit_coder(rows: Sequence[Row], values: Floats) -> tuple[Any, Floats, dict[str, float]]:
    """A classifier of the codes that are not rare, its chances for these rows, and how well it
    tells each code.

    The chances of a row come from folds without its dialogue, as those of a new reply will.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if bare := [row.id for row in rows if row.miti is None]:
        raise BadInput(f"{bare[0]} has no MITI codes to learn from; gather a file with codes")
    counts = Counter(code for row in rows for code in row.miti or ())
    names = [code for code in MITI if counts[code] >= FEWEST_CODED]
    codes = np.array([[code in (row.miti or ()) for code in names] for row in rows], int)
    coder = make_pipeline(
        StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.01, max_iter=1000))
    )
    groups = [row.dialogue_id for row in rows]
    folds = GroupKFold(CODER_FOLDS)
    told = cross_val_predict(coder, values, codes, groups=groups, cv=folds, method="predict_proba")
    areas = [float(roc_auc_score(codes[:, n], told[:, n])) for n in range(len(names))]
    return coder.fit(values, codes), told, dict(zip(names, areas, strict=True))


def save_model(model: RatingModel, folder: Path, told: Mapping[str, Any]) -> None:
    from skops.io import dump

    folder.mkdir(parents=True, exist_ok=True)
    dump(model.fitted, folder / FITTED)
    files = {FITTED: sha256_of(folder / FITTED)}
    if model.coder is not None:
        dump(model.coder, folder / CODER)
        files[CODER] = sha256_of(folder / CODER)
    card = {"design": asdict(model.design), "names": model.names, "kept": model.kept.tolist()}
    card |= {"codes_measured": dict(model.codes_measured)} if model.codes_measured else {}
    write_json(folder / CARD, card | {"files": files, **told})


def load_model(folder: Path) -> tuple[RatingModel, dict[str, Any]]:
    """The scorer of a folder and its card; BadInput when a file is not the one that was saved."""
    card = read_json(folder / CARD)
    if not isinstance(card, dict) or "design" not in card or "files" not in card:
        raise BadInput(f"{folder / CARD} is no card of a scorer; fit one: distill eval scoring fit")
    for name, digest in card["files"].items():
        if sha256_of(existing(folder / name)) != digest:
            raise BadInput(f"{folder / name} is not the file that was saved; fit the scorer again")
    design = Design(**(card["design"] | {"families": tuple(card["design"]["families"])}))
    coder = read_skops(folder / CODER) if CODER in card["files"] else None
    kept = np.array(card["kept"], np.int64)
    model = RatingModel(design, tuple(card["names"]), kept, read_skops(folder / FITTED), coder)
    return model, card


def read_skops(path: Path) -> Any:
    from skops.io import get_untrusted_types, load

    foreign = [name for name in get_untrusted_types(file=path) if name not in TRUSTED]
    if foreign:
        raise BadInput(
            f"{path} holds {foreign[0]}, which is no part of a scorer; it was not opened: fit the "
            "scorer again"
        )
    return load(path, trusted=TRUSTED)
