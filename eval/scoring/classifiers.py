"""Classifiers and selections by name; one more is one more line.

In: a name, a seed. Out: an unfitted scikit-learn pipeline; or the columns that a selection keeps.
Refused: a name that is not in the table (BadInput).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import BadInput

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
INNER_SHARE = 0.25


def logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.01, max_iter=2000)


def svc(seed: int) -> Any:
    from sklearn.svm import SVC

    return SVC(C=0.5, random_state=seed)


def tree(seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=5, min_samples_leaf=20, random_state=seed)


def forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(400, min_samples_leaf=5, random_state=seed)


def mlp(seed: int) -> Any:
    """Two layers of 64 and 32, as in arXiv 2412.20264's code."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((64, 32), alpha=1.0, early_stopping=True, random_state=seed)


CLASSIFIERS: Mapping[str, Callable[[int], Any]] = {
    "logistic": logistic,
    "svc": svc,
    "tree": tree,
    "forest": forest,
    "mlp": mlp,
}


def classifier(name: str, seed: int) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name not in CLASSIFIERS:
        raise BadInput(f"there is no classifier {name!r}; choose one of: {', '.join(CLASSIFIERS)}")
    return make_pipeline(StandardScaler(), CLASSIFIERS[name](seed))


def k_best(columns: Floats, labels: Labels, keep: int, seed: int) -> Labels:
    """The columns that differ most between ratings, by an F test."""
    from sklearn.feature_selection import SelectKBest, VarianceThreshold

    varies = VarianceThreshold().fit(columns).get_support(indices=True)
    found = SelectKBest(k=min(keep, len(varies))).fit(columns[:, varies], labels)
    kept: Labels = varies[found.get_support(indices=True)]
    return kept


def rfe(columns: Floats, labels: Labels, keep: int, seed: int) -> Labels:
    """What is left when the least weighty tenth of a logistic regression falls away, repeatedly."""
    from sklearn.feature_selection import RFE
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(columns)
    found = RFE(logistic(seed), n_features_to_select=keep, step=0.1).fit(scaled, labels)
    kept: Labels = found.get_support(indices=True)
    return kept


def permutation(columns: Floats, labels: Labels, keep: int, seed: int) -> Labels:
    """The columns whose shuffling hurts a forest most, on rows that it has not seen."""
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import train_test_split

    seen, unseen, known, unknown = train_test_split(
        columns, labels, test_size=INNER_SHARE, random_state=seed, stratify=labels
    )
    found = permutation_importance(
        forest(seed).fit(seen, known), unseen, unknown, n_repeats=5, random_state=seed
    )
    order = np.argsort(-found.importances_mean, kind="stable")
    return np.sort(order[:keep]).astype(np.int64)


SELECTIONS: Mapping[str, Callable[[Floats, Labels, int, int], Labels]] = {
    "k-best": k_best,
    "rfe": rfe,
    "permutation": permutation,
}


def selected(name: str, columns: Floats, labels: Labels, keep: int, seed: int) -> Labels:
    """The numbers of the columns to keep; all with `none`, or where there are no more."""
    if name not in ("none", *SELECTIONS):
        known = ", ".join(["none", *SELECTIONS])
        raise BadInput(f"there is no selection {name!r}; choose one of: {known}")
    if name == "none" or keep >= columns.shape[1]:
        return np.arange(columns.shape[1])
    return SELECTIONS[name](columns, labels, keep, seed)
