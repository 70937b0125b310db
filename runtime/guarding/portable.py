"""The guard as one JSON value, for a page that has no Python.

In: a policy and a locale. Out: its words, graph of patterns, classifier and help lines: numbers and
texts only; whoever reads them does what `runtime.guard` does (demo/pocket/page/guard.js). Refused:
what reading the policy or the locale refuses.
"""

from typing import Any

from runtime.guarding import classifier, features, locales, words
from runtime.guarding.patterns import GAP, GAP_WORDS
from runtime.guarding.policy import CONTEXT, HARMLESS, SIGNAL, Policy


def portable(policy: Policy, locale: str) -> dict[str, Any]:
    """Everything that `Guard.check` looks at."""
    entries = [entry.model_dump() for entry in policy.entries.values()]
    return {
        "entries": entries,
        "threshold": policy.threshold,
        "threshold_of_words": policy.threshold_of_words,
        "words": {
            "stop": words.STOP,
            "wholes": words.ENDINGS,
            "single": words.SINGLE,
            "pairs": {" ".join(pair): joined for pair, joined in words.PAIRS.items()},
        },
        "patterns": {
            "gap": GAP,
            "gap_words": GAP_WORDS,
            "harmless": HARMLESS,
            "signal": SIGNAL,
            "context": CONTEXT,
            **policy.patterns.table(),
        },
        "features": {
            "longest_passage": features.LONGEST_PASSAGE,
            "covered": features.COVERED,
            "endings": features.ENDINGS,
            "shortest_stem": features.SHORTEST_STEM,
            "manners": features.MANNERS,
        },
        "classifier": {
            "classes": classifier.CLASSES,
            "grams_count": classifier.GRAMS_COUNT,
            "offset": classifier.bundled_classifier().offset,
            "weights": dict(classifier.bundled_classifier().weights),
        },
        "help": {
            "lines": locales.locales()[locales.known(locale)],
            "locales": locales.locales(),
            "locale": locales.known(locale),
            "opening": locales.OPENINGS,
            "openings": list(locales.openings()),
            "end": locales.END,
        },
    }
