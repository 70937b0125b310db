"""A run that a test kills: `python -m tests.distill.core.asking_run URL LEDGER COUNT CONCURRENCY`.

Asks COUNT questions of the service at URL and prints one line for each that is answered.
"""

import json
import sys
from pathlib import Path

from distill.core.asking import Terms, ask_all
from distill.core.chat.table import open_chat
from distill.core.ledger import Ledger
from tests.distill.core.asks import ROOM, asks


def main(url: str, ledger: str, count: str, concurrency: str) -> None:
    chat = open_chat("openai:gpt-4o", base_urls=[url])
    print("ready", flush=True)
    with Ledger(Path(ledger)) as opened:
        for one in ask_all(asks(int(count), ROOM), chat, opened, Terms(int(concurrency))):
            text = one.reply.text if one.reply else None
            print(json.dumps({"id": one.ask.id, "text": text}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
