"""Texts on which tokenizers differ: what people, programs and broken pipes write.

In: how many, and a seed. Out: that many strings, always the same for a seed.
"""

import random

WORDS = (
    "Hello there how's it going I've we'LL DON'T he'd IT'S o'clock Straße naïve café “quoted” "
    "sister’s HTTPServer camelCase snake_case e.g. Mr. co-operate re–read x2 4th Zürich ÉCOLE "
    "smørrebrød żółć ΑΒΓ Ελλάδα Привет как дела ДОМ שלום مرحبا नमस्ते हिन्दी ภาษาไทย "
    "東京に行きました。 中文字符 你好吗？ 日本語カタカナ 안녕하세요 한국어 "
    "ქართული հայերեն አማርኛ Việt İstanbul"
)
EMOJI = "😀 👍🏽 👩‍👩‍👧 🇨🇭 ❤️ 🏳️‍🌈 1️⃣ 🫠 ☹ ✨ 🤦🏻‍♀️"
CODE = (
    "def f(x, y=None):\n    return x[::-1] + y\n",
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n",
    '{"id": 17, "tags": ["a", "b"], "ok": true}',
    "SELECT * FROM t WHERE a <> 'b' -- c",
    "x=foo_bar(1.5e-3)   # 100% fine",
    "<div class='a'>&nbsp;&#39;</div>",
    "https://example.org/a?b=c&d=%20#e",
    "$$\\frac{1}{2}\\sum_{i=0}^n x_i$$",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "```python\nprint('hi')\n```",
)
NUMBERS = "7 42 365 2024 12345 654321 1,000,000 3.14159 -0.5 1e10 0x1F ½ ² ٣٤٥ Ⅳ 50% €9.99 12:30"
SPACES = (
    " ",
    " ",
    " ",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\n\n\n",
    "\t",
    " \t ",
    "\r\n",
    " \n",
    "\n ",
)
RARE_SPACES = ("\u00a0", "\u3000", "\u200b", "\u2009")
MARKS = "! ? ... … , ; : — - ' \" ( ) [] !!! ?! ~~ *** ## @ // \\ ^_^ :-) <3 -> « »"
BROKEN = (b"caf\xc3", b"\xff\xfe", b"\xe6\x9d", b"a\x80b", b"\xf0\x9f\x98", b"ok \xc0\xaf")
# What a program makes of such bytes when it reads them as text: U+FFFD for each.
REPAIRED = tuple(broken.decode("utf-8", "replace") for broken in BROKEN)
KINDS = (*(listed.split(" ") for listed in (WORDS, NUMBERS, MARKS, EMOJI)), CODE, REPAIRED)
WEIGHTS = (60, 14, 12, 8, 4, 2)


def varied(count: int, seed: int = 0) -> list[str]:
    """Strings of one to a dozen parts: words, numbers, code, emoji, marks, spaces of any kind."""
    chance = random.Random(seed)
    return [text_of(chance) for _ in range(count)]


def text_of(chance: random.Random) -> str:
    parts: list[str] = []
    for _ in range(chance.randint(1, 12)):
        parts.append(chance.choice(chance.choices(KINDS, WEIGHTS)[0]))
        if chance.random() < 0.85:
            rare = chance.random() < 0.02
            parts.append(chance.choice(RARE_SPACES if rare else SPACES))
    return "".join(parts)
