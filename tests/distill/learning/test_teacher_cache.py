"""Stored teachers: what is written is what is read, and a kill costs one shard."""

import random

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.core.errors import BadInput, CheckFailed, MissingInput, Unavailable
from distill.core.jsonl import read_json, write_json
from distill.learning.teacher import taught
from distill.learning.teacher_cache import HEAD, HEADER, INDEX, Layout, pack, refuse_layout, unpack
from distill.learning.teacher_cache_capture import capture, check, refuse_full_disk, size_of
from distill.learning.teacher_cache_reader import Store, StoredTeacher, Vocabulary, open_store
from distill.learning.teacher_cache_writer import StoreWriter, begin, shards_of, write_index
from tests.distill.learning.stores import NAMES, KnownTeacher, header_of, replies, stored


@pytest.mark.parametrize(("precision", "error"), [("bf16", 0.003), ("int8", 0.006)])
def test_a_store_answers_as_the_teacher_did_within_its_precision(tmp_path, precision, error):
    teacher, every = KnownTeacher(bias=True), replies(30)
    store = StoredTeacher(Store(stored(tmp_path / "s", teacher, every, precision=precision)))
    random.Random(0).shuffle(every)
    live_NE, found_NE = teacher.hidden(every), store.hidden(every)
    assert float((live_NE - found_NE).norm() / live_NE.norm()) < error
    assert torch.equal(store.head.weight_VD, teacher.head.weight_VD)


def test_a_reply_that_was_not_stored_is_refused_before_anything_is_trained(tmp_path):
    every = replies(4)
    store = StoredTeacher(Store(stored(tmp_path / "s", KnownTeacher(), every[:3])))
    for each in every[:3]:
        store.refuse_unread(each)
    with pytest.raises(BadInput, match="the store of known lacks dialogue d3; store it with: "):
        store.refuse_unread(every[3])


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_any_tokens_log_probability_is_a_dot_product(tmp_path, precision):
    teacher, every = KnownTeacher(bias=True), replies(9)
    store = StoredTeacher(Store(stored(tmp_path / "s", teacher, every, precision=precision)))
    states_NE, _ = store.answered(every)
    logits_NV = states_NE @ teacher.head.weight_VD.T + teacher.head.bias_V
    ids_NK = torch.randint(40, (len(states_NE), 5))
    wanted_NK = torch.log_softmax(logits_NV, -1).gather(-1, ids_NK)
    found_NK = store.log_probabilities(every, ids_NK)
    torch.testing.assert_close(found_NK, wanted_NK, atol=5e-6, rtol=1e-6)


def test_shards_are_bounded_and_every_reply_is_found_in_its_own(tmp_path):
    every = replies(40)
    store = Store(stored(tmp_path / "s", KnownTeacher(), every))
    shards = shards_of(tmp_path / "s")
    assert len(shards) > 5 and len(store) == 40
    assert max(shard.stat().st_size for shard in shards) < 400 + 7 * 40 + 1000
    assert store.tokens == sum(len(each.reply_ids) for each in every)
    for each in every:
        assert store.rows(each)["token"].tolist() == list(each.reply_ids)


def test_a_row_takes_the_bytes_that_the_estimate_says(tmp_path):
    every = replies(500)
    for precision in ("bf16", "int8"):
        folder = stored(tmp_path / precision, KnownTeacher(), every, precision=precision)
        layout = Store(folder).layout
        written = sum(
            tensor.nbytes
            for shard in shards_of(folder)
            for name, tensor in load_file(shard).items()
            if name not in ("keys", "counts")
        )
        assert written == size_of(layout, every).tokens * layout.row_bytes


def test_int8_keeps_an_outlier_from_spoiling_other_groups():
    layout = Layout(tier="states", width=16, vocabulary=9, precision="int8", group=8)
    hidden_NE = torch.randn(5, 16)
    hidden_NE[:, 3] = 1000
    found_NE = unpack(pack(hidden_NE, layout), layout)
    assert float((found_NE - hidden_NE)[:, 8:].abs().max()) < 0.02
    assert torch.equal(unpack(pack(torch.zeros(2, 16), layout), layout), torch.zeros(2, 16))


def test_a_group_that_leaves_a_rest_is_refused_with_one_that_does_not():
    with pytest.raises(BadInput, match=r"groups of 64 .* such as 56"):
        refuse_layout(Layout(tier="states", width=56 * 3, vocabulary=9, precision="int8"))


def test_a_top_k_that_keeps_every_token_is_refused():
    with pytest.raises(BadInput, match="--top-k 9 keeps all of 9 tokens"):
        refuse_layout(Layout(tier="top-k", width=8, vocabulary=9, top_k=9))


def test_a_stopped_capture_goes_on_after_its_last_whole_shard(tmp_path, monkeypatch):
    monkeypatch.setattr("distill.learning.teacher.TOKENS_AT_ONCE", 12)
    every, header = replies(40), header_of()
    begin(tmp_path / "s", header, KnownTeacher().head, NAMES)
    teacher = KnownTeacher()
    teacher.stops_after = 9
    with pytest.raises(KeyboardInterrupt):
        capture(teacher, every, StoreWriter(tmp_path / "s", shard_bytes=400), header.layout)
    before = {shard.name: shard.read_bytes() for shard in shards_of(tmp_path / "s")}
    assert before
    (tmp_path / "s/.rows-1-of-1-00009.safetensors.77.part").write_bytes(b"cut")
    writer = StoreWriter(tmp_path / "s", shard_bytes=400)
    assert capture(KnownTeacher(), every, writer, header.layout) < 40
    assert write_index(tmp_path / "s") == (40, sum(len(each.reply_ids) for each in every))
    assert not list((tmp_path / "s").glob(".rows*"))
    assert all((tmp_path / "s" / name).read_bytes() == held for name, held in before.items())
    again = KnownTeacher()
    assert capture(again, every, StoreWriter(tmp_path / "s"), header.layout) == 0
    assert again.asked == 0


def test_parts_of_several_machines_make_one_store(tmp_path):
    every, header = replies(20), header_of()
    begin(tmp_path / "s", header, KnownTeacher().head, NAMES)
    for part in (1, 2):
        begin(tmp_path / "s", header, KnownTeacher().head, NAMES)
        writer = StoreWriter(tmp_path / "s", part=f"{part}-of-2", shard_bytes=300)
        capture(KnownTeacher(), every[part - 1 :: 2], writer, header.layout)
    write_index(tmp_path / "s")
    found = StoredTeacher(Store(tmp_path / "s")).hidden(every)
    torch.testing.assert_close(found, KnownTeacher().hidden(every), atol=0.02, rtol=0.01)


def test_a_part_without_a_reply_leaves_a_store_that_can_be_read(tmp_path):
    store = Store(stored(tmp_path / "s", KnownTeacher(), []))
    assert (len(store), store.tokens, store.names) == (0, 0, [])


def test_a_reply_that_occurs_twice_is_stored_once(tmp_path):
    every = replies(3)
    assert len(Store(stored(tmp_path / "s", KnownTeacher(), [*every, *every]))) == 3


def test_a_read_store_maps_its_shards_and_copies_one_reply_only(tmp_path):
    every = replies(12)
    store = Store(stored(tmp_path / "s", KnownTeacher(), every, shard_bytes=10**6))
    rows = store.rows(every[5])
    assert rows["hidden"].shape == (len(every[5].reply_ids), 16)
    assert set(store.shards) == {"rows-1-of-1-00000.safetensors"}


def test_what_is_not_stored_is_refused_by_the_dialogue(tmp_path):
    store = StoredTeacher(Store(stored(tmp_path / "s", KnownTeacher(), replies(3))))
    with pytest.raises(MissingInput, match="no states for a reply to dialogue d77"):
        store.hidden([taught([1], [2], "d77")])


def test_other_settings_do_not_continue_a_store(tmp_path):
    folder = stored(tmp_path / "s", KnownTeacher(), replies(3))
    with pytest.raises(BadInput, match="was begun with precision bf16, and now it is int8"):
        begin(folder, header_of(precision="int8"), KnownTeacher().head, NAMES)
    other = header_of()
    other = other.model_copy(
        update={"identity": other.identity.model_copy(update={"prompt_sha256": "e" * 64})}
    )
    with pytest.raises(BadInput, match="begun with prompt_sha256 d"):
        begin(folder, other, KnownTeacher().head, NAMES)


def test_a_store_opens_for_its_own_tokenizer_prompt_template_and_tier(tmp_path):
    folder = stored(tmp_path / "s", KnownTeacher(), replies(3))
    agreed = {
        "student_tokenizer": Vocabulary(NAMES),
        "prompt_sha256": "d" * 64,
        "template_sha256": "c" * 64,
    }
    assert len(open_store(folder, "states", **agreed)) == 3
    changed = [
        ({"student_tokenizer": Vocabulary({**NAMES, "other": 3})}, "another tokenizer"),
        ({"prompt_sha256": "f" * 64}, "another prompt"),
        ({"template_sha256": "f" * 64}, "another chat template"),
    ]
    for change, says in changed:
        with pytest.raises(BadInput, match=says):
            open_store(folder, "states", **{**agreed, **change})
    with pytest.raises(BadInput, match="holds the tier states, and top-k is needed"):
        open_store(folder, "top-k")


def test_an_unfinished_store_is_not_read(tmp_path):
    with pytest.raises(MissingInput, match="no teacher store"):
        Store(tmp_path)
    folder = stored(tmp_path / "s", KnownTeacher(), replies(3))
    save_file(load_file(shards_of(folder)[0]), folder / "rows-2-of-2-00000.safetensors")
    with pytest.raises(BadInput, match="lists other shards"):
        Store(folder)
    (folder / INDEX).unlink()
    with pytest.raises(BadInput, match="has no index"):
        Store(folder)


def test_a_header_that_is_not_ours_is_refused(tmp_path):
    folder = stored(tmp_path / "s", KnownTeacher(), replies(3))
    header = read_json(folder / HEADER)
    write_json(folder / HEADER, {**header, "format": 99})
    with pytest.raises(BadInput, match="format 99"):
        Store(folder)
    write_json(folder / HEADER, {**header, "format": "new"})
    with pytest.raises(BadInput, match="not a store's header"):
        Store(folder)


def test_a_cut_shard_is_named(tmp_path):
    folder = stored(tmp_path / "s", KnownTeacher(), replies(9))
    shard = shards_of(folder)[1]
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(CheckFailed, match=r"rows-1-of-1-00001.safetensors is damaged"):
        StoredTeacher(Store(folder)).hidden(replies(9))


def test_the_head_is_kept_in_half_the_bytes_only_where_that_loses_nothing(tmp_path):
    teacher = KnownTeacher()
    folder = stored(tmp_path / "whole", teacher, replies(2))
    assert load_file(folder / HEAD)["weight"].dtype == torch.float32
    teacher.head.weight_VD.copy_(teacher.head.weight_VD.bfloat16())
    folder = stored(tmp_path / "half", teacher, replies(2))
    assert load_file(folder / HEAD)["weight"].dtype == torch.bfloat16


def test_the_padding_of_a_head_is_not_stored(tmp_path):
    every = replies(4)
    folder = stored(tmp_path / "s", KnownTeacher(), every, vocabulary=33)
    assert load_file(folder / HEAD)["weight"].shape == (33, 16)
    store = StoredTeacher(Store(folder))
    ids_NK = torch.arange(33).expand(len(store.hidden(every)), -1)
    mass_N = store.log_probabilities(every, ids_NK).exp().sum(-1)
    torch.testing.assert_close(mass_N, torch.ones_like(mass_N))


@pytest.mark.parametrize("changes", [{}, {"precision": "int8"}, {"tier": "top-k", "top_k": 6}])
def test_a_sample_is_checked_against_the_teacher(tmp_path, changes):
    every = replies(50)
    store = Store(stored(tmp_path / "s", KnownTeacher(), every, **changes))
    found = check(store, KnownTeacher(), every)
    assert found.replies == 32 and 0 <= found.mean_kl < 1e-3
    assert read_json(tmp_path / "s/check.json")["mean_kl"] == found.mean_kl
    with pytest.raises(CheckFailed, match="nats a token from the teacher"):
        check(store, KnownTeacher(seed=1), every)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(Unavailable, match="take --precision int8"):
        refuse_full_disk(tmp_path / "s", 10**18)
