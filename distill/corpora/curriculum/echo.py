"""What a person said, said back to them: `I lost my keys.` becomes `You lost your keys.`

In: a message in the first person. Out: its first plain sentence in the second person, or None
where there is none that can be turned without a parser: a question, a cry, a sentence that speaks
to somebody, one that is too long. Reflective listening in its plainest form.
"""

import re

LONGEST_WORDS = 14
SENTENCE = re.compile(r"[^.!?]+[.!?]+")
WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")
AFTER_I = {"am": "are", "was": "were", "wasn't": "weren't"}
BETWEEN = {"just", "never", "always", "still", "really", "only", "also", "almost", "so"}
TURNED = {
    "i": "you",
    "i'm": "you're",
    "i've": "you've",
    "i'd": "you'd",
    "i'll": "you'll",
    "me": "you",
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
    "we": "you",
    "we're": "you're",
    "we've": "you've",
    "we'd": "you'd",
    "we'll": "you'll",
    "us": "you",
    "our": "your",
    "ours": "yours",
    "ourselves": "yourselves",
}
ADDRESSED = {"you", "your", "you're", "you've", "yours", "yourself"}
FEW = 3


def echo(text: str) -> str | None:
    """The first sentence that can be said back, as one sentence with a period."""
    for sentence in SENTENCE.findall(text):
        if turned := said_back(sentence.strip()):
            return turned
    return None


def said_back(sentence: str) -> str | None:
    words = [word.lower() for word in WORD.findall(sentence)]
    plain = sentence.endswith((".", "!")) and not set('":;()') & set(sentence)
    if not plain or not FEW <= len(words) <= LONGEST_WORDS or ADDRESSED & set(words):
        return None
    if not TURNED.keys() & set(words):
        return None
    turned = second_person(sentence.rstrip(".!"))
    return f"{turned[:1].upper()}{turned[1:]}."


def second_person(text: str) -> str:
    """Turn the words of the one who speaks, and the verb that follows `I`."""
    subject = False

    def turn(match: re.Match[str]) -> str:
        nonlocal subject
        word = match.group()
        lower = word.lower()
        if subject and lower in AFTER_I:
            subject = False
            return AFTER_I[lower]
        subject = lower == "i" or (subject and lower in BETWEEN)
        return TURNED.get(lower, word)

    return WORD.sub(turn, text)
