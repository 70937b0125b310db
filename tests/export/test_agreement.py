"""The figures of the gate against the slow obvious ones."""

from collections import Counter

import numpy as np
import pytest
import torch

from export.agreement import Agreement, Passage, Writer, compare, difference, rows_of_file
from export.recorded import Recorded, affordable
from export.session import Session, chunks


def greedy(session, prompt, limit):
    """The reply that the writer should find, and nothing of it remembered."""
    session.restart()
    rows = [session.read(chunk) for chunk in chunks(prompt, session.batch)]
    reply = []
    while len(reply) < limit and not (reply and session.ends(reply[-1])):
        reply.append(int(rows[-1][-1].argmax()))
        rows.append(session.read(reply[-1:]))
    return reply


def test_divergence_is_that_of_torch():
    rng = np.random.default_rng(0)
    reference_NV, candidate_NV = rng.normal(size=(2, 5, 40)).astype(np.float32) * 4
    divergence_N, same_N = difference(reference_NV, candidate_NV)
    log_p, log_q = (
        torch.log_softmax(torch.tensor(x).double(), -1) for x in (reference_NV, candidate_NV)
    )
    slow = torch.nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    assert divergence_N == pytest.approx(slow.numpy())
    assert same_N.tolist() == (log_p.argmax(-1) == log_q.argmax(-1)).tolist()


def test_equal_logits_do_not_diverge():
    logits_NV = np.full((3, 8), 700.0, np.float32)
    divergence_N, same_N = difference(logits_NV, logits_NV)
    assert divergence_N.tolist() == [0, 0, 0] and same_N.all()


def spoken(rows):
    """A source whose best token at each position is the given one."""
    return lambda tokens: iter([np.eye(8, dtype=np.float32)[rows[: len(tokens)]]])


def test_the_greedy_prefix_ends_where_the_best_tokens_first_differ():
    passage = Passage(tokens=[1, 2, 3, 4, 5, 6], reply=2, ended=True)
    sources = {"a": spoken([0, 3, 4, 5, 6]), "b": spoken([7, 3, 4, 0, 6])}
    (pair,) = compare(sources, [passage], iter)
    figures = pair.figures()
    assert figures["positions"] == 5
    assert figures["top1"] == 3 / 5
    assert figures["greedy_prefix"] == 2 / 4
    assert figures["end_of_turn"] == 1.0


def test_a_conversation_without_a_reply_has_no_greedy_figures():
    pair = Agreement("a", "b")
    pair.add(Passage([1, 2, 3], reply=3, ended=False), np.zeros(2), np.ones(2, bool))
    assert pair.figures()["greedy_prefix"] is None
    assert pair.figures()["end_of_turn"] is None


def test_a_spared_source_reads_the_first_passage_and_then_half_of_the_text():
    seen = []

    def watched(tokens):
        seen.append(len(tokens))
        return spoken([1, 1, 1, 1, 1])(tokens)

    sources = {"torch": watched, "f16": spoken([1] * 5), "q4": spoken([1] * 5)}
    passages = [Passage([1] * 5, 5, False) for _ in range(6)]
    reads = Counter()
    first, second = compare(sources, iter(passages), iter, spared="torch", reads=reads)
    assert len(seen) == 3 and reads == {"text": 30, "torch": 15, "f16": 30, "q4": 30}
    assert (first.positions, second.positions) == (12, 24)


def test_a_writer_reads_what_it_wrote_without_computing_it_again(lively_f16):
    with Session(lively_f16, context=128, batch=8) as session:
        again = greedy(session, [5, 6, 7] * 5, 12)
        writer = Writer(session)
        assert writer.greedy([5, 6, 7] * 5, 12) == again
        tokens = [5, 6, 7] * 5 + again
        recorded = list(writer(tokens[:-1]))
        with pytest.raises(AssertionError):
            next(writer([1, 2, 3]))
        slow = list(rows_of_file(session)(tokens[:-1]))
    assert [len(rows) for rows in recorded] == [len(rows) for rows in slow]
    assert np.concatenate(recorded) == pytest.approx(np.concatenate(slow), abs=0.01)


def test_recorded_logits_are_those_of_the_source(lively_f16, tmp_path):
    passage = Passage([5, 6, 7] * 9, 27, False)
    with Session(lively_f16, context=128, batch=8) as session:
        source = rows_of_file(session)
        reference = Recorded(source, [passage], tmp_path / "rows")
        assert all(
            np.array_equal(kept, again)
            for kept, again in zip(reference(passage.tokens[:-1]), source(passage.tokens[:-1]),
                                   strict=True)
        )  # fmt: skip
        figures = reference.against("same", source).figures()
    assert figures["mean_kld"] == 0 and figures["top1"] == 1


def test_as_many_conversations_are_recorded_as_the_disk_can_take():
    many = [[]] * 48
    assert affordable(many, 4096) == 48 and affordable(many, 150_000) == 20
