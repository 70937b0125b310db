"""Checkpoints made to hurt: refused with one line, before any weight is read or code is run."""

import json
import pickle
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.core.errors import BadInput, MissingInput, Unsupported
from export.checkpoint import open_checkpoint
from export.f16 import target_names, write_f16
from export.shards import MOST_CONFIG_BYTES, MOST_HEADER_BYTES, checked_header
from tests.export.students import linked_copy, lively_student

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return lively_student(tmp_path_factory.mktemp("whole") / "student")


@pytest.fixture
def folder(whole, tmp_path):
    """A copy that a test may break; its files are links to the same bytes until they are."""
    return linked_copy(whole, tmp_path / "student")


def put(path, data):
    path.unlink(missing_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


def config(folder, **changes):
    put(folder / "config.json", json.loads((folder / "config.json").read_text()) | changes)


def refused(folder, said, kind=BadInput):
    with pytest.raises(kind, match=said) as error:
        write_f16(open_checkpoint(folder), folder.parent / "file.gguf")
    assert "\n" not in str(error.value)
    return str(error.value)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (type(self.mark).touch, (self.mark,))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.pth"])
def test_pickled_weights_are_never_loaded(folder, tmp_path, name):
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
    assert name in refused(folder, "can run code and are never loaded")
    assert not (tmp_path / "mark").exists()


def header(entries, data=b"", length=None):
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(shape, first, last, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


TWIN = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {}}'
HEADERS = {
    "shorter than a length": (b"\x01\x02", "header says it has"),
    "a length beyond the file": (
        header({}, length=2**63),
        "header says it has 9223372036854775808",
    ),
    "a length beyond reason": (
        header({}, b" " * MOST_HEADER_BYTES, MOST_HEADER_BYTES + 1),
        f"header says it has {MOST_HEADER_BYTES + 1}",
    ),
    "no JSON": (header(b"{nothing"), "is not valid JSON"),
    "endless nesting": (header(b"[" * 200_000), "is not valid JSON"),
    "a list": (header([]), "is not valid JSON of the expected kind"),
    "twins": (header(TWIN, bytes(4)), "a key stands twice"),
    "an entry without a shape": (header({"a": {"dtype": "F32"}}), "entry of a cannot be read"),
    "a negative size": (header({"a": entry([-1], 0, 4)}, bytes(4)), "cannot be read"),
    "a size of true": (header({"a": entry([True], 0, 4)}, bytes(4)), "cannot be read"),
    "bytes that the shape does not take": (
        header({"a": entry([2], 0, 4)}, bytes(4)),
        r"has the shape \[2\] and 4 bytes",
    ),
    "a shape beyond the file": (
        header({"a": entry([2**40], 0, 2**42)}, bytes(4)),
        "take 4398046511104 bytes, and 4 are there",
    ),
    "tensors over each other": (
        header({"a": entry([2], 0, 8), "b": entry([1], 4, 8)}, bytes(8)),
        "b begins at byte 4, and what precedes it ends at 8",
    ),
    "a hole": (
        header({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
        "b begins at byte 8",
    ),
    "bytes of nobody": (header({"a": entry([1], 0, 4)}, bytes(8)), "take 4 bytes, and 8 are"),
}


@pytest.mark.parametrize("name", HEADERS, ids=str)
def test_a_header_that_lies_is_refused(folder, name):
    data, said = HEADERS[name]
    put(folder / WEIGHTS, data)
    assert WEIGHTS in refused(folder, said)


def test_a_header_that_we_accept_is_one_that_safetensors_accepts(whole):
    stored = checked_header(whole / WEIGHTS)
    assert {name: s.shape for name, s in stored.items()} == {
        name: tuple(tensor.shape) for name, tensor in load_file(whole / WEIGHTS).items()
    }


def test_weights_of_whole_numbers_are_refused(folder):
    put(folder / WEIGHTS, header({"a": entry([4], 0, 4, "I8")}, bytes(4)))
    refused(folder, "holds a as I8; the export reads F64, F32, F16, BF16", Unsupported)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "sub/a.safetensors", 7])
def test_an_index_cannot_name_a_file_outside_of_its_folder(folder, name):
    put(folder / INDEX, {"weight_map": {"model.norm.weight": name}})
    refused(folder, "only .safetensors files of that folder are read")


@pytest.mark.parametrize("table", [{}, {"weight_map": {}}, {"weight_map": ["a"]}])
def test_an_index_without_a_table_is_refused(folder, table):
    put(folder / INDEX, table)
    refused(folder, "has no weight_map")


def test_an_index_that_names_the_wrong_shard_is_refused(folder):
    put(folder / INDEX, {"weight_map": {"model.nowhere.weight": WEIGHTS}})
    refused(folder, "says that model.safetensors holds model.nowhere.weight, and it does not")


def test_a_tensor_in_two_shards_is_refused(folder):
    (folder / "b.safetensors").hardlink_to(folder / WEIGHTS)
    table = {"model.norm.weight": WEIGHTS, "lm_head.weight": "b.safetensors"}
    put(folder / INDEX, {"weight_map": table})
    refused(folder, "and so does")


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "tokenizer.json"])
def test_a_link_out_of_the_folder_is_refused(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    refused(folder, f"{name} is a link that leads out of its folder")


def test_the_links_of_a_hugging_face_cache_are_followed(whole, tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    snapshot.mkdir(parents=True), blobs.mkdir()
    for path in whole.iterdir():
        (blobs / path.name).hardlink_to(path)
        (snapshot / path.name).symlink_to(blobs / path.name)
    assert open_checkpoint(snapshot).template


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["model.layers.0.mlp.up_proj.weight", "model.norm.weight"])
def test_values_that_are_not_finite_are_refused(folder, name, value):
    weights = load_file(folder / WEIGHTS)
    weights[name].view(-1)[3] = value
    (folder / WEIGHTS).unlink()
    save_file(weights, folder / WEIGHTS)
    assert name in refused(folder, "values that are not finite")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_a_checkpoint_is_never_run(folder, file):
    settings = json.loads((folder / file).read_text())
    put(folder / file, settings | {"auto_map": {"AutoConfig": "evil.Config"}})
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    refused(folder, "names code of its own .auto_map., which is never run")


def test_a_config_without_end_is_refused(folder):
    config(folder, padding=" " * MOST_CONFIG_BYTES)
    refused(folder, rf"config.json has \d+ bytes; at most {MOST_CONFIG_BYTES} are read")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 10**9}, "says 1000000000 layers, and the weights are"),
        ({"num_hidden_layers": "2"}, "says '2' layers"),
        ({"vocab_size": 10**12}, "vocab_size = 1000000000000, which no model has"),
        ({"rope_theta": float("nan")}, "rope_theta = nan"),
        ({"hidden_size": "wide"}, "transformers cannot"),
        ({"num_attention_heads": 0}, "transformers cannot"),
        ({"hidden_size": 128}, r"holds \S+ as \[.*and its config.json asks for"),
        ({"vocab_size": 600}, r"lm_head.weight as \[512, 256\].*asks for \[600, 256\]"),
        ({"num_hidden_layers": 3}, "lacks 9 of its tensors"),
        ({"quantization_config": "4bit"}, "quantized by '4bit'"),
    ],
    ids=str,
)
def test_a_config_that_no_model_has_is_refused(folder, changes, said):
    config(folder, **changes)
    refused(folder, said)


def test_a_config_that_is_no_object_is_refused(folder):
    put(folder / "config.json", [1])
    refused(folder, "is not valid JSON of the expected kind, an object")


def test_shapes_are_compared_before_any_weight_is_read(folder, monkeypatch):
    config(folder, intermediate_size=128)
    checkpoint = open_checkpoint(folder)
    monkeypatch.setattr(type(checkpoint), "tensors", None)
    with pytest.raises(BadInput, match="asks for"):
        target_names(checkpoint)


def test_a_shard_that_is_not_there_is_missing(folder):
    put(folder / INDEX, {"weight_map": {"model.norm.weight": "a.safetensors"}})
    refused(folder, "a.safetensors does not exist", MissingInput)


def test_zero_tensors_are_no_layers(folder):
    (folder / WEIGHTS).unlink()
    save_file({}, folder / WEIGHTS)
    refused(folder, "says 2 layers, and the weights are 0 tensors")


def test_bfloat16_is_looked_at_too(folder):
    weights = {name: t.bfloat16() for name, t in load_file(folder / WEIGHTS).items()}
    weights["lm_head.weight"][5, 5] = torch.nan
    (folder / WEIGHTS).unlink()
    save_file(weights, folder / WEIGHTS)
    refused(folder, r"lm_head\.weight holds values that are not finite")
