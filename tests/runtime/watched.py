"""Run a `distill` command and note every file that it opens to write and every connection it makes.

`python -m tests.runtime.watched LOG WORDS...`: an audit hook (PEP 578) writes one JSON line for
each event to LOG, opened before the hook is set.
"""

import json
import os
import runpy
import sys

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
NETWORK = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
OTHERS = ("subprocess.Popen", "os.system", "os.rename", "os.mkdir", "sqlite3.connect")


def main() -> None:
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if isinstance(flags, int) and flags & WRITING:
                os.write(log, json.dumps([event, str(path), str(mode)]).encode() + b"\n")
        elif event in NETWORK or event in OTHERS:
            os.write(log, json.dumps([event, str(arguments)]).encode() + b"\n")

    sys.argv = ["distill", *sys.argv[2:]]
    sys.addaudithook(note)
    runpy.run_module("distill", run_name="__main__")


if __name__ == "__main__":
    main()
