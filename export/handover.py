"""What a person needs who is handed the folder: a card, a Modelfile, the lines to type.

In: a checkpoint and the manifests of a folder. Out: `README.md`, about every GGUF file and ONNX
folder there that has a manifest, and a Modelfile for each GGUF file. A README.md of somebody
else's is left as it is.
"""

import re
from pathlib import Path
from typing import Any

from distill.core.jsonl import read_json, write_text
from distill.core.manifest import BESIDE, ArtifactManifest, read_manifest
from distill.core.progress import say
from export.calibration import SUFFIX
from export.checkpoint import Checkpoint
from export.modelfile import modelfile

CARD, OURS = "README.md", "<!-- written by distill export; it is written anew at each export -->"
# As the Hugging Face hub names them; a card names one, the first of these that is there.
LIBRARIES = {"gguf": "gguf", "onnx": "onnxruntime-genai"}
FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)

INTRO = """# {name}, for the device

Files of the student `{name}`, written and checked by [Kindred](https://pypi.org/project/kindred-slm/).
Each stands beside a manifest with the digests of file, student, data and calibration text.
"""

GGUF_LINES = """## Run the GGUF file

```sh
distill runtime serve {file} --port 8080             # OpenAI-compatible, with the guard
llama-server -m {file} --jinja -c {context}                # llama.cpp
ollama create {name} -f {modelfile} && ollama run {name}
lms import {file} && lms load {stem}      # LM Studio
distill export verify {file} STUDENT              # is it still the student? at any time
```

- Android: llama.cpp's `examples/llama.android`, or build the library with the NDK and open the file
  from the app's own storage (it is mapped, not read).
- iOS: llama.cpp's `examples/llama.swiftui` and its XCFramework; put the file into the app's
  documents folder.
"""

ONNX_LINES = """## Run the ONNX folder

```sh
distill runtime serve {file} --port 8080             # OpenAI-compatible, with the guard
distill export verify {file} STUDENT              # is it still the student? at any time
```

- onnxruntime-genai opens the same folder: `onnxruntime_genai.Model("{file}")`.
- Android: the Java API of onnxruntime-genai; iOS: its C API. Copy the whole folder to the device.
"""

GUARD = """Only `distill runtime` has the guard that names people who can help; another runtime
needs its own.
"""

LIMITS = """## Limits

It is no therapist and no crisis service, it can be wrong, and what it says is not advice.
"""


def modelfile_path(artifact: Path) -> Path:
    return artifact.with_suffix(".Modelfile")


def write_handover(checkpoint: Checkpoint, artifact: Path) -> None:
    """Write the card anew, and for a GGUF file its Modelfile."""
    if not artifact.is_dir():
        write_text(modelfile_path(artifact), modelfile(checkpoint, artifact.name))
    card = artifact.parent / CARD
    if card.exists() and OURS not in card.read_text("utf-8"):
        say(f"{card} is somebody else's and stays; the figures are in the manifest alone")
        return
    write_text(card, card_text(checkpoint, artifact))


def card_text(checkpoint: Checkpoint, artifact: Path) -> str:
    """The model card of the folder in which `artifact` stands."""
    beside = sorted(artifact.parent.glob(f"*{BESIDE}"))
    names = [path.name.removesuffix(BESIDE) for path in beside]
    manifests = [(name, read_manifest(artifact.with_name(name))) for name in names]
    licence, chain = licence_chain(checkpoint, manifests[0][1])
    name = checkpoint.folder.resolve().name
    shown = {manifest.format: own for own, manifest in manifests}
    shown[dict(manifests)[artifact.name].format] = artifact.name
    front = ["---", *([f"license: {licence}"] if licence else [])]
    library = next(library for kind, library in LIBRARIES.items() if kind in shown)
    front += [f"library_name: {library}", "pipeline_tag: text-generation"]
    front += [f"tags: [{', '.join(['empathy', 'kindred', *sorted(shown)])}]", "---", OURS]
    parts = [
        "\n".join(front),
        INTRO.format(name=name),
        "\n".join(["## Files", "", *file_rows(manifests)]) + "\n",
        "\n".join(["## Checked against the student", "", *gate_rows(manifests)]) + "\n",
        *(run_lines(checkpoint, kind, file) for kind, file in sorted(shown.items())),
        GUARD,
        "\n".join(["## Licence and origin", "", *chain]) + "\n",
        LIMITS,
    ]
    return "\n".join(parts)


def run_lines(checkpoint: Checkpoint, kind: str, file: str) -> str:
    """How one of the files is run, in the words of its format."""
    template = {"gguf": GGUF_LINES, "onnx": ONNX_LINES}[kind]
    return template.format(
        file=file,
        stem=Path(file).stem,
        name=checkpoint.folder.resolve().name,
        modelfile=modelfile_path(Path(file)).name,
        context=min(checkpoint.config.max_position_embeddings, 4096),
    )


def file_rows(manifests: list[tuple[str, ArtifactManifest]]) -> list[str]:
    rows = ["| file | MB | bits per weight | importance from |", "| --- | --- | --- | --- |"]
    for name, manifest in manifests:
        bits = manifest.quantization.get("bits_per_weight")
        text = (manifest.quantization.get("importance") or {}).get("text", "-")
        own = (file for file in manifest.files if not file.path.endswith(SUFFIX))
        size = sum(file.size_bytes for file in own) / 1e6
        rows.append(
            f"| `{name}` | {size:.1f} | {'-' if bits is None else f'{bits:.2f}'} | {text} |"
        )
    return rows


def gate_rows(manifests: list[tuple[str, ArtifactManifest]]) -> list[str]:
    head = ["| file | against | mean KLD (limit) | top-1 (limit) | text |"]
    rows = [*head, "| --- | --- | --- | --- | --- |"]
    for name, manifest in manifests:
        for link in manifest.parity["links"]:
            rows.append(gate_row(name, link, manifest.parity))
        if not manifest.parity["links"]:
            rows.append(f"| `{name}` | - | not checked | not checked | - |")
    return rows


def gate_row(name: str, link: dict[str, Any], parity: dict[str, Any]) -> str:
    return (
        f"| `{name}`: {link['candidate']} | {link['reference']} "
        f"| {link['mean_kld']:.2g} ({link['most_mean_kld']:g}) "
        f"| {link['top1']:.1%} ({link['least_top1']:.0%}) "
        f"| {parity['conversations']} conversations, {parity['text']} |"
    )


def licence_chain(
    checkpoint: Checkpoint, manifest: ArtifactManifest
) -> tuple[str | None, list[str]]:
    """The student's licence as its card states it, and who else has a say."""
    front = front_matter(checkpoint.folder)
    licence = front.get("license")
    base = manifest.base or base_of(checkpoint) or front.get("base_model")
    own = f"licence `{licence}` by its README.md" if licence else "no licence stated in a README.md"
    chain = [
        f"- these files: what holds for the student; {manifest.student_sha256[:12]} is its digest",
        f"- student `{checkpoint.folder.resolve().name}`: {own}",
        f"- base `{base}`: its own licence holds for everything derived from it"
        if base
        else "- base: not known",
    ]
    chain += [f"- data `{k}` (sha256 `{v[:12]}`)" for k, v in manifest.data_sha256.items()]
    return (str(licence) if licence else None), chain


def front_matter(folder: Path) -> dict[str, Any]:
    import yaml

    card = folder / CARD
    found = FRONT.match(card.read_text("utf-8", errors="replace")) if card.exists() else None
    try:
        values = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        values = None
    return values if isinstance(values, dict) else {}


def base_of(checkpoint: Checkpoint) -> str | None:
    adapter = checkpoint.folder / "adapter_config.json"
    return read_json(adapter).get("base_model_name_or_path") if adapter.exists() else None
