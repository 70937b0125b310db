"""Hidden states that predict the response, under the student's prompt and under the teacher's.

In: last hidden states and labels (-100 on the prompt) of whole sequences. Out: one row for each
response token, student and teacher side by side. Refused: a teacher sequence whose response is
not the student's, token by token (BadInput): the prompt was cut, or the rows are out of step.

The causal shift happens here and nowhere else: the state at position t predicts token t + 1. The
prompts differ in length, since the teacher reads privileged fields, so rows are matched by
response token and never by position.

Shapes: B sequences, T tokens of the student's, U of the teacher's, D and E their widths, N
response tokens.
"""

import torch
from torch import Tensor

from distill.core.errors import BadInput
from distill.learning.masks import IGNORED


def response_rows(hidden_BTD: Tensor, labels_BT: Tensor) -> tuple[Tensor, Tensor]:
    """States that predict a labelled token [N, D] and those tokens [N], in reading order."""
    next_BT = labels_BT[:, 1:]
    kept_BT = next_BT != IGNORED
    return hidden_BTD[:, :-1][kept_BT], next_BT[kept_BT]


def paired_rows(
    student_hidden_BTD: Tensor,
    student_labels_BT: Tensor,
    teacher_hidden_BUE: Tensor,
    teacher_labels_BU: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Student states [N, D], teacher states [N, E] and tokens [N] of the same response tokens."""
    student_ND, tokens_N = response_rows(student_hidden_BTD, student_labels_BT)
    teacher_NE, teacher_tokens_N = response_rows(teacher_hidden_BUE, teacher_labels_BU)
    student_B = (student_labels_BT[:, 1:] != IGNORED).sum(1)
    teacher_B = (teacher_labels_BU[:, 1:] != IGNORED).sum(1)
    if not torch.equal(student_B, teacher_B) or not torch.equal(tokens_N, teacher_tokens_N):
        raise BadInput(
            f"the teacher's responses have {teacher_B.tolist()} tokens and the student's "
            f"{student_B.tolist()}, or other tokens in the same places; both must end with the "
            "same response, so raise the teacher's longest sequence or drop these dialogues, "
            "and never cut its prompt"
        )
    return student_ND, teacher_NE, tokens_N
