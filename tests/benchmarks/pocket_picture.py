"""The picture in docs/pocket.md: how one begins, in light; help before the model's words, in dark.

In: an exported file. Out: one PNG, both pages side by side as a phone shows them. The speeds under
the replies are those of the moment, so take it while the machine has nothing else to do.

python -m tests.benchmarks.pocket_picture FILE docs/images/pocket.png
"""

import argparse
import io
import os
import tempfile
from pathlib import Path

from PIL import Image

from demo.pocket_folder import build
from distill.core.command import BY_LANGUAGE
from tests.demo.chromium import browser
from tests.demo.pocket_site import PHONE, hosted, reply

SAID = ("My best friend moved away last week.", "I do not want to live any more.")
SCALE, GAP, COLOURS = 1.125, 22, 128


def photographed(chromium, url, scheme, said):
    """The page in a fresh profile after these messages."""
    look = {"color_scheme": scheme, "locale": "en-GB", "device_scale_factor": SCALE}
    context = chromium.new_context(**PHONE, **look)
    page = context.new_page()
    page.goto(url)
    page.locator("body[data-state=ready]").wait_for(timeout=60_000)
    for number, text in enumerate(said, 1):
        reply(page, text, number)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    return picture


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as near, browser() as chromium:
        folder = build(options.file, Path(near) / "pocket", None, BY_LANGUAGE, None).folder
        with hosted(folder) as url:
            left = photographed(chromium, url, "light", ())
            right = photographed(chromium, url, "dark", SAID)
    both = Image.new("RGB", (left.width + GAP + right.width, left.height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + GAP, 0))
    both.quantize(COLOURS).save(options.picture, optimize=True)
    print(f"{options.picture}: load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
