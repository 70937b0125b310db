"""Refuse texts in which a model declines, speaks of itself as one, or talks about its task."""

import re

from distill.curating.case import Case, Check, Settings, one_by_one

WHO = r"(?:ai|artificial intelligence|(?:large )?language model|virtual assistant|chatbot)"
SIGNS = re.compile(
    rf"\bas an? {WHO}\b"
    rf"|\bi(?:'m| am) (?:just |only )?an? {WHO}\b"
    r"|\bi (?:do not|don't|cannot|can't) (?:have|feel|experience) (?:any )?"
    r"(?:human |real |personal )?(?:feelings|emotions)\b"
    r"|\bi(?:'m| am) (?:unable|not able) to "
    r"(?:assist|help|provide|respond|fulfil|comply|continue|engage)"
    r"|\bi (?:cannot|can't|won't) (?:assist with|help with|fulfil|comply|provide (?:that|this))"
    r"|\bsorry, but i (?:cannot|can't)\b"
    r"|\bhere(?:'s| is) (?:an?|the|my) (?:\w+[ -]){0,2}"
    r"(?:empathetic|improved|revised|rewritten|better)\b"
    r"|^\W*(?:improved|revised|rewritten|new) (?:response|reply|version)\b",
    re.IGNORECASE,
)


def check(settings: Settings) -> Check:
    def judge(case: Case) -> str | None:
        found = SIGNS.search(case.response.text.replace("\u2019", "'"))
        return f"says {found[0].strip()!r}" if found else None

    return one_by_one(judge)
