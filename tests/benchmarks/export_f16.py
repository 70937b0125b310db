"""The F16 export of a large random checkpoint beside llama.cpp's own converter.

    python -m tests.benchmarks.export_f16 --converter convert_hf_to_gguf.py [--layers 16] [--runs 3]

The converter lies in the source archive of llama-cpp-python (vendor/llama.cpp), next to its
`conversion` folder. Each run is a process of its own, and the two take turns in going first, each
on a disk that has nothing left to write. Seconds are those of the clock, CPU seconds those of user
and system together, which hardly depend on what else the machine does; peak memory is the highest
resident size (mapped pages included). Without `--converter` only ours runs.
The tokenizer is a small SentencePiece-like one: the converter knows byte-level ones by digest only.
Its import of sentencepiece is met by an empty module, as there is no .model file to read.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OURS = (
    "import sys; from pathlib import Path; "
    "from export.checkpoint import open_checkpoint; from export.f16 import write_f16; "
    "write_f16(open_checkpoint(Path(sys.argv[1])), Path(sys.argv[2]))"
)


def measured(line: list[str], modules: Path) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak megabytes of a process."""
    os.sync()
    began = time.perf_counter()
    process = subprocess.Popen(
        line,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{modules}{os.pathsep}{Path.cwd()}"},
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(said.decode("utf-8", "replace")[-2000:])
    took = time.perf_counter() - began
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def make(folder: Path, hidden: int, layers: int) -> None:
    """A random student of Llama 3.2's proportions in bfloat16."""
    from tests.export.students import lively_student
    from tests.export.test_vocabulary import dressed, sentencepiece_like

    lively_student(
        folder,
        tokenizer=dressed(sentencepiece_like(), unk_token="<unk>"),
        dtype="bfloat16",
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 256,
        vocab_size=64 * hidden,
        tie_word_embeddings=True,
        initializer_range=0.02,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--converter", type=Path)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make:
        make(asked.make, asked.hidden, asked.layers)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        student = folder / "student"
        # A process counts what its parent held when it began, so the parent stays small.
        again = [sys.executable, "-m", __spec__.name, "--make", str(student)]
        again += ["--hidden", str(asked.hidden), "--layers", str(asked.layers)]
        subprocess.run(again, check=True, stderr=subprocess.DEVNULL)
        (folder / "sentencepiece.py").write_text("SentencePieceProcessor = None")
        weights = sum(p.stat().st_size for p in student.glob("*.safetensors")) // 2
        lines = {"ours": [sys.executable, "-c", OURS, str(student), str(folder / "ours.gguf")]}
        if asked.converter:
            options = ["--outtype", "f16", "--outfile", str(folder / "theirs.gguf")]
            lines["theirs"] = [sys.executable, str(asked.converter), str(student), *options]
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in lines}
        for number in range(asked.runs):
            for name in sorted(lines, reverse=bool(number % 2)):
                found[name].append(measured(lines[name], folder))
                print(name, *(f"{figure:.1f}" for figure in found[name][-1]), flush=True)
        names = ("seconds", "cpu_seconds", "peak_megabytes")
        medians = {}
        for name, runs in found.items():
            middle = (round(statistics.median(column), 1) for column in zip(*runs, strict=True))
            medians[name] = dict(zip(names, middle, strict=True))
        print(json.dumps({"weights": weights, "runs": asked.runs, **medians}, indent=1))


if __name__ == "__main__":
    main()
