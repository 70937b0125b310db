"""Text and tokens of an ONNX folder: its tokenizer.json, read by the tokenizers library.

In: the folder. Out: ids of plain text, bytes of a token, control tokens. Refused: a tokenizer that
is missing or that the library does not read.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import read_json

TOKENIZER, SETTINGS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
WORD_START = "\u2581"  # how SentencePiece writes a space


class Tokens:
    """The tokenizer of one folder."""

    def __init__(self, folder: Path) -> None:
        if not (folder / TOKENIZER).exists():
            raise MissingInput(f"{folder} has no {TOKENIZER}; export it again")
        rules = read_json(folder / TOKENIZER)
        self._tokenizer = opened(rules, folder)
        added = rules.get("added_tokens") or []
        self.control: Mapping[str, int] = {t["content"]: t["id"] for t in added if t["special"]}
        self.swallowing = frozenset(t["id"] for t in added if t["special"] and t.get("rstrip"))
        self._literal = {t["id"]: t["content"] for t in added if not t["special"]}
        self._hidden = frozenset(self.control.values())
        self._byte_level = '"ByteLevel"' in json.dumps(rules.get("decoder"))

    def encode(self, text: str) -> list[int]:
        """Tokens of plain text: control tokens in it are not parsed."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def bytes_of(self, token: int) -> bytes:
        """What a token adds to the text; nothing for a control token or an unused id."""
        if token in self._hidden:
            return b""
        if token in self._literal:
            return bytes(self._literal[token].encode())
        piece = self._tokenizer.id_to_token(token) or ""
        if self._byte_level:
            return bytes(BYTES[character] for character in piece if character in BYTES)
        if byte := BYTE_TOKEN.fullmatch(piece):
            return bytes.fromhex(byte[1])
        return piece.replace(WORD_START, " ").encode()


def opened(rules: dict[str, Any], folder: Path) -> Tokenizer:
    """A tokenizer that reads a typed control token as the characters it consists of."""
    # `first` puts a space before a text at the start of a prompt; here texts follow a control
    # token, and each is encoded by itself.
    spaced = json.dumps(rules).replace('"prepend_scheme": "first"', '"prepend_scheme": "never"')
    try:
        tokenizer = Tokenizer.from_str(spaced)
    except Exception as error:  # the library raises nothing more precise
        raise BadInput(f"{folder / TOKENIZER} is no tokenizer: {error}; export it again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def named_token(folder: Path, name: str) -> str:
    """The text of `bos_token` or `eos_token` in tokenizer_config.json; empty where it has none."""
    path = folder / SETTINGS
    token = read_json(path).get(name) if path.exists() else None
    return str(token["content"] if isinstance(token, dict) else token or "")


def byte_characters() -> dict[str, int]:
    """The character by which a byte-level vocabulary writes each byte, as GPT-2 chose them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + place): byte for place, byte in enumerate(others)}


BYTES = byte_characters()
