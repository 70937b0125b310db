"""Just so much of WebAssembly's binary format as it takes to exchange the bodies of functions.

`Module(data)` reads a file; `bodies` may be changed, `data()` writes it again. It also tells how
the module sets up its memory and which functions its pointers mean. Refuses tables of functions
that are not laid out as linkers lay them out. https://webassembly.github.io/spec/core/binary/
"""

from collections.abc import Iterator

from distill.core.errors import CheckFailed

IMPORTS, EXPORTS, ELEMENTS, CODE, DATA = 2, 7, 9, 10, 11
CONST = 0x41  # i32.const


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at


def signed(data: bytes, at: int) -> tuple[int, int]:
    value, end = unsigned(data, at)
    bits = 7 * (end - at)
    return (value - (1 << bits) if value >> (bits - 1) else value), end


def encoded(value: int, *, sign: bool = False) -> bytes:
    """A number of at least 0 as LEB128."""
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 127
        if value or (sign and byte & 64):
            out.append(byte | 128)
        else:
            out.append(byte)
            return bytes(out)


def items(section: bytes) -> list[bytes]:
    """What lies in a section as a count and byte strings."""
    count, at = unsigned(section, 0)
    found = []
    for _ in range(count):
        size, at = unsigned(section, at)
        found.append(section[at : at + size])
        at += size
    return found


class Module:
    """A WebAssembly file: its sections, and the bodies of its own functions."""

    def __init__(self, data: bytes):
        self.header, self.sections = data[:8], list(sections(data))
        self.part = dict(self.sections)
        self.bodies = items(self.part[CODE])

    def imported(self) -> int:
        """How many functions come from outside: they are numbered first."""
        section = self.part.get(IMPORTS, b"\0")
        count, at = unsigned(section, 0)
        functions = 0
        for _ in range(count):
            for _ in range(2):
                size, at = unsigned(section, at)
                at += size
            kind, at = section[at], at + 1
            functions += kind == 0
            if kind in (0, 4):  # a function, a tag
                _, at = unsigned(section, at + (kind == 4))
            elif kind == 3:  # a global
                at += 2
            else:  # a table, a memory: flags, least, most
                flags, at = unsigned(section, at + (kind == 1))
                for _ in range(1 + flags % 2):
                    _, at = unsigned(section, at)
        return functions

    def exported(self) -> dict[str, int]:
        section = self.part[EXPORTS]
        count, at = unsigned(section, 0)
        found = {}
        for _ in range(count):
            size, at = unsigned(section, at)
            name, kind = section[at : at + size].decode(), section[at + size]
            place, at = unsigned(section, at + size + 1)
            if kind == 0:
                found[name] = place
        return found

    def called_by_place(self) -> dict[int, int]:
        """Which function a pointer to one means."""
        section = self.part.get(ELEMENTS, b"")
        if section[:3] != bytes([1, 0, CONST]):  # one run of them, from a number on
            raise CheckFailed("the module's table of functions is not the one that linkers write")
        first, at = signed(section, 3)
        count, at = unsigned(section, at + 1)
        found = {}
        for place in range(first, first + count):
            found[place], at = unsigned(section, at)
        return found

    def memory(self) -> bytes:
        """Memory as the module sets it up, by its segments or by `memory.init`."""
        section, laid = self.part.get(DATA, b"\0"), []
        count, at = unsigned(section, 0)
        for number in range(count):
            passive, at = unsigned(section, at)
            if passive > 1:
                raise CheckFailed("the module has more than one memory")
            where = None
            if not passive:
                where, at = signed(section, at + 1)
                at += 1
            size, at = unsigned(section, at)
            if passive:
                where = self.copied_to(number, size)
            if where is not None:
                laid.append((where, section[at : at + size]))
            at += size
        memory = bytearray(max((where + len(part) for where, part in laid), default=0))
        for where, part in laid:
            memory[where : where + len(part)] = part
        return bytes(memory)

    def copied_to(self, segment: int, size: int) -> int | None:
        """Where `memory.init` copies the whole of a segment; None if nothing does."""
        whole = bytes([CONST, 0, CONST]) + encoded(size, sign=True)
        copies = whole + b"\xfc\x08" + encoded(segment) + b"\0"
        for body in self.bodies:
            before, found, _ = body.partition(copies)
            if found:
                where, end = signed(before, before.rindex(CONST) + 1)
                return where if end == len(before) else None
        return None

    def data(self) -> bytes:
        code = encoded(len(self.bodies))
        code += b"".join(encoded(len(body)) + body for body in self.bodies)
        written = ((kind, code if kind == CODE else part) for kind, part in self.sections)
        return self.header + b"".join(bytes([k]) + encoded(len(part)) + part for k, part in written)


def sections(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 8
    while at < len(data):
        size, start = unsigned(data, at + 1)
        yield data[at], data[start : start + size]
        at = start + size
