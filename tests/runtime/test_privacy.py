"""Nothing leaves the machine and no message is written: the server is watched while it talks."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil

from tests.runtime.serving import ENVIRONMENT

SECRET = "quince marmalade at dawn"
CRISIS = f"I want to die, {SECRET}"


class Watch(threading.Thread):
    """Samples the open files and sockets of a process until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(pid)
        self.files: set[str] = set()
        self.remote: set[tuple[str, str]] = set()
        self.samples = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.01):
            self.sample()

    def sample(self) -> None:
        folder = Path(f"/proc/{self.process.pid}/fd")
        for link in list(folder.iterdir()):
            try:
                target = str(link.readlink())
                flags = int((folder.parent / "fdinfo" / link.name).read_text().split()[3], 8)
            except OSError:
                continue
            if flags & (os.O_WRONLY | os.O_RDWR):
                self.files.add(target)
        for connection in self.process.net_connections("inet"):
            if connection.raddr:
                self.remote.add((connection.laddr.ip, connection.raddr.ip))
        self.samples += 1


def served(file, log, folder):
    words = ["runtime", "serve", str(file), "--port", "0", "--json", "--threads", "1"]
    with (folder / "stderr").open("w") as remarks:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.runtime.watched", str(log), *words, "--log", "json"],
            stdout=subprocess.PIPE,
            stderr=remarks,
            text=True,
            env=ENVIRONMENT | {"TMPDIR": str(folder), "HOME": str(folder)},
        )


def test_a_conversation_touches_no_network_and_no_disk(tiny_gguf, tmp_path):
    log = tmp_path / "events"
    process = served(tiny_gguf, log, tmp_path)
    ready = json.loads(process.stdout.readline())
    start = log.read_text().count("\n")
    watch = Watch(ready["pid"])
    watch.start()
    url, talk = ready["url"], []
    with httpx.Client(timeout=60) as client:
        for turn in range(4):
            talk.append({"role": "user", "content": CRISIS if turn == 1 else f"{SECRET} {turn}"})
            body = {"model": ready["model"], "messages": talk, "max_tokens": 12, "seed": turn}
            made = client.post(f"{url}/chat/completions", json=body).json()
            talk.append(made["choices"][0]["message"])
            with client.stream(
                "POST", f"{url}/chat/completions", json=body | {"stream": True}
            ) as s:
                s.read()
        asked = {"model": ready["model"], "input": SECRET, "max_output_tokens": 2}
        client.post(f"{url}/responses", json=asked)
        client.post(f"{url}/chat/completions", content=b"{" + SECRET.encode())
        client.get(f"{url.removesuffix('/v1')}/metrics")
    watch.sample()
    watch.over.set()
    watch.join()
    process.terminate()
    process.communicate(timeout=30)
    assert watch.samples > 5
    assert {ours for ours, _ in watch.remote} | {theirs for _, theirs in watch.remote} == {
        "127.0.0.1"
    }
    files = {name for name in watch.files if name.startswith("/") and not name.startswith("/dev/")}
    assert files <= {str(log), str(tmp_path / "stderr")}
    events = [json.loads(line) for line in log.read_text().splitlines()[start:]]
    assert events == []
    for path in tmp_path.rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            assert SECRET.encode() not in text and b"quince" not in text, path


def test_the_watch_sees_what_it_should(tmp_path):
    code = (
        "import socket, sys; sys.argv = ['x', sys.argv[1], '--help']\n"
        "from tests.runtime import watched\n"
        "watched.runpy.run_module = lambda *a, **k: (\n"
        "    open(sys.argv[0] + '.txt', 'w').close(),\n"
        "    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9)))\n"
        "watched.main()\n"
    )
    log = tmp_path / "events"
    subprocess.run(
        [sys.executable, "-c", code, str(log)], check=True, cwd=tmp_path,
        env=ENVIRONMENT | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert [json.loads(line)[0] for line in log.read_text().splitlines()] == [
        "open",
        "socket.connect",
    ]
