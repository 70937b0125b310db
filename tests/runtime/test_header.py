"""Headers of GGUF files: what a sound one says, and what no file may claim."""

import struct
import time

import gguf
import pytest

from distill.core.errors import BadInput, KindredError, Unsupported
from runtime import load
from runtime.artifact import check
from runtime.header import BLOCKS, MAX_STRINGS, Bytes, Header, Length, check_model, read_header
from tests.benchmarks.mutated_files import mutations

UINT32, FLOAT32, STRING, ARRAY, UINT64, BOOL = 4, 6, 8, 9, 10, 7


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def number(name, value):
    return key(name, UINT32, struct.pack("<I", value))


def tensor(name="a", shape=(32,), kind=0, offset=0):
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def file_of(keys=(), tensors=(), *, weights=128, version=3, counts=None, magic=b"GGUF"):
    head = magic + struct.pack("<I", version)
    head += struct.pack("<2Q", *(counts or (len(tensors), len(keys))))
    head += b"".join((*keys, *tensors))
    return head + bytes(-len(head) % 32) + bytes(weights)


@pytest.fixture
def read(tmp_path):
    def reading(data):
        path = tmp_path / "x.gguf"
        path.write_bytes(data)
        return read_header(path)

    return reading


def test_a_real_file_reads_as_the_gguf_package_reads_it(tiny_gguf):
    header, reader = read_header(tiny_gguf), gguf.GGUFReader(tiny_gguf)
    names = {name for name in reader.fields if not name.startswith("GGUF.")}
    assert set(header.keys) == names
    for name in names:
        contents = reader.fields[name].contents()
        found = header.keys[name]
        assert found.entries == len(contents) if isinstance(found, Length) else found == contents
    assert list(header.tensors) == [t.name for t in reader.tensors]
    for expected in reader.tensors:
        found = header.tensors[expected.name]
        assert found.shape == tuple(expected.shape)
        assert found.size_bytes == expected.n_bytes
        assert header.data_start + found.offset == expected.data_offset


def test_every_type_of_tensor_has_the_size_that_ggml_gives_it():
    known = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert {kind: known[kind] for kind in BLOCKS} == BLOCKS


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GGUF", "ends at byte 4"),
        (file_of(magic=b"GGML"), "does not begin with GGUF"),
        (file_of(counts=(2**63, 0)), "9223372036854775808 tensors"),
        (file_of(counts=(0, 2**63)), "that is no model"),
        (file_of(counts=(0, 3)), "empty, unprintable or there twice"),
        (file_of([number("a", 1), number("a", 2)]), "the key 'a' is empty, unprintable or"),
        (file_of([number("a\n", 1)]), "the key"),
        (file_of([number("a" * 257, 1)]), "a key has 257 bytes"),
        (file_of([key(b"\xff", UINT32, bytes(4))]), "a key is not UTF-8"),
        (file_of([key("a", STRING, text(b"\xff"))]), "a is not UTF-8"),
        (file_of([key("a", STRING, struct.pack("<Q", 2**63))]), "a has 9223372036854775808 bytes"),
        (file_of([key("a", STRING, struct.pack("<Q", 2**20))]), "in the middle of its header"),
        (file_of([key("a", 13, bytes(8))]), "a has the type 13"),
        (file_of([key("a", BOOL, b"\x02")]), "a is a truth value of 2"),
        (file_of([key("a", ARRAY, struct.pack("<IQ", ARRAY, 1))]), "an array of the type 9"),
        (file_of([key("a", ARRAY, struct.pack("<IQ", UINT32, 2**40))]), "1099511627776 numbers"),
        (file_of([key("a", ARRAY, struct.pack("<IQ", STRING, MAX_STRINGS + 1))]), "strings; at"),
        (file_of(tensors=[tensor("")]), "the tensor name ''"),
        (file_of(tensors=[tensor("a" * 64)]), "a tensor's name has 64 bytes"),
        (file_of(tensors=[tensor(), tensor(offset=128)], weights=256), "there twice"),
        (file_of(tensors=[tensor(shape=())]), "a has 0 dimensions"),
        (file_of(tensors=[tensor(shape=(1,) * 5)]), "a has 5 dimensions"),
        (file_of(tensors=[tensor(shape=(0,))]), "which this file cannot hold"),
        (file_of(tensors=[tensor(shape=(2**33, 2**33))]), "which this file cannot hold"),
        (file_of(tensors=[tensor(kind=4)]), "a has the type 4"),
        (file_of(tensors=[tensor(shape=(33,), kind=8)]), "no multiple of 32"),
        (file_of(tensors=[tensor(offset=32)]), "a is at 32, and its place is 0"),
        (file_of(tensors=[tensor()], weights=127), "in the middle of a"),
        (file_of([number("general.alignment", 48)]), "want a power of two"),
        (file_of([number("general.alignment", 0)]), "want a power of two"),
        (file_of([key("general.alignment", STRING, text("x"))]), "want a power of two"),
    ],
)
def test_what_no_file_may_claim(read, data, reason):
    with pytest.raises(BadInput, match=reason):
        read(data)


def test_only_known_versions_are_read(read):
    with pytest.raises(Unsupported, match="its version is 1"):
        read(file_of(version=1))


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"GGUF")
    with path.open("rb") as file, pytest.raises(BadInput, match="became shorter"):
        Bytes(file, 100).take(50)


SOUND = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.context_length": 128,
    "llama.attention.head_count": Length(4, 2),
    "tokenizer.ggml.tokens": Length(STRING, 10),
    "tokenizer.ggml.scores": Length(FLOAT32, 10),
    "tokenizer.ggml.eos_token_id": 9,
    "tokenizer.ggml.unknown_token_id": 0xFFFFFFFF,
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"general.architecture": 3}, "general.architecture is missing"),
        ({"split.count": 2}, "one part of a split model"),
        ({"llama.block_count": 10**6}, "llama.block_count is 1000000; want 1 to 512"),
        ({"llama.block_count": None}, "llama.block_count is None"),
        ({"llama.attention.head_count": 0}, "head_count is 0; want 1"),
        ({"llama.attention.head_count": Length(4, 999)}, "head_count is None"),
        ({"llama.context_length": 1.5}, "context_length is 1.5"),
        ({"llama.expert_count": -1}, "expert_count is -1; want 0"),
        ({"tokenizer.ggml.tokens": "x"}, "it holds no vocabulary"),
        ({"tokenizer.ggml.scores": Length(FLOAT32, 9)}, "no list of 10 numbers"),
        ({"tokenizer.ggml.eos_token_id": 10}, "the vocabulary has 10 tokens"),
    ],
)
def test_numbers_that_no_model_has(change, reason):
    check_model(Header(SOUND))
    with pytest.raises(KindredError, match=reason):
        check_model(Header(SOUND | change))


def test_no_mutation_of_a_file_reaches_native_code(tiny_gguf, tmp_path):
    path = tmp_path / "mutated.gguf"
    for what, data in mutations(tiny_gguf, 50, seed=1):
        path.write_bytes(data)
        started = time.process_time()
        with pytest.raises(KindredError):
            check(path)
            pytest.fail(f"{what} was accepted")
        assert time.process_time() - started < 1, what
    with load(tiny_gguf, threads=1) as engine:
        assert list(engine.chat([{"role": "user", "content": "hi"}], max_tokens=2, seed=1))
