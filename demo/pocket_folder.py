"""The pocket folder: page, engine and model as static files, each named by what it is.

In: an exported .gguf. Out: `Built`: a folder whose `pocket.json` says what the file is and how the
runtime prompts and samples with it (`distill runtime describe`), the model cut into parts that any
static host takes, and a service worker that names them all by digest. Refused: what the runtime
refuses of the file, a file of 2 GB or more (Unsupported), a folder that holds something else
(BadInput), and a vendored file that differs from its record (CheckFailed).
"""

import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from distill.core.command import BY_LANGUAGE
from distill.core.errors import BadInput, CheckFailed, MissingInput, Unsupported
from distill.core.jsonl import read_json, sha256_of

MARK = "pocket.json"
SOURCES = Path(str(resources.files("demo"))) / "pocket"
PART_BYTES = 24 * 2**20  # some hosts take no file over 25 MB; a broken load begins here again
MOST_BYTES = 2**31 - 1  # what the module's file system can address
FRONT = re.compile(r"\A---\n.*?\n---\n|<!--.*?-->\n?", re.DOTALL)  # for programs, not for people
CARD, REPORTS = "README.md", ("report.html", "../report/report.html")


@dataclass(frozen=True)
class Part:
    """A piece of the model, and the path at which the page finds it."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Built:
    """What was written."""

    folder: Path
    version: str
    size_bytes: int
    model_bytes: int
    model_sha256: str
    parts: list[Part]
    remarks: list[str]

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder)}


def is_built(folder: Path) -> bool:
    return folder.is_dir() and (folder / MARK).is_file()


def build(
    artifact: Path, folder: Path, report: Path | None, guard_locale: str, guard_policy: Path | None
) -> Built:
    """Write the folder, whole or not at all; an earlier one of ours is replaced."""
    if folder.exists() and not is_built(folder) and (folder.is_file() or any(folder.iterdir())):
        raise BadInput(f"{folder} holds something else; give --out a new folder, or empty it")
    if artifact.stat().st_size > MOST_BYTES:
        raise Unsupported(
            f"{artifact} has {artifact.stat().st_size / 1e9:.1f} GB, and a page holds files below "
            "2.1 GB; export it with fewer bits"
        )
    check_vendored()
    settings = described(artifact, guard_locale, guard_policy)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as near:
        made, old = Path(near) / "made", Path(near) / "old"
        built = write(artifact, made, report, settings)
        if folder.exists():
            folder.rename(old)
        made.rename(folder)
    return replace(built, folder=folder)


def write(artifact: Path, made: Path, report: Path | None, settings: dict[str, Any]) -> Built:
    shutil.copytree(SOURCES / "page", made, ignore=shutil.ignore_patterns("sw.js", "about.html"))
    shutil.copytree(SOURCES / "vendor", made / "vendor")
    parts, digest = copied_in_parts(artifact, made)
    (made / "about").mkdir()
    write_page(made / "about/licences.html", "Licences", licences())
    card = artifact.parent / CARD
    if card.is_file():
        told = FRONT.sub("", card.read_text("utf-8", "replace"))
        write_page(made / "about/card.html", "Model card", told)
    found, remarks = report_of(artifact, digest, report)
    if found:
        shutil.copyfile(found, made / "about/report.html")
    write_compact(made / "guard.json", settings.pop("guard"))
    sizes = {"sha256": digest, "size_bytes": artifact.stat().st_size}
    about = {
        "kindred_pocket": 1,
        "model": {**sizes, "parts": [asdict(part) for part in parts]},
        "card": card.is_file(),
        "report": found is not None,
        "settings": settings,
    }
    write_compact(made / MARK, about)
    version = write_worker(made, {part.path for part in parts})
    size_bytes = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    return Built(made, version, size_bytes, artifact.stat().st_size, digest, parts, remarks)


def described(artifact: Path, guard_locale: str, guard_policy: Path | None) -> dict[str, Any]:
    """How the runtime would answer with this file, which it checks and opens."""
    argv = [sys.executable, "-m", "runtime", "describe", str(artifact), "--json"]
    by_language = guard_locale == BY_LANGUAGE
    argv += ["--guard-locale", "default" if by_language else guard_locale]
    argv += ["--guard-policy", str(guard_policy)] if guard_policy else []
    done = subprocess.run(argv, capture_output=True, encoding="utf-8")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise BadInput(f"{artifact} cannot be described: {lines[-1]}") from None
    if done.returncode:
        raise (CheckFailed if done.returncode == 1 else BadInput)(found["error"])
    assert isinstance(found, dict)
    if by_language:
        found["guard"]["help"]["locale"] = BY_LANGUAGE
    return found


def copied_in_parts(artifact: Path, made: Path) -> tuple[list[Part], str]:
    (made / "model").mkdir()
    whole, parts = hashlib.sha256(), []
    with artifact.open("rb") as file:
        while data := file.read(PART_BYTES):
            whole.update(data)
            digest = hashlib.sha256(data).hexdigest()
            path = f"model/{digest[:16]}.bin"
            (made / path).write_bytes(data)
            parts.append(Part(path, len(data), digest))
    return parts, whole.hexdigest()


def report_of(artifact: Path, digest: str, report: Path | None) -> tuple[Path | None, list[str]]:
    """The report to show: the one given, or one beside the file that speaks of this very file."""
    if report:
        if not report.is_file():
            raise MissingInput(f"{report} does not exist; write it with: distill eval report")
        return report, []
    for place in REPORTS:
        found = artifact.parent / place
        if found.is_file():
            if digest[:12] in found.read_text("utf-8", "replace"):
                return found, []
            return None, [f"{found} is about another file, and left out; --report takes it anyway"]
    return None, []


def check_vendored() -> None:
    """Every vendored file is as its record says."""
    for package in read_json(SOURCES / "vendor/VENDOR.json")["packages"]:
        for name, recorded in package["files"].items():
            path = SOURCES / "vendor" / name
            if not path.is_file() or sha256_of(path) != recorded["sha256"]:
                raise CheckFailed(
                    f"{path} is not that of {package['name']} {package['version']}; "
                    "install kindred-slm again"
                )


def licences() -> str:
    found = sorted((SOURCES / "vendor").glob("*.LICENSE"))
    ours = "This page is part of Kindred, under the Apache License 2.0. It contains:\n"
    return "\n".join([ours, *(f"{path.stem}\n\n{path.read_text('utf-8')}" for path in found)])


def write_page(path: Path, title: str, text: str) -> None:
    page = (SOURCES / "page/about.html").read_text("utf-8")
    page = page.replace("{{title}}", html.escape(title)).replace("{{text}}", html.escape(text))
    path.write_text(page, "utf-8")


def write_compact(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")


def write_worker(made: Path, model: set[str]) -> str:
    """The service worker, which keeps all but the model; its version is a digest of everything."""
    files = dict(digests(made))
    version = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
    shell = json.dumps([path for path in files if path not in model])
    worker = (SOURCES / "page/sw.js").read_text("utf-8")
    worker = worker.replace("{{version}}", version).replace("{{shell}}", shell)
    (made / "sw.js").write_text(worker, "utf-8")
    return version


def digests(made: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(made.rglob("*")):
        if path.is_file():
            yield path.relative_to(made).as_posix(), sha256_of(path)
