"""What the server is asked while it is timed: openings of chats, and prompts of a known length.

In: a function that says how many tokens a conversation has. Out: conversations. A prompt of so many
tokens is exact where the text allows it, and else the nearest below. Nothing is refused.
"""

from collections.abc import Callable
from itertools import cycle, islice

Messages = list[dict[str, str]]

OPENINGS = (
    "My sister has not called since we argued, and I keep looking at my phone.",
    "I passed the exam that I failed twice before!",
    "We had to give our dog away today and the flat is so quiet.",
    "My boss praised a colleague for the work that I did.",
    "I am moving to another town next week and I know nobody there.",
    "My daughter took her first steps this morning.",
    "I have not slept well for a month and I snap at everyone.",
    "An old friend wrote to me after ten years.",
    "They found something on the scan and now I have to wait until Friday.",
    "I finally told my parents what I really want to study.",
)
STORY = (
    "we walked along the river after the rain and talked about the house and the garden and who "
    "would take the old table and why nobody had asked her before the letter came and she said "
    "that she would think about it and call me in the evening but the evening went by and then "
    "the week and I did not know if I should write or wait or simply go there and knock"
)
# The first word differs from prompt to prompt, so that no earlier one is in the cache.
NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "James")
TRIES = 6


def user(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def story(words: int, first: int, fill: int = 0) -> Messages:
    """So many words of one story, told by the narrator `first`, and so many short words after."""
    told = islice(cycle(STORY.split()), words)
    again, place = divmod(first, len(NAMES))
    narrator = f"{NAMES[place]} {again}:" if again else f"{NAMES[place]}:"
    return user(" ".join([narrator, *told, *(["a"] * fill)]))


def of_length(tokens: int, count: Callable[[Messages], int]) -> tuple[int, int]:
    """`words` and `fill` with which a story has `tokens` tokens, or the most below that.

    A word is nearly always a token or a little more, so a few tries of a straight line find it.
    """
    few, many = count(story(8, 0)), count(story(40, 0))
    per_word = max((many - few) / 32, 0.5)
    words, best = max(int(8 + (tokens - few) / per_word), 0), 0
    for _ in range(TRIES):
        found = count(story(words, 0))
        if found <= tokens:
            best = max(best, words)
        step = int((tokens - found) / per_word)
        if not step:
            break
        words = max(words + step, 0)
    fill = max(tokens - count(story(best, 0)), 0)
    return (best, fill) if fill and count(story(best, 0, fill)) <= tokens else (best, 0)
