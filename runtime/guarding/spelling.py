"""Likely misspellings of the few words that matter most, made by rule rather than listed.

In: nothing. Out: `MISSPELT`, from each misspelling to the word. A rule may make no word that people
write on purpose: a test looks for each of them in everyday dialogues.
"""

from collections.abc import Iterator

WORDS = (
    *("suicide", "suicidal", "overdose", "myself", "anymore", "alive", "tonight", "again", "life"),
    *("kill", "killing", "hurt", "hurting", "cutting", "ending", "living", "dying", "want"),
    *("thinking", "feeling", "goodbye", "unalive", "himself", "herself"),
)
SPARES_A_LETTER = 6  # a shorter word without one of its letters is often another word
SOUNDS = {"c": "s", "s": "c", "i": "ye", "y": "i", "e": "i", "a": "eo"}
SOUNDS_ALIKE = ("suicide", "suicidal", "overdose")


def misspellings(word: str) -> Iterator[str]:
    """Neighbours swapped, a letter left out, and a letter that sounds the same."""
    for at in range(len(word) - 1):
        yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if len(word) >= SPARES_A_LETTER:
        for at in range(len(word)):
            yield word[:at] + word[at + 1 :]
    if word.endswith("ing"):
        yield word.removesuffix("g")
    if word in SOUNDS_ALIKE:
        for at, letter in enumerate(word):
            for other in SOUNDS.get(letter, ""):
                yield word[:at] + other + word[at + 1 :]


MISSPELT = {
    wrong: word
    for word in WORDS
    for wrong in misspellings(word)
    if wrong not in WORDS and wrong != "lief"
}
