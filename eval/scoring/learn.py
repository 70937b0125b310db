"""Learn the tables from graded dialogues of our own.

In: `Graded` dialogues. Out: `Tables`. Nothing is refused: `pairs.read_graded` has refused
already. Needs scikit-learn; what it learns does not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from eval.scoring.corruptions import Graded
from eval.scoring.lexicons import DELIGHTFUL, PAINFUL
from eval.scoring.tables import END, SHAPES, START, Floats, Tables, positions, shape
from eval.scoring.words import content_stems, grams, plain, sentences_of, stem, words_of

RARE_STEM, RARE_GRAM = 3, 3
COMMON_WORDS = 500
VALENCE_C, TONE_C = 0.1, 0.1
ORDER_LIMIT = 4.0


def learn_tables(dialogues: Sequence[Graded]) -> Tables:
    said = [content_stems(words_of(f"{d.all_said} {d.situation}")) for d in dialogues]
    felt = [content_stems(words_of(d.feeling)) for d in dialogues]
    answered = [content_stems(words_of(" ".join(d.replies.values()))) for d in dialogues]
    documents = [{*s, *a} for s, a in zip(said, answered, strict=True)]
    counts = Counter(stem for document in (*documents, *map(set, felt)) for stem in document)
    lexicon = {stem(word) for word in PAINFUL | DELIGHTFUL}
    stems = tuple(sorted({s for s, count in counts.items() if count >= RARE_STEM} | lexicon))
    index = positions(stems)
    idf = np.log([(len(documents) + 1) / (max(counts[s], RARE_STEM)) for s in stems])
    signs = [d.sign for d in dialogues]
    classes, order = learn_order([reply for d in dialogues for reply in d.replies.values()])
    names, weights, offset = learn_tone(dialogues)
    return Tables(
        stems=stems,
        idf=idf.astype(np.float32),
        turn_valence=learn_valence([*said, *felt], [*signs, *signs], index),
        reply_valence=learn_valence(answered, signs, index),
        classes=classes,
        order=order,
        grams=names,
        gram_weights=weights,
        tone_offset=offset,
    )


def occurrences(texts: Sequence[set[str]], index: Mapping[str, int]) -> csr_matrix:
    """A row for each text, one where a name of the index occurs; always in the same order."""
    names = set(index)
    where = [(row, index[name]) for row, text in enumerate(texts) for name in sorted(text & names)]
    rows, columns = np.array(where).T
    return csr_matrix((np.ones(len(rows)), (rows, columns)), (len(texts), len(index)))


def learn_valence(
    texts: Sequence[list[str]], signs: Sequence[int], index: Mapping[str, int]
) -> Floats:
    """Logistic regression of the sign on the stems that occur and on the lexicon's own count."""
    rows = [set(text) for text, sign in zip(texts, signs, strict=True) if sign]
    present, prior = occurrences(rows, index), lexicon_valence(index)
    features = hstack([present, csr_matrix((present @ prior)[:, None])]).tocsr()
    model = LogisticRegression(C=VALENCE_C, fit_intercept=False, max_iter=1000)
    weights = model.fit(features, [sign for sign in signs if sign]).coef_[0]
    found: Floats = (weights[:-1] + weights[-1] * prior).astype(np.float32)
    return found


def lexicon_valence(index: Mapping[str, int]) -> NDArray[np.float64]:
    prior = np.zeros(len(index))
    for words, value in ((DELIGHTFUL, 1.0), (PAINFUL, -1.0)):
        prior[[index[stem(word)] for word in sorted(words)]] = value
    return prior


def learn_order(texts: Sequence[str]) -> tuple[tuple[str, ...], Floats]:
    """Log-ratio of each pair of neighbouring word classes to chance, smoothed."""
    sentences = [words_of(sentence) for text in texts for sentence in sentences_of(text)]
    counts = Counter(word for sentence in sentences for word in sentence)
    classes = (*SHAPES, *sorted(word for word, _ in counts.most_common(COMMON_WORDS)))
    index = positions(classes)
    pairs = np.zeros((len(classes), len(classes)))
    for sentence in sentences:
        inner = [index[word] if word in index else index[shape(word)] for word in sentence]
        chain = [index[START], *inner, index[END]]
        np.add.at(pairs, (chain[:-1], chain[1:]), 1)
    first, second = pairs.sum(1, keepdims=True) + 0.5, pairs.sum(0, keepdims=True) + 0.5
    expected = first * second / pairs.sum()
    ratio = np.log((pairs + 2 * expected / (expected + 2)) / expected + 1e-3)
    return classes, np.clip(ratio, -ORDER_LIMIT, ORDER_LIMIT).astype(np.float32)


def learn_tone(dialogues: Sequence[Graded]) -> tuple[tuple[str, ...], Floats, Floats]:
    """Tell sentences of direct and improved replies from plain ones.

    Single sentences, so that length teaches nothing; only grams that every source uses, so that
    what is learned is a manner and no topic.
    """
    labelled = sorted({(d.source, *pair) for d in dialogues for pair in caring_sentences(d)})
    counts: dict[str, Counter[str]] = {}
    for source, sentence, _ in labelled:
        counts.setdefault(source, Counter()).update(grams(sentence))
    names = set.intersection(*({g for g in c if c[g] >= RARE_GRAM} for c in counts.values()))
    index = positions(sorted(names))
    groups = Counter((source, caring) for source, _, caring in labelled)
    model = LogisticRegression(C=TONE_C, max_iter=1000)
    model.fit(
        occurrences([grams(sentence) for _, sentence, _ in labelled], index),
        [caring for _, _, caring in labelled],
        [len(labelled) / groups[source, caring] / len(groups) for source, _, caring in labelled],
    )
    return tuple(index), model.coef_[0].astype(np.float32), model.intercept_.astype(np.float32)


def caring_sentences(dialogue: Graded) -> set[tuple[str, int]]:
    return {
        (sentence, int(grade != "plain"))
        for grade, reply in dialogue.replies.items()
        for sentence in sentences_of(plain(reply).lower())
    }
