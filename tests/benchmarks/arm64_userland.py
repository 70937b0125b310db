"""A small ARM64 system in a folder, in which qemu runs Kindred's runtime.

In: a folder to keep it in, Debian's and Python's package indexes. Out: `Userland`, whose `line`
starts its Python; made once, about fifteen processor minutes, nearly all of them for llama.cpp.
Refused: a machine that lacks the tools (MissingInput), a step that fails (Unavailable). Nothing is
installed in this machine's own system: apt and pip get folders of their own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from distill.core.errors import MissingInput, Unavailable

ROOT = Path(__file__).parents[2]
TOOLS = {
    "qemu-aarch64": "qemu-user",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "cmake": "cmake",
    "make": "make",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}
DEBIAN = ("python3", "libstdc++6")
# What `runtime.load` imports, in the versions that run here; --no-deps keeps the rest out.
WHEELS = (
    *("numpy", "pydantic", "pydantic-core", "annotated-types", "typing-extensions"),
    *("typing-inspection", "pyyaml", "jinja2", "markupsafe", "diskcache", "onnxruntime"),
    *("tokenizers", "huggingface-hub"),
)
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
SOURCES = (
    "CMakeLists.txt",
    "LICENSE",
    "cmake/",
    "ggml/",
    "include/",
    "licenses/",
    "src/",
    "vendor/",
)
# A phone's core since 2018. Its dot products are what llama.cpp's repacked 4-bit kernels need.
PROCESSOR, ARCHITECTURE = "cortex-a76", "armv8.2-a+dotprod+fp16"
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_SYSTEM_NAME": "Linux",
    "CMAKE_SYSTEM_PROCESSOR": "aarch64",
    "CMAKE_C_COMPILER": "aarch64-linux-gnu-gcc",
    "CMAKE_CXX_COMPILER": "aarch64-linux-gnu-g++",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "CMAKE_INSTALL_RPATH": "$ORIGIN",
    "BUILD_SHARED_LIBS": "ON",
    "GGML_NATIVE": "OFF",
    "GGML_OPENMP": "OFF",
    "GGML_CPU_ARM_ARCH": ARCHITECTURE,
    "LLAMA_OPENSSL": "OFF",
    **{f"LLAMA_BUILD_{part}": "OFF" for part in ("COMMON", "TESTS", "TOOLS", "EXAMPLES", "APP")},
}
# onnxruntime reads /proc/cpuinfo and falls over that of x86-64; qemu looks in its root first.
CORE = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimdrdm lrcpc asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 0

"""


class Userland:
    """The folder, once everything is in it."""

    def __init__(self, folder: Path) -> None:
        digest = hashlib.sha256(" ".join(pins()).encode()).hexdigest()
        self.root, self.site = folder / "root", folder / f"site-{digest[:8]}"
        self.llama = folder / f"llama-{version('llama-cpp-python')}"

    @property
    def python(self) -> list[str | Path]:
        interpreter = self.root / "usr/bin/python3"
        return ["qemu-aarch64", "-cpu", PROCESSOR, "-L", self.root, interpreter]

    @property
    def environment(self) -> dict[str, str]:
        given = {
            name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ
        }
        paths = os.pathsep.join(str(path) for path in (self.llama, self.site, ROOT))
        return {**given, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}


def refuse_without_tools() -> None:
    lacking = {tool: package for tool, package in TOOLS.items() if shutil.which(tool) is None}
    if lacking:
        raise MissingInput(
            f"{', '.join(lacking)} not found; on Debian install with: "
            f"apt-get install {' '.join(lacking.values())}"
        )


def ready(folder: Path) -> Userland:
    """Make what is not there yet; each part appears under its name only once it is whole."""
    refuse_without_tools()
    made = Userland(folder.resolve())
    for part, make in ((made.root, debian), (made.site, wheels), (made.llama, llama)):
        if not part.exists():
            work = part.with_name(f"{part.name}.part")
            work.mkdir(parents=True, exist_ok=True)
            print(f"making {part.name} ...", flush=True)
            make(work, made)
            work.rename(part)
    return made


def debian(work: Path, _: Userland) -> None:
    """An unpacked Python for ARM64, by an apt with lists and caches of its own."""
    apt = work.with_name("apt")
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
    }
    line = ["apt-get", "-qq", *[f"-o{name}={value}" for name, value in settings.items()]]
    run([*line, "update"])
    run([*line, "--yes", "--download-only", "--no-install-recommends", "install", *DEBIAN])
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        run(["dpkg-deb", "--extract", package, work])
    (work / "proc").mkdir(exist_ok=True)
    (work / "proc/cpuinfo").write_text(CORE)
    shutil.rmtree(apt)


def wheels(work: Path, made: Userland) -> None:
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = run([*made.python, "-c", asked]).strip()
    tags = [f"--platform={name}_aarch64" for name in PLATFORMS]
    line = ["--only-binary=:all:", "--no-deps", f"--python-version={python}", *tags, *pins()]
    run([*pip("install"), f"--target={work}", *line])


def pins() -> list[str]:
    return [f"{name}=={version(name)}" for name in WHEELS]


def llama(work: Path, made: Userland) -> None:
    """llama.cpp cross-built, and its Python binding beside it; an interrupted build goes on."""
    pin = f"llama-cpp-python=={version('llama-cpp-python')}"
    build = work.with_name("build")
    if not (sources := list(build.glob("llama_cpp_python-*/"))):
        run([*pip("download"), "--no-deps", "--no-binary=:all:", f"--dest={build}", pin])
        (archive,) = build.glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            wanted = [each for each in opened.getmembers() if needed(each.name)]
            opened.extractall(build, wanted, filter="data")
        archive.unlink()
        sources = list(build.glob("llama_cpp_python-*/"))
    (source,) = sources
    options = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    run(["cmake", "-S", source / "vendor/llama.cpp", "-B", build / "made", *options])
    jobs = str(len(os.sched_getaffinity(0)))
    run(["cmake", "--build", build / "made", "--target", "llama", "--parallel", jobs])
    shutil.copytree(source / "llama_cpp", work / "llama_cpp", dirs_exist_ok=True)
    (work / "llama_cpp/lib").mkdir(exist_ok=True)
    for library in (build / "made/bin").glob("*.so*"):
        shutil.copy(library, work / "llama_cpp/lib" / library.name)
    shutil.rmtree(build)


def needed(name: str) -> bool:
    _, _, inside = name.partition("/")
    native = inside.removeprefix("vendor/llama.cpp/")
    return inside.startswith("llama_cpp/") or (native != inside and native.startswith(SOURCES))


def pip(verb: str) -> list[str | Path]:
    return [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]


def run(line: list[str | Path]) -> str:
    """What a step printed; its last words when it fails."""
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise Unavailable(f"{Path(line[0]).name} failed ({done.returncode}): {said[-1]}")
    return done.stdout
