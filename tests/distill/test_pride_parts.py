"""The contract of PRIDE: shift, masks, accumulation, whole prompts, vocabularies, tau, chance."""

import copy
import json
from dataclasses import replace

import numpy
import pytest
import torch
from safetensors.torch import save_file

from distill.core.errors import BadInput, MissingInput, Unsupported
from distill.learning.losses import cross_entropy, reverse_kl
from distill.learning.mmd import rbf_mmd2
from distill.learning.multi_source import MultiSource
from distill.learning.pride_leakage import sample_of, student_gauge, token_gauge, token_weights
from distill.learning.pride_rows import (
    Row,
    RowMaker,
    feature_width,
    labels_of,
    padded,
    padded_features,
)
from distill.learning.pride_sampling import own_replies, until_stop
from distill.learning.pride_student import PrideStudent, Taking, Told
from distill.learning.privileged import Knowledge, Known, feature_file, teacher_messages
from distill.learning.teacher import (
    LiveTeacher,
    batches,
    head_of,
    live_teacher,
    refuse_other_tokenizer,
    taught,
)
from distill.recipe import OnPolicy, Pride, PrideLoss, parse_recipe
from tests.distill.pride_sets import (
    FIELDS,
    pride_recipe,
    read_lines,
    tiny_llama,
    tiny_tokenizer,
    write_known,
)
from tests.training import assistant, user

TALK = [user("I lost it"), assistant("What?"), user("My job."), assistant("Oh no, your job.")]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def teacher(tokenizer):
    """Wider than the student, and its head padded further."""
    return LiveTeacher(tiny_llama(528, width=48, seed=3), tokenizer, "tests/teacher")


def rows_of(count: int = 6) -> list[Row]:
    """Rows of different lengths, whose teacher's prompts are longer than the student's."""
    rows = []
    for n in range(count):
        prompt, reply = tuple(range(5, 9 + n)), tuple(range(20, 23 + n % 3))
        informed, uninformed = (
            taught((9, *prompt, 7), reply, f"d{n}"),
            taught(prompt, reply, f"d{n}"),
        )
        rows.append(Row(n, prompt, reply, informed, uninformed, (30, 31, 32 + n)))
    return rows


def taking(rows: list[Row], told: bool = False) -> Taking:
    ids_BT, seen_BT = padded([row.ids for row in rows])
    sources = padded([row.source_ids for row in rows])
    return Taking(ids_BT, seen_BT, labels_of(rows), torch.tensor([told] * len(rows)), *sources)


def told_of(teacher: LiveTeacher, rows: list[Row], weights_N=None) -> Told:
    return Told(teacher.hidden([row.informed for row in rows]), teacher.head, weights_N)


def test_the_loss_is_the_written_one_row_by_row(teacher):
    """CE + a tau^2 KL + b MMD^2 from whole logits, one dialogue at a time, nothing padded."""
    rows, loss = rows_of(), PrideLoss(divergence_weight=0.7, temperature=2.0, mmd_weight=0.3)
    pride = PrideStudent(tiny_llama(), loss, None, 48)
    states, targets, kl, ce = [], [], [], []
    with torch.no_grad():
        for row in rows:
            start, size = len(row.prompt_ids), len(row.reply_ids)
            out = pride.student(torch.tensor([row.ids]), output_hidden_states=True)
            theirs = teacher.model(torch.tensor([row.informed.ids]), output_hidden_states=True)
            first = len(row.informed.prompt_ids)
            student_NV = out.logits[0, start - 1 : -1]
            kl.append(reverse_kl(student_NV, theirs.logits[0, first - 1 : -1], 2.0))
            ce.append(cross_entropy(student_NV, torch.tensor(row.reply_ids)))
            states.append(out.hidden_states[-1][0, start - 1 : -1])
            targets.append(theirs.hidden_states[-1][0, first - 1 : -1])
            assert len(kl[-1]) == size
    projected = pride.projector(torch.cat(states))
    mmd = rbf_mmd2(projected, torch.cat(targets))
    wanted = torch.cat(ce).mean() + 0.7 * 4 * torch.cat(kl).mean() + 0.3 * mmd
    found = pride(taking(rows), told_of(teacher, rows), float(len(torch.cat(ce))))
    assert torch.allclose(found.loss, wanted, atol=1e-4)
    assert torch.allclose(found.cross_entropy, torch.cat(ce).sum(), atol=1e-3)
    assert torch.allclose(found.divergence, torch.cat(kl).sum(), atol=1e-3)


def test_a_step_cut_into_batches_has_one_gradient(teacher):
    """The tokens of the whole step divide; MMD, which compares sets, is left out."""
    rows, gradients = rows_of(), []
    count = float(sum(len(row.reply_ids) for row in rows))
    for size in (6, 4, 1):
        pride = PrideStudent(tiny_llama(), PrideLoss(mmd_weight=0.0), None, 48)
        for start in range(0, 6, size):
            part = rows[start : start + size]
            pride(taking(part), told_of(teacher, part), count).loss.backward()
        gradients.append([p.grad for p in pride.parameters()])
    for other in gradients[1:]:
        assert all(
            torch.allclose(a, b, atol=1e-5) for a, b in zip(gradients[0], other, strict=True)
        )


def test_terms_that_are_off_are_off(teacher):
    rows, student = rows_of(), tiny_llama()
    count = float(sum(len(row.reply_ids) for row in rows))

    def found(**weights):
        pride = PrideStudent(copy.deepcopy(student), PrideLoss(**weights), None, 48)
        return pride(taking(rows), told_of(teacher, rows), count)

    alone = found(divergence_weight=0.0, mmd_weight=0.0)
    assert torch.allclose(alone.loss, alone.cross_entropy / count)
    pride = PrideStudent(student, PrideLoss())
    untaught = pride(taking(rows), None, count)
    assert torch.allclose(untaught.loss, alone.loss) and untaught.mmd == 0
    own = PrideStudent(student, PrideLoss(mmd_weight=0.0), None, 48)
    terms = own(taking(rows), told_of(teacher, rows), count, own_words=True)
    assert torch.allclose(terms.loss, terms.divergence / count)


@pytest.mark.parametrize("kind", ["forward-kl", "jsd", "skewed-reverse-kl", "skewed-forward-kl"])
def test_every_divergence_trains(teacher, kind):
    rows = rows_of(2)
    pride = PrideStudent(tiny_llama(), PrideLoss(divergence=kind, mmd_weight=0.0), None, 48)
    terms = pride(taking(rows), told_of(teacher, rows), 6.0)
    terms.loss.backward()
    assert terms.divergence > 0
    assert all(p.grad is not None for p in pride.student.parameters())


def test_sources_are_encoded_for_the_told_alone_and_as_if_for_all():
    rows = rows_of(4)
    pride = PrideStudent(tiny_llama(), PrideLoss(), MultiSource(32, [1], heads=2))
    one = replace(taking(rows), told_B=torch.tensor([False, True, False, False]))
    whole, some = pride.sources(taking(rows, told=True)), pride.sources(one)
    assert torch.allclose(some.states_BSD[1], whole.states_BSD[1], atol=1e-5)
    assert not some.states_BSD[[0, 2, 3]].any() and not some.seen_BS[[0, 2, 3]].any()
    nobody = pride.sources(taking(rows))
    assert nobody.states_BSD.shape == (4, 0, 32)


def test_a_batch_of_one_token_has_no_mmd_and_still_a_gradient(teacher):
    row = Row(0, (5, 6), (20,), taught((5,), (20,)))
    pride = PrideStudent(tiny_llama(), PrideLoss(), None, 48)
    terms = pride(taking([row]), told_of(teacher, [row]), 1.0)
    terms.loss.backward()
    assert terms.mmd == 0 and pride.projector.weight.grad is not None


def test_teacher_states_predict_the_replys_tokens_in_any_batch(teacher, monkeypatch):
    views = [row.informed for row in rows_of()]
    together = teacher.hidden(views)
    alone = torch.cat([teacher.hidden([view]) for view in views])
    assert torch.allclose(together, alone, atol=1e-5)
    monkeypatch.setattr("distill.learning.teacher.TOKENS_AT_ONCE", 30)
    assert [len(part) for part in batches(views)] == [2, 2, 1, 1]
    assert torch.allclose(teacher.hidden(views), alone, atol=1e-5)


def test_a_teachers_prompt_is_refused_and_never_cut(teacher, tokenizer):
    long = taught(range(5, 100), (20, 21), "d7")
    with pytest.raises(BadInput, match=r"dialogue d7 is 97 tokens .* reads 96; it is never cut"):
        teacher.hidden([long])
    with pytest.raises(BadInput, match="dialogue d8 has no teacher's prompt"):
        teacher.hidden([taught((), (20,), "d8")])
    recipe = parse_recipe(json.dumps(pride_recipe(max_length=24)), "tests")
    maker = RowMaker(recipe, tokenizer, tokenizer)
    (row,) = maker.rows([(TALK, Known("d0", FIELDS))])
    assert tokenizer.decode(row.prompt_ids).count("<|user|>") == 1
    heard = tokenizer.decode(row.informed.prompt_ids)
    assert heard.count("<|user|>") == 2 and "to be heard" in heard
    assert row.informed.reply_ids == row.reply_ids


def test_the_student_never_reads_what_is_privileged(tokenizer):
    recipe = parse_recipe(json.dumps(pride_recipe()), "tests")
    (row,) = RowMaker(recipe, tokenizer, tokenizer).rows([(TALK, Known("d0", FIELDS))])
    (blind,) = RowMaker(recipe, tokenizer, tokenizer).rows([(TALK, Known("d0", {}))])
    assert row.ids == blind.ids and row.informed != blind.informed
    assert "to be heard" in tokenizer.decode(row.source_ids) and not blind.has_sources
    assert blind.informed == blind.uninformed


def test_another_tokenizer_is_refused_and_padding_is_not(tokenizer):
    class Words:
        def __init__(self, names):
            self.names = names

        def get_vocab(self):
            return {name: i for i, name in enumerate(self.names)}

    mine = Words([f"w{i}" for i in range(5000)])
    refuse_other_tokenizer(mine, Words([*mine.names, "<extra>"]), "big")
    swapped = [*mine.names]
    swapped[3], swapped[4] = swapped[4], swapped[3]
    with pytest.raises(BadInput, match=r"token 3 is 'w4' to it and 'w3' to the student"):
        refuse_other_tokenizer(mine, Words(swapped), "big")
    with pytest.raises(BadInput, match=r"1100 tokens are in one of them only.*docs/pride\.md"):
        refuse_other_tokenizer(mine, Words(mine.names[:-1100]), "big")


def test_a_head_that_does_more_to_its_logits_is_refused(tokenizer):
    from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config

    sizes = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    for config in (Gemma2Config(**sizes, pad_token_id=0), CohereConfig(**sizes, pad_token_id=0)):
        model = AutoModelForCausalLM.from_config(config)
        LiveTeacher(model, tokenizer, "x")
        head = head_of(model)
        assert (head.softcap, head.scale) in {(30.0, 1.0), (None, 0.0625)}
    model = tiny_llama()
    model.lm_head.register_forward_hook(lambda module, words, out: out * 2)
    with pytest.raises(Unsupported, match="does more to its logits than a head"):
        LiveTeacher(model, tokenizer, "strange")


def test_four_bits_need_a_gpu():
    with pytest.raises(Unsupported, match="a teacher in 4 bits needs a CUDA GPU"):
        live_teacher("starter", bits=4)


def test_the_gauge_is_what_only_the_fields_explain(teacher):
    rows = rows_of()
    hidden_NE = teacher.hidden([row.informed for row in rows])
    gauge_N = token_gauge(teacher, rows, hidden_NE)
    row, heard, blind = rows[0], rows[0].informed, rows[0].uninformed
    with torch.no_grad():
        logs = [
            torch.log_softmax(teacher.model(torch.tensor([view.ids])).logits[0], -1)
            for view in (heard, blind)
        ]
    wanted = [
        logs[0][len(heard.prompt_ids) - 1 + n, token]
        - logs[1][len(blind.prompt_ids) - 1 + n, token]
        for n, token in enumerate(row.reply_ids)
    ]
    assert torch.allclose(gauge_N[: len(wanted)], torch.stack(wanted), atol=1e-4)
    weights_N = token_weights(gauge_N, 1.0)
    assert torch.allclose(weights_N, torch.exp(-gauge_N).clamp(max=1.0))
    known = [*rows, Row(9, (5,), (20,), heard, heard)]
    assert len(sample_of(known, 99, 0)) == len(rows)
    gauge = student_gauge(teacher, PrideStudent(tiny_llama(), PrideLoss()), rows, taking(rows))
    assert gauge.reference == pytest.approx(float(gauge_N.mean()), abs=1e-4)
    assert gauge.tokens == len(gauge_N)


def test_own_replies_end_at_a_stop_and_depend_on_the_seed_alone():
    rows, student = rows_of(3), tiny_llama().eval()
    policy = OnPolicy(share=1.0, max_new_tokens=6)
    first, again, other = (
        own_replies(student, rows, policy, [2], seed) for seed in ("a", "a", "b")
    )
    assert first == again != other
    assert all(0 < len(row.reply_ids) <= 6 for row in first)
    assert [row.informed.prompt_ids for row in first] == [r.informed.prompt_ids for r in rows]
    assert all(row.informed.reply_ids == row.reply_ids for row in first)
    assert until_stop([5, 2, 7], [2]) == (5, 2)


def test_fields_are_joined_by_the_words_of_a_dialogue(tmp_path):
    sets, data = write_known(tmp_path)
    knowledge = Knowledge.read(data)
    messages = json.loads((sets / "sft.jsonl").read_text().splitlines()[0])["messages"]
    assert list(knowledge.of(messages).fields) == ["emotion", "situation", "need"]
    assert knowledge.of([user("Somebody else."), assistant("Oh.")]) == Known("", {})
    shares = [sum(bool(knowledge.of(m, s).fields) for m in every(sets)) for s in (0.0, 0.5, 1.0)]
    assert shares[0] == 0 < shares[1] < shares[2] == 12


def every(sets):
    return [json.loads(line)["messages"] for line in read_lines(sets / "sft.jsonl")]


def test_dialogues_of_the_same_words_are_told_apart_by_their_reply(tmp_path):
    _, data = write_known(tmp_path)
    first = json.loads((data / "dialogues.jsonl").read_text().splitlines()[0])
    append(data / "dialogues.jsonl", first | {"id": "twin"})
    append(data / "privileged.jsonl", {"dialogue_id": "twin", "fields": {"emotion": "glad"}})
    said = {"author": "tests", "rating": 3}
    for name, text in (("d0", "Oh no."), ("twin", "How lovely.")):
        row = {"id": f"{name}/a", "dialogue_id": name, "text": text, **said}
        append(data / "responses.jsonl", row)
    knowledge = Knowledge.read(data)
    for reply, wanted in (("How lovely.", "twin"), ("Oh no.", "d0"), ("Hm.", "d0")):
        assert knowledge.of([*first["turns"], assistant(reply)]).dialogue_id == wanted
    assert set(knowledge.digests) == {"dialogues.jsonl", "privileged.jsonl", "responses.jsonl"}


def append(path, row):
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def test_a_folder_without_fields_is_refused(tmp_path):
    _, data = write_known(tmp_path)
    (data / "privileged.jsonl").write_text("")
    with pytest.raises(BadInput, match=r"privileged\.jsonl is empty; gather a corpus"):
        Knowledge.read(data)
    (data / "privileged.jsonl").unlink()
    with pytest.raises(MissingInput, match=r"privileged\.jsonl does not exist"):
        Knowledge.read(data)


def test_a_teacher_is_asked_with_a_background_and_without():
    notes = teacher_messages([{"role": "system", "content": "Be kind."}, *TALK], FIELDS, "notes")
    assert notes[0]["content"].startswith("Be kind.\nsituation: I lost my job")
    assert teacher_messages(TALK, {}, "notes") == TALK[:-1]
    (asked,) = teacher_messages(TALK, FIELDS, "reasoning")
    (blind,) = teacher_messages(TALK, {}, "reasoning")
    assert "emotion: sad" in asked["content"] and "<background>" not in blind["content"]
    assert "Oh no" not in asked["content"]


def test_features_come_from_one_file_a_dialogue(tmp_path):
    save_file({"a": torch.ones(3, 4)}, tmp_path / "d%2F1.safetensors")
    numpy.savez(tmp_path / "d2.npz", a=numpy.zeros((1, 4)))
    files = [feature_file(tmp_path, name) for name in ("d/1", "d2", "d3", "")]
    rows = [Row(n, (5,), (6,), features=file) for n, file in enumerate(files)]
    assert feature_width(rows) == 4 and [row.has_sources for row in rows] == [
        True,
        True,
        False,
        False,
    ]
    features_BLF, seen_BL = padded_features(rows, 4)
    assert features_BLF.shape == (4, 3, 4) and seen_BL.sum(1).tolist() == [3, 1, 0, 0]
    with pytest.raises(BadInput, match="is 4 wide, and the first feature file of the run is 5"):
        padded_features(rows, 5)
    save_file({"a": torch.ones(3)}, tmp_path / "d4.safetensors")
    (tmp_path / "d5.npz").write_text("no array")
    for name, reason in (("d4", "give one array"), ("d5", "cannot be read as features")):
        with pytest.raises(BadInput, match=reason):
            feature_width([Row(0, (5,), (6,), features=feature_file(tmp_path, name))])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"teacher": None}, "so a teacher is needed"),
        ({"teacher": {"model": "self"}}, "tuning goes with model: self"),
        ({"loss": {"cross_entropy": 0, "divergence_weight": 0, "mmd_weight": 0}}, "every term"),
        ({"loss": {"divergence_weight": 0}, "on_policy": {"share": 0.5}}, "on_policy learns by"),
        ({"loss": {"kl": 1}}, "Extra inputs are not permitted"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(changes, expected):
    with pytest.raises(BadInput, match=expected):
        parse_recipe(json.dumps(pride_recipe(**changes)), "tests")


def test_lines_of_a_recipe_are_strict_and_typed():
    recipe = parse_recipe(json.dumps(pride_recipe()), "tests")
    assert isinstance(recipe, Pride) and recipe.teacher.plain_share == 0.25
