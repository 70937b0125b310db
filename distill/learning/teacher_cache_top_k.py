"""The thin tier: a teacher's K likeliest tokens and the mass of all others, one bucket.

In: hidden states and a head, or the `top_logprobs` that an OpenAI-style service sends. Out: rows
of a store [N, K]. Refused: log-probabilities of another reply than the one that is stored, a
token that the student's tokenizer does not have (BadInput).

This is what a remote teacher can give. A reverse KL over kept tokens and one bucket is a *lower
bound* of the exact one, by q_tail KL(q(.|tail) || p(.|tail)) (the chain rule of relative
entropy): what the student does inside the bucket is not seen. Where the teacher is at hand, store
its states.

Shapes: N response tokens, K kept tokens, V vocabulary, E the teacher's width.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from distill.core.errors import BadInput
from distill.learning.fused_pass import slices
from distill.learning.projection import Head
from distill.learning.teacher_cache import Rows, logits_of, rows_at_once, vocabulary_size

TOKEN_ID = "token_id:"  # how vLLM names tokens with return_tokens_as_token_ids
ABSENT = -1
UNREADABLE = "\ufffd"
LEAST_LOG = math.log(torch.finfo(torch.float32).tiny)


def top_rows(head: Head, hidden_NE: Tensor, kept: int) -> Rows:
    """The K likeliest tokens of each row, their log-probabilities, and log of the other mass."""
    ids, logs, tails = [], [], []
    for rows in slices(len(hidden_NE), rows_at_once(head)):
        logs_CV = torch.log_softmax(logits_of(head, hidden_NE[rows]), -1)
        top = logs_CV.topk(kept, -1)
        ids.append(top.indices.int())
        logs.append(top.values)
        rest_C = logs_CV.scatter_(-1, top.indices, -torch.inf).logsumexp(-1)
        # Nothing is left where every token is kept; a bucket of no mass would divide by zero.
        tails.append(rest_C.clamp(min=LEAST_LOG))
    return {"ids": torch.cat(ids), "log_p": torch.cat(logs), "log_tail": torch.cat(tails)}


def token_names(tokenizer: Any) -> dict[str, int]:
    """Ids by what they read as; texts of several tokens, and parts of characters, name none."""
    names: dict[str, int] = {}
    for token in range(vocabulary_size(tokenizer)):
        text = tokenizer.decode([token])
        names[text] = ABSENT if text in names or UNREADABLE in text else token
    return names


def rows_of_service(
    content: Sequence[Mapping[str, Any]],
    reply_ids: Sequence[int],
    names: Mapping[str, int],
    kept: int,
) -> Rows:
    """Rows from `choices[].logprobs.content`; alternatives without an id of ours go to the bucket.

    The reply's own token is kept too: a service sends it beside the likeliest. BadInput when the
    service read the reply as other tokens than the student's tokenizer does.
    """
    if len(content) != len(reply_ids):
        raise BadInput(
            f"the service sent log-probabilities for {len(content)} tokens, and the reply has "
            f"{len(reply_ids)} in the student's tokenizer; store a teacher of the student's family"
        )
    ids_NK = torch.zeros(len(content), kept, dtype=torch.int32)
    log_p_NK = torch.full((len(content), kept), -torch.inf)
    for place, (token, said) in enumerate(zip(reply_ids, content, strict=True)):
        own = id_of(said["token"], names)
        if own != token:
            raise BadInput(
                f"token {place} of the reply is {said['token']!r} for the service and {token} in "
                "the student's tokenizer; store a teacher of the student's family"
            )
        found = {own: float(said["logprob"])}
        for other in said.get("top_logprobs") or ():
            if (known := id_of(other["token"], names)) != ABSENT and len(found) < kept:
                found.setdefault(known, float(other["logprob"]))
        ids_NK[place, : len(found)] = torch.tensor([*found], dtype=torch.int32)
        ids_NK[place, len(found) :] = own
        log_p_NK[place, : len(found)] = torch.tensor([*found.values()])
    return {"ids": ids_NK, "log_p": log_p_NK, "log_tail": rest_of(log_p_NK)}


def id_of(name: str, names: Mapping[str, int]) -> int:
    if name.startswith(TOKEN_ID):
        return int(name.removeprefix(TOKEN_ID))
    return names.get(name, ABSENT)


def rest_of(log_p_NK: Tensor) -> Tensor:
    """Log of one minus the kept mass; services round, so no mass may be left."""
    rest_N = 1 - log_p_NK.double().exp().sum(-1)
    return rest_N.clamp(min=torch.finfo(torch.float32).eps).log().float()
