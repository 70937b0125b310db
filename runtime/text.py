"""From tokens' bytes to text that may be shown.

In: the bytes of one token after another. Out: text in whole characters, ending before the first
stop string.
"""

import codecs
from collections.abc import Sequence


class TextFlow:
    """Text as it becomes certain: what may still turn into a stop string is held back."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.stops = tuple(stops)
        self.stopped = False
        self._held = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, data: bytes) -> str:
        """Take one token's bytes; return the text that is now certain."""
        text = self._decoder.decode(data)
        return self._release(text) if self.stops else text

    def finish(self) -> str:
        """The rest, once no token follows; half a character becomes U+FFFD."""
        text = self._release(self._decoder.decode(b"", final=True))
        if not self.stopped:
            text, self._held = text + self._held, ""
        return text

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        places = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        certain = len(text) - max((overlap(text, stop) for stop in self.stops), default=0)
        self._held = text[certain:]
        return text[:certain]


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[-n:])), 0)


def half_pair_in(text: str) -> bool:
    """Whether a text holds half a surrogate pair, which no encoding can write."""
    return any("\ud800" <= character <= "\udfff" for character in text)
