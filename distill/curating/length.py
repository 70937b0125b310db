"""Refuse what is longer than a reply may be; nothing is ever cut."""

from distill.corpora.lengths import words_in
from distill.curating.case import Case, Check, Settings, one_by_one


def check(settings: Settings) -> Check:
    def judge(case: Case) -> str | None:
        words = words_in(case.response.text)
        return (
            f"{words} words, at most {settings.max_words}" if words > settings.max_words else None
        )

    return one_by_one(judge)
