"""A chat model as a judge: OpenAI, Gemini, any OpenAI-compatible endpoint, a local checkpoint.

In: calls. Out: decisions; every finished call is in the ledger before its decision is seen, and a
call that the ledger holds is not made again. The verdict is the last line of the answer, and it
must carry a code that no reply can know; whatever is not exactly one such line, at the end of a
finished answer, is unreadable. Refused: a judge without a model, a calibration of another judge
(BadInput), a batch that is not done (left for later).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from distill.core.asking import Ask, Plan, Terms, ask_all, plan
from distill.core.batches import Submission, collect, refresh, submit
from distill.core.chat import Chat, Messages, Reply, Sampling, ScriptedChat
from distill.core.chat.table import open_chat
from distill.core.errors import BadInput
from distill.core.jsonl import read_json
from distill.core.ledger import Ledger
from distill.core.progress import say
from distill.core.records import Side
from eval.judges.options import LEDGER, JudgeOptions
from eval.judges.rubric import Rubric, read_rubric
from eval.judges.seam import Call, Decision, Opinion

BATCHES = "batches"
UNMEASURED = "agreement of this judge with people was not measured here"


@dataclass(frozen=True)
class ChatJudge:
    """Asks a chat model under a rubric; the ledger keeps what it said."""

    chat: Chat
    rubric_text: Rubric
    ledger: Path
    sampling: Sampling = field(default_factory=lambda: Sampling(1024))
    terms: Terms = field(default_factory=Terms)
    agreement_note: str = UNMEASURED

    @property
    def name(self) -> str:
        return self.chat.name

    @property
    def rubric(self) -> str:
        return self.rubric_text.name

    @property
    def rubric_digest(self) -> str:
        return self.rubric_text.digest

    def ask(self, call: Call) -> Ask:
        prompt = self.rubric_text.prompt(
            call.dialogue.messages(), call.first.text, call.second.text
        )
        messages = [{"role": "user", "content": prompt}]
        return Ask(call.id, messages, self.sampling, self.rubric, self.rubric_digest)

    def read(self, call: Call, reply: Reply) -> Opinion:
        code = self.rubric_text.code(call.dialogue.messages(), call.first.text, call.second.text)
        return Opinion(read_verdict(reply, code, self.rubric_text.sides), reply.text, reply.model)

    def decide(self, calls: Iterable[Call]) -> Iterator[Decision]:
        waiting = {call.id: call for call in calls}
        patience = max(1, min(self.terms.patience, len(waiting)))
        terms = replace(self.terms, patience=patience)
        with Ledger(self.ledger) as ledger:
            for came in ask_all(map(self.ask, waiting.values()), self.chat, ledger, terms):
                call = waiting[came.ask.id]
                opinion = self.read(call, came.reply) if came.reply else None
                yield Decision(call, opinion, came.failure, paid=not came.from_ledger)

    def plan(self, calls: Iterable[Call]) -> Plan:
        """What the calls would cost; a ledger that is not there is not made."""
        with Ledger(self.ledger if self.ledger.exists() else Path(":memory:")) as ledger:
            return plan(map(self.ask, calls), self.chat, ledger, self.terms)

    def submit(self, calls: Iterable[Call]) -> Submission:
        """Fetch the batches that are done, then submit what is still missing."""
        with Ledger(self.ledger) as ledger:
            for record in ledger.batches():
                if refresh(record, ledger).state not in ("waiting", "collected"):
                    done = collect(record, ledger)
                    say(f"{record.id}: {len(done.answered)} of {record.calls} answered")
            folder = self.ledger.parent / BATCHES
            return submit(map(self.ask, calls), self.chat, ledger, folder, self.terms)


def read_verdict(reply: Reply, code: str, sides: tuple[str, ...]) -> Side:
    """The side that the last line names, or `unreadable`."""
    lines = [line.strip() for line in reply.text.splitlines() if line.strip()]
    pattern = re.compile(rf"\**Verdict {code}: ({'|'.join(sides)})\.?\**")
    found = [pattern.fullmatch(line) for line in lines]
    matches = [match for match in found if match]
    if reply.outcome != "answered" or len(matches) != 1 or not found[-1]:
        return "unreadable"
    return next(side for side in get_args(Side) if side == matches[0].group(1))


def opened(spec: str, asked: JudgeOptions, out: Path, ties: bool) -> ChatJudge:
    provider, _, model = spec.partition(":")
    if not model:
        raise BadInput(
            f"the judge {provider} needs a model; write --judge {provider}:MODEL, or --model"
        )
    rubric = read_rubric(asked.rubric, ties=ties)
    chat = named(provider, model) if asked.dry_run else voiced(spec, asked)
    ledger = asked.ledger or out / LEDGER
    note = calibrated(asked.calibration, spec, rubric) if asked.calibration else UNMEASURED
    return ChatJudge(chat, rubric, ledger, asked.sampling(), asked.terms(), note)


def named(provider: str, model: str) -> Chat:
    """A name without a voice: a dry run needs no key."""

    def silent(messages: Messages) -> str:
        raise AssertionError("a dry run asks nothing")

    return ScriptedChat(silent, model, provider=provider)


def voiced(spec: str, asked: JudgeOptions) -> Chat:
    chat: Any = open_chat(spec, base_urls=tuple(asked.base_url), timeout_s=asked.timeout)
    found: Chat = replace(chat, retries=asked.retries) if hasattr(chat, "retries") else chat
    return found


def calibrated(path: Path, spec: str, rubric: Rubric) -> str:
    """The sentence of a calibration, when it was made with this judge and rubric."""
    known = read_json(path)
    told = known.get("judges", {}).get(spec) if isinstance(known, dict) else None
    if not told or told.get("rubric_digest") != rubric.digest:
        raise BadInput(
            f"{path} says nothing of {spec} by the rubric {rubric.name}; measure it with: "
            f"distill eval calibrate RATED --judge {spec} --rubric {rubric.name}"
        )
    return str(told["agreement_note"])
