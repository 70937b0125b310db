"""What a shell offers for a value, in a process in which nothing heavy can be imported."""

import json
import subprocess
import sys

import pytest

ASKED = {
    "distill train pride-qwen": ["pride-qwen2.5-7b-0.5b", "pride-qwen2.5-7b-3b"],
    "distill train pride pride-f": ["pride-few"],
    "distill sweep ": ["paper-sweep"],
    "distill quickstart --recipe smol": ["smollm2-135m-instruct"],
    "distill quickstart --method ": ["two-step", "pride"],
    "distill gather starter cur": ["curriculum"],
    "distill improve data --strategy c": ["cognitive", "compassionate"],
    "distill improve data --over h": ["human"],
    "distill compose data --rule improved-": ["improved-human", "improved-llm"],
    "distill compose data --format ll": ["llamafactory"],
    "distill compose data --strategy seq": ["sequential"],
    "distill curate data --rules lo": ["loop"],
    "distill annotate data --teacher gem": ["gemini:"],
    "distill eval winrate a b --judge e": ["embedded"],
    "distill eval compare a b --rubric aff": ["affective"],
    "distill eval scoring fit data --classifier f": ["forest"],
    "distill eval scoring fit data --select k": ["k-best"],
    "distill export gguf student --type Q4_K": ["Q4_K_M", "Q4_K_S"],
    "distill export gguf student --device l": ["laptop"],
    "distill runtime serve file --device-profile phone-4": ["phone-4gb"],
    "distill runtime serve file --guard-locale a": ["auto"],
    "distill runtime chat file --guard-locale en-G": ["en-GB"],
    "distill demo chat file --guard-locale d": ["default", "de-DE"],
    "distill demo chat file --guard-locale a": ["auto"],
    "distill demo pocket file --guard-locale a": ["auto"],
    "distill eval latency file --profile phone-4": ["phone-4gb"],
    "distill eval winrate a b --protocol x": ["xie2025"],
}
ASK = """
import contextlib, io, json, os, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "trl", "gradio", "sklearn", "scipy"):
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Block())
from importlib import util
from distill.cli import COMMANDS
from distill.core.command import main

util.find_spec = lambda name: name  # every extra is there, and none is loaded
offered = {}
for line in json.loads(sys.argv[1]):
    count = len(line.split(" ")) - 1
    asked = {"_DISTILL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(count)}
    os.environ.update(asked)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main("distill", "", COMMANDS)
    offered[line] = out.getvalue().split()
print(json.dumps(offered))
"""


@pytest.fixture(scope="module")
def offered():
    argv = [sys.executable, "-c", ASK, json.dumps(list(ASKED))]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", ASKED)
def test_a_shell_is_offered_the_values_that_begin_so(offered, line):
    assert offered[line] == ASKED[line]
