"""Extras of the package, and whether what they ask for is installed and loads.

In: the metadata of the installed package. Out: a check an extra, and one for each library that is
native code, loaded in a process of its own, since a broken one may end the process that loads it.
Nothing is refused.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

from distill.checkup.check import Check, verdict
from distill.core.command import PACKAGE

WALK = ("train", "export", "runtime", "eval")
NOT_OURS_TO_CHECK = ("all", "dev", "docs")
REQUIREMENT = re.compile(r"([\w.-]+)>=([\d.]+) *; *extra *== *['\"](\w+)['\"]")
LOAD_S = 180

NATIVE = {
    "torch": (
        "import torch; print(json.dumps({'version': torch.__version__, 'gpus': ["
        "f'{p.name}, {p.total_memory / 2**30:.0f} GiB' for p in map("
        "torch.cuda.get_device_properties, range(torch.cuda.device_count()))],"
        "'metal': torch.backends.mps.is_available()}))"
    ),
    "llama_cpp": (
        "import llama_cpp; print(json.dumps({'version': llama_cpp.__version__, "
        "'gpu_offload': bool(llama_cpp.llama_supports_gpu_offload())}))"
    ),
    "onnxruntime": (
        "import onnxruntime as o; print(json.dumps({'version': o.__version__, "
        "'providers': o.get_available_providers()}))"
    ),
}
WHEEL_OF = {"llama_cpp": "llama-cpp-python"}


def installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def extras(requirements: list[str]) -> dict[str, list[tuple[str, str]]]:
    """Extra -> (package, lowest version), from the lines of the metadata."""
    table: dict[str, list[tuple[str, str]]] = {}
    for line in requirements:
        if (found := REQUIREMENT.match(line)) and found[3] not in NOT_OURS_TO_CHECK:
            table.setdefault(found[3], []).append((found[1], found[2]))
    return table


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def check_extras(
    table: Mapping[str, list[tuple[str, str]]],
    version_of: Callable[[str], str | None] = installed_version,
) -> list[Check]:
    """One check an extra: what it lacks, or what it has."""
    checks = []
    for extra, wanted in table.items():
        have = {name: version_of(name) for name, _ in wanted}
        absent = [name for name, _ in wanted if have[name] is None]
        lacks = [f"not installed: {', '.join(absent)}"] if absent else []
        lacks += [
            f"{name} {have[name]} is older than {lowest}"
            for name, lowest in wanted
            if (found := have[name]) and number(found) < number(lowest)
        ]
        text = "; ".join(lacks) or ", ".join(f"{name} {found}" for name, found in have.items())
        remedy = f"pip install '{PACKAGE}[{extra}]'" if lacks else ""
        checks.append(Check(f"extra {extra}", verdict(not lacks, extra in WALK), text, remedy))
    return checks


def loaded(name: str) -> dict[str, Any]:
    """What a native library says of itself, or `error` with the last line of its failure."""
    argv = [sys.executable, "-c", f"import json; {NATIVE[name]}"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LOAD_S, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"did not load within {LOAD_S} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        return {"error": lines[-1]}
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def load_natives(
    load: Callable[[str], dict[str, Any]] = loaded,
    version_of: Callable[[str], str | None] = installed_version,
) -> dict[str, dict[str, Any]]:
    """What each native library that is installed says when it is loaded."""
    here = [name for name in NATIVE if version_of(WHEEL_OF.get(name, name))]
    with ThreadPoolExecutor() as pool:
        return dict(zip(here, pool.map(load, here), strict=True))


def check_natives(said: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """One check a native library: it loads, or why not."""
    checks = []
    for name, answer in said.items():
        wheel = WHEEL_OF.get(name, name)
        if error := answer.get("error"):
            remedy = f"pip install --force-reinstall --no-deps {wheel}"
            state = verdict(False, needed=name != "onnxruntime")
            checks.append(Check(f"loads {name}", state, str(error), remedy))
        else:
            checks.append(Check(f"loads {name}", "ok", f"{wheel} {answer['version']}"))
    return checks
