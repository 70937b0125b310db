"""Which states are trained: causal shift, prompt mask, prompts of different length."""

import pytest
import torch

from distill.core.errors import BadInput
from distill.learning.masks import IGNORED
from distill.learning.response_rows import paired_rows, response_rows

NO = IGNORED


def positions(batch: int, tokens: int) -> torch.Tensor:
    """States that say where they stand: sequence * 100 + position."""
    place_BT = 100 * torch.arange(batch)[:, None] + torch.arange(tokens)
    return place_BT[..., None].float()


def test_the_state_before_a_token_predicts_it():
    rows, tokens = response_rows(positions(1, 5), torch.tensor([[NO, NO, 7, 8, 9]]))
    assert rows[:, 0].tolist() == [1, 2, 3]
    assert tokens.tolist() == [7, 8, 9]


def test_prompt_and_padding_are_never_trained():
    labels = torch.tensor([[NO, 5, NO, NO], [NO, NO, NO, 6], [NO, NO, NO, NO]])
    rows, tokens = response_rows(positions(3, 4), labels)
    assert rows[:, 0].tolist() == [0, 102]
    assert tokens.tolist() == [5, 6]


def test_a_longer_teacher_prompt_meets_the_same_response_tokens():
    student = torch.tensor([[NO, 7, 8, NO, NO], [NO, NO, NO, 4, 5]])
    teacher = torch.tensor([[NO, NO, NO, NO, 7, 8], [NO, NO, NO, NO, 4, 5]])
    mine, theirs, tokens = paired_rows(positions(2, 5), student, positions(2, 6), teacher)
    assert mine[:, 0].tolist() == [0, 1, 102, 103]
    assert theirs[:, 0].tolist() == [3, 4, 103, 104]
    assert tokens.tolist() == [7, 8, 4, 5]


@pytest.mark.parametrize(
    "teacher",
    [
        torch.tensor([[NO, NO, NO, 7], [NO, NO, NO, 4]]),
        torch.tensor([[NO, NO, 7, 8], [NO, NO, 4, 6]]),
        torch.tensor([[NO, 7, 8, 4], [NO, NO, NO, 5]]),
    ],
    ids=["cut", "other tokens", "out of step"],
)
def test_a_teacher_whose_response_was_cut_is_refused(teacher):
    student = torch.tensor([[NO, 7, 8, NO], [NO, NO, 4, 5]])
    with pytest.raises(BadInput, match="never cut its prompt"):
        paired_rows(positions(2, 4), student, positions(2, 4), teacher)
