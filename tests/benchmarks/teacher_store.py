"""A stored teacher against the live one: gradient, bytes a token, time of a step.

    python -m tests.benchmarks.teacher_store [--replies N] [--rounds N] [--threads N] [--noise X]

Teacher: the bundled base, which reads the privileged fields before each dialogue of the bundled
starter data. Student: a copy of it with noise on every weight, which reads the dialogue alone.
Exact is the reverse KL from the live teacher's fp32 states through `fused`; error and cosine are
of the gradient that reaches the student's states and head. A step is the student's forward and
backward pass and the loss; live adds the teacher's forward pass, stored adds the reading from
the disk. Paths take turns, figures are medians of processor seconds. For other models give
--teacher FOLDER.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from distill.corpora.starter import read_starter
from distill.learning.fused import fused_linear_reverse_kl
from distill.learning.masks import IGNORED, last_reply, tokens_of
from distill.learning.origin import bundled_base
from distill.learning.teacher import LiveTeacher, Taught, head_of, live_teacher, taught
from distill.learning.teacher_cache import FORMAT, Identity, Layout, StoreHeader, vocabulary_size
from distill.learning.teacher_cache_capture import capture
from distill.learning.teacher_cache_reader import Store, StoredTeacher, StoredTopK
from distill.learning.teacher_cache_sparse import queried_reverse_kl, top_k_reverse_kl
from distill.learning.teacher_cache_writer import StoreWriter, begin, write_index
from distill.teaching.prompts import background

LAYOUTS: dict[str, dict[str, Any]] = {
    "bf16": {"precision": "bf16"},
    "int8, group 64": {"precision": "int8", "group": 64},
    "int8, group 32": {"precision": "int8", "group": 32},
}
TOP_K = 64


@dataclass(frozen=True)
class Case:
    """The same replies as the student reads them and as the teacher does."""

    plain: list[Taught]
    informed: list[Taught]
    student: Any
    live: LiveTeacher


@dataclass(frozen=True)
class Gradients:
    """A loss, and its gradient on the student's states and head."""

    loss: float
    on_states: Tensor
    on_head: Tensor


def read_case(folder: str, replies: int, noise: float) -> Case:
    live, student = live_teacher(folder), live_teacher(folder).model
    tokenizer, plain, informed = live.tokenizer, [], []
    step = max(1, len(read_starter()) // replies)
    for item in read_starter()[::step][:replies]:
        talk = item.dialogue.messages()
        reply = {"role": "assistant", "content": item.responses[-1].text}
        ids = [i for i in last_reply(tokenizer, [*talk, reply])["labels"] if i != IGNORED]
        assert item.privileged is not None
        told = {"role": "system", "content": background(item.privileged.fields)}
        plain.append(taught(tokens_of(tokenizer, talk, prompt=True), ids))
        informed.append(taught(tokens_of(tokenizer, [told, *talk], prompt=True), ids))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(torch.randn_like(weight) * weight.std().nan_to_num(0), alpha=noise)
            weight.requires_grad_()
    return Case(plain, informed, student, live)


def student_states(case: Case, replies: Sequence[Taught]) -> Tensor:
    """States [N, D] that predict the replies, with a gradient."""
    ids = [torch.tensor(each.ids) for each in replies]
    ids_BT = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    hidden_BTD = case.student.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state
    return torch.cat(
        [
            hidden_BTD[row, len(each.prompt_ids) - 1 : len(each.ids) - 1]
            for row, each in enumerate(replies)
        ]
    )


def gradients_of(loss: Callable[[Tensor, Tensor], Tensor], states_ND: Tensor, case: Case) -> Any:
    hidden_ND = states_ND.detach().requires_grad_()
    head_VD = head_of(case.student).weight_VD.detach().clone().requires_grad_()
    value = loss(hidden_ND, head_VD)
    return Gradients(float(value.detach()), *torch.autograd.grad(value, (hidden_ND, head_VD)))


def store_in(folder: Path, case: Case, **changes: Any) -> Store:
    vocabulary = vocabulary_size(case.live.tokenizer)
    width = case.live.head.weight_VD.shape[1]
    layout = Layout(**{"tier": "states", "width": width, "vocabulary": vocabulary, **changes})
    names = ("teacher", "teacher_sha256", "vocabulary_sha256", "template_sha256", "prompt_sha256")
    head = case.live.head
    header = StoreHeader(
        format=FORMAT,
        identity=Identity(**dict.fromkeys(names, "benchmark")),
        layout=layout,
        logit_scale=head.scale,
        softcap=head.softcap,
    )
    begin(folder, header, head, case.live.tokenizer.get_vocab())
    capture(case.live, case.informed, StoreWriter(folder), layout)
    write_index(folder)
    return Store(folder)


def compared(found: Gradients, exact: Gradients) -> list[str]:
    cells = [f"{100 * (found.loss / exact.loss - 1):+.3f} %"]
    for mine, other in ((found.on_states, exact.on_states), (found.on_head, exact.on_head)):
        mine, other = mine.double(), other.double()
        cosine = torch.cosine_similarity(mine.flatten(), other.flatten(), dim=0)
        cells.append(f"{float(cosine):.6f}")
        cells.append(f"{100 * float((mine - other).norm() / other.norm()):.3f} %")
    return cells


def from_states(teacher: StoredTeacher, case: Case, states_ND: Tensor, **options: Any) -> Any:
    """The exact loss on stored states, or with `keep` the student's likeliest tokens; and notes."""
    states_NE, normalizers_N = teacher.answered(case.informed)
    noted: list[str] = []

    def loss(hidden_ND: Tensor, head_VD: Tensor) -> Tensor:
        if not options:
            weight_VE = teacher.head.weight_VD
            return fused_linear_reverse_kl(hidden_ND, head_VD, states_NE, weight_VE)
        found = queried_reverse_kl(
            hidden_ND, head_VD, states_NE, normalizers_N, teacher.head, **options
        )
        dense, tail = float(found.dense_N.float().mean()), float(found.tail_N.mean())
        noted.append(f"{100 * dense:.0f} % dense, mean tail {tail:.4f}")
        return found.scored.loss

    return gradients_of(loss, states_ND, case), " ".join(noted)


def accuracy(case: Case, folder: Path) -> Table:
    table = Table("store", "bytes/token", "value", "cos dH", "error dH", "cos dW", "error dW", "")
    with torch.no_grad():
        states_ND = student_states(case, case.plain)
        live_NE = case.live.hidden(case.informed)
    weight_VE = case.live.head.weight_VD
    exact = gradients_of(
        lambda h, w: fused_linear_reverse_kl(h, w, live_NE, weight_VE), states_ND, case
    )
    table.title = f"{len(live_NE)} response tokens, exact reverse KL {exact.loss:.4f} nats"
    for name, changes in LAYOUTS.items():
        store = store_in(folder / name, case, **changes)
        found, note = from_states(StoredTeacher(store), case, states_ND)
        table.add_row(name, str(store.layout.row_bytes), *compared(found, exact), note)
    bf16 = StoredTeacher(Store(folder / "bf16"))
    size = str(bf16.store.layout.row_bytes)
    for keep in (64, 256):
        for limit in (1.0, 0.05, 0.01):
            found, note = from_states(bf16, case, states_ND, keep=keep, tail_at_most=limit)
            name = f"bf16, student's top {keep}, tail <= {limit}"
            table.add_row(name, size, *compared(found, exact), note)
    top = StoredTopK(store_in(folder / "top", case, tier="top-k", top_k=TOP_K))
    rows = top.rows(case.informed)
    found = gradients_of(
        lambda h, w: top_k_reverse_kl(h, w, rows, top.vocabulary).scored.loss, states_ND, case
    )
    size = str(top.store.layout.row_bytes)
    table.add_row(f"teacher's top {TOP_K}", size, *compared(found, exact), "lower bound")
    return table


def steps(case: Case, folder: Path, batch: int) -> dict[str, Callable[[], None]]:
    """One training step of each kind, on the first replies."""
    plain, informed = case.plain[:batch], case.informed[:batch]
    head = head_of(case.student).weight_VD
    stored = {name: StoredTeacher(Store(folder / name)) for name in LAYOUTS}

    def sft() -> None:
        logits_NV = student_states(case, plain) @ head.T
        ids_N = torch.tensor([i for each in plain for i in each.reply_ids])
        torch.nn.functional.cross_entropy(logits_NV, ids_N).backward()

    def from_teacher(teacher: Any) -> None:
        states_NE = teacher.hidden(informed)
        weight_VE = teacher.head.weight_VD
        fused_linear_reverse_kl(student_states(case, plain), head, states_NE, weight_VE).backward()

    def queried() -> None:
        teacher = stored["bf16"]
        states_NE, normalizers_N = teacher.answered(informed)
        found = queried_reverse_kl(
            student_states(case, plain), head, states_NE, normalizers_N, teacher.head
        )
        found.scored.loss.backward()

    return {
        "SFT (cross-entropy alone)": sft,
        "live teacher": lambda: from_teacher(case.live),
        **{f"stored, {name}": lambda t=t: from_teacher(t) for name, t in stored.items()},
        "stored bf16, student's top 256": queried,
    }


def timed(case: Case, folder: Path, batch: int, rounds: int) -> Table:
    taken: dict[str, list[float]] = {}
    for round_number in range(rounds + 1):
        for name, step in steps(case, folder, batch).items():
            started = time.process_time()
            step()
            case.student.zero_grad()
            if round_number:
                taken.setdefault(name, []).append(time.process_time() - started)
    table = Table("step", "CPU s", "against live", "against SFT")
    live, sft = taken["live teacher"], taken["SFT (cross-entropy alone)"]
    for name, seconds in taken.items():
        ratios = [
            statistics.median(mine / other for mine, other in zip(seconds, others, strict=True))
            for others in (live, sft)
        ]
        middle = statistics.median(seconds)
        table.add_row(name, f"{middle:.3f}", f"{ratios[0]:.2f}x", f"{ratios[1]:.2f}x")
    table.title = f"{batch} replies a step, medians of {rounds} rounds"
    return table


def main(
    teacher: Annotated[str, typer.Option(help="A folder; the bundled base by default.")] = "",
    replies: int = 128,
    rounds: int = 7,
    batch: int = 16,
    threads: int = 2,
    noise: Annotated[float, typer.Option(help="Of a weight's own spread.")] = 0.1,
) -> None:
    torch.set_num_threads(threads)
    case = read_case(teacher or str(bundled_base()), replies, noise)
    with tempfile.TemporaryDirectory() as folder:
        console = Console(width=150)
        console.print(accuracy(case, Path(folder)))
        console.print(timed(case, Path(folder), batch, rounds))


if __name__ == "__main__":
    typer.run(main)
