"""An export in a process of its own, killed at some moment, and what it leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from distill.core.errors import KindredError
from distill.core.manifest import check_files
from tests.export.commands import ROOT, left_behind

STAGES = ("key", "F16.gguf", "importance.npz", "trial.part", "Q4_K_M.gguf.part")


class ExportKilling:
    """One student, one folder for its files, exported again and again."""

    def __init__(self, student: Path, edge: Path, *options: object) -> None:
        self.student, self.edge, self.options = student, edge, options
        self.target = edge / f"{student.name}-Q4_K_M.gguf"
        self.work = edge / f".{self.target.name}.work"

    def start(self) -> "subprocess.Popen[bytes]":
        words = ["export", "gguf", self.student, "--bits", 4, "--jobs", 1, "--out", self.edge]
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
        return [name for name in left_behind(self.edge) if not name.startswith(own)]
