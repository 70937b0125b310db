"""An export in a process of its own, killed at some moment, and what it leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from distill.core.errors import KindredError
from distill.core.manifest import check_files
from tests.export.commands import ROOT

# What comes into being in the workshop of each format, in its order, and the final name.
STAGES = {
    "gguf": ("key", "F16.gguf", "importance.npz", "trial.part", "Q4_K_M.gguf.part"),
    "onnx": (
        "key",
        "importance.npz",
        "folder.part/builder",
        "folder.part/model.onnx.data",
        "folder.part/chat_template.jinja",
    ),
}
NAMES = {"gguf": "{}-Q4_K_M.gguf", "onnx": "{}-onnx-int4"}


class ExportKilling:
    """One student, one folder for its files, exported again and again."""

    def __init__(self, student: Path, edge: Path, *options: object, kind: str = "gguf") -> None:
        self.student, self.edge, self.options, self.kind = student, edge, options, kind
        self.target = edge / NAMES[kind].format(student.name)
        self.work = edge / f".{self.target.name}.work"

    def start(self) -> "subprocess.Popen[bytes]":
        words = ["export", self.kind, self.student, "--bits", 4, "--out", self.target]
        line = [sys.executable, "-m", "distill", *map(str, [*words, *self.options])]
        return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def kill_at(self, stage: str, seconds: float = 0.0) -> bool:
        """Kill as soon as a stage's file is there and `seconds` more; whether it still ran."""
        process = self.start()
        while process.poll() is None and not (self.work / stage).exists():
            try:
                process.wait(0.002)
            except subprocess.TimeoutExpired:
                continue
        try:
            process.wait(seconds or 0.001)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL

    def finish(self) -> str:
        """Run to the end; what it said."""
        process = self.start()
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    def sound(self) -> bool:
        """Whether what stands under the final name, if anything, is what its manifest names."""
        if not self.target.exists():
            return True
        try:
            check_files(self.target)
        except KindredError:
            return False
        return True

    def rubbish(self) -> list[str]:
        """What a finished export should not have left."""
        own = (self.target.stem, "README.md")
        names = (path.name for path in self.edge.iterdir())
        return sorted(name for name in names if not name.startswith(own))
