"""Refuse improvements that no longer mean what their original means.

Similarity is the cosine of two vectors: TF-IDF of words (scikit-learn) or, with `--embeddings`,
the mean of a sentence encoder's token vectors (`distill.core.encoder`). TF-IDF sees shared words
only, so its default refuses what shares next to none; an encoder's default is higher.
"""

from collections.abc import Callable, Sequence
from typing import Any

from distill.core.errors import MissingExtra
from distill.curating.case import Case, Check, Reason, Settings

Similarities = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
FITTED_TEXTS, VOCABULARY = 20_000, 50_000
TFIDF_LEAST, ENCODER_LEAST = 0.02, 0.2


def check(settings: Settings) -> Check:
    if settings.embeddings:
        measure, least = encoder_similarities(settings.embeddings), ENCODER_LEAST
    else:
        measure, least = tfidf_similarities(settings), TFIDF_LEAST
    if settings.min_similarity is not None:
        least = settings.min_similarity

    def judge(cases: Sequence[Case]) -> list[Reason]:
        improved = [case for case in cases if case.original]
        if not improved:
            return [None] * len(cases)
        found = measure([c.original or "" for c in improved], [c.response.text for c in improved])
        likeness = {case.place: value for case, value in zip(improved, found, strict=True)}
        return [reason(case, likeness.get(case.place), least) for case in cases]

    return judge


def reason(case: Case, likeness: float | None, least: float) -> Reason:
    if likeness is None or likeness >= least:
        return None
    return f"{likeness:.3f} alike to {case.response.improves}, at least {least:g}"


def encoder_similarities(name: str) -> Similarities:
    from distill.core.encoder import open_encoder

    encoder = open_encoder(name)

    def measure(originals: Sequence[str], improved: Sequence[str]) -> Sequence[float]:
        both = encoder.vectors([*originals, *improved])
        left, right = both[: len(originals)], both[len(originals) :]
        similar: Sequence[float] = (left * right).sum(1).tolist()
        return similar

    return measure


def tfidf_similarities(settings: Settings) -> Similarities:
    """Fitted when first needed, on a bounded sample of the texts themselves."""
    fitted: list[Any] = []

    def measure(originals: Sequence[str], improved: Sequence[str]) -> Sequence[float]:
        if not fitted:
            fitted.append(vectorizer(settings))
        left, right = fitted[0].transform(originals), fitted[0].transform(improved)
        similar: Sequence[float] = left.multiply(right).sum(axis=1).ravel().tolist()[0]
        return similar

    return measure


def vectorizer(settings: Settings) -> Any:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise MissingExtra(
            "the rule meaning needs scikit-learn; install it with: pip install "
            "'kindred-slm[teach]', or leave the rule out with --rules"
        ) from error
    made = TfidfVectorizer(token_pattern=r"\S*\w\S*", max_features=VOCABULARY)
    return made.fit(list(settings.texts(FITTED_TEXTS)))
