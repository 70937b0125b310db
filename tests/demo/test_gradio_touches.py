"""Where Gradio's inside is touched, it still is as we take it to be.

A failure here means that Gradio has changed: `demo/gradio_touches.py` names both places.
"""

import json
import subprocess
import sys

import pytest

from demo.gradio_touches import IDLE_S

LOOK = """
import asyncio, json, sys
from demo.gradio_touches import import_gradio, rest_when_idle

stubs, waited = [], []

def hear(event, found):
    if event == "open" and str(found[0]).endswith(".pyi"):
        stubs.append(found[0])

sys.addaudithook(hear)
import_gradio()
ours = len(stubs)
import gradio
from gradio import queueing

class Own(gradio.Textbox):
    pass

with gradio.Blocks(analytics_enabled=False) as blocks:
    pass
rest_when_idle(blocks)

async def sleep(seconds):
    waited.append(seconds)
    blocks._queue.stopped = True

queueing.asyncio.sleep = sleep
asyncio.run(blocks._queue.start_processing())
print(json.dumps({"ours": ours, "others": len(stubs) - ours, "waited": waited}))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a fresh process sees; its code lies in a file, as Gradio wants it of a class."""
    file = tmp_path_factory.mktemp("look") / "own.py"
    file.write_text(LOOK)
    argv = [sys.executable, str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_gradio_is_imported_without_its_stubs_and_still_reads_those_of_others(seen):
    assert seen["ours"] == 0, "Gradio reads its stubs again: find what import_gradio should skip"
    assert seen["others"] > 0, "Gradio finds stubs in another way: import_gradio skips nothing now"


def test_gradio_still_waits_by_the_number_that_we_set(seen):
    assert seen["waited"] == [IDLE_S], "Gradio waits otherwise: mend rest_when_idle, or delete it"
