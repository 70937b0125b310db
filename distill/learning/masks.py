"""Dialogues as tokens, with the exact tokens that the loss may see.

In: a tokenizer with a chat template, message lists. Out: `input_ids` and `labels` (-100 where no
loss is). Refused: a template that renders a prompt otherwise than the dialogue that continues it
(Unsupported), one whose reply has no stop token (BadInput).

The last reply: its tokens are those of the whole dialogue after the tokens of its prompt, rendered
with the generation prompt, which is how a runtime will ask. This needs no tags and is exact for
any template whose prompt is a prefix of the dialogue; that is checked for every dialogue. Every
reply: by the template's {% generation %} tags; a template without them is given each dialogue
once for each reply, cut after it, since some templates write a reply otherwise once it is past.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from distill.core.errors import BadInput, Unsupported
from distill.learning.training_sets import Messages, Pair

IGNORED = -100
Example = dict[str, list[int]]


def tokens_of(tokenizer: Any, messages: Messages, *, prompt: bool = False) -> list[int]:
    """Token ids of the rendered messages; with `prompt`, up to where the reply begins."""
    ids: list[int] = tokenizer.apply_chat_template(
        messages, add_generation_prompt=prompt, return_dict=True
    )["input_ids"]
    return ids


def last_reply(tokenizer: Any, messages: Messages) -> Example:
    """Tokens of a dialogue and labels on its last reply only."""
    asked = tokens_of(tokenizer, messages[:-1], prompt=True)
    whole = tokens_of(tokenizer, messages)
    if whole[: len(asked)] != asked:
        raise Unsupported(
            "the student's chat template renders a prompt otherwise than the dialogue that "
            "continues it, so the reply cannot be told apart; give the recipe a chat_template "
            f"(at {messages[-2]['content'][:40]!r})"
        )
    return {"input_ids": whole, "labels": [IGNORED] * len(asked) + whole[len(asked) :]}


def tagged_replies(tokenizer: Any, messages: Messages) -> Example:
    """Tokens of a dialogue and labels on every reply, by the template's own tags."""
    out = tokenizer.apply_chat_template(
        messages, return_assistant_tokens_mask=True, return_dict=True
    )
    ids, marks = out["input_ids"], out["assistant_masks"]
    return {
        "input_ids": ids,
        "labels": [i if m else IGNORED for i, m in zip(ids, marks, strict=True)],
    }


def has_tags(tokenizer: Any) -> bool:
    template = tokenizer.chat_template
    return isinstance(template, str) and "endgeneration" in template


def examples_of(
    tokenizer: Any, dialogues: Iterable[Messages], *, loss_on: str, max_length: int
) -> Iterator[Example]:
    """Examples that fit; what is too long loses its oldest turns, or is left out at last."""
    tagged = loss_on == "every-reply" and has_tags(tokenizer)
    build = tagged_replies if tagged else last_reply
    for messages in dialogues:
        parts = [messages] if tagged or loss_on == "last-reply" else cut_after_replies(messages)
        for part in parts:
            for shorter in shortened(part):
                example = build(tokenizer, shorter)
                if len(example["input_ids"]) <= max_length:
                    yield example
                    break


def cut_after_replies(messages: Messages) -> list[Messages]:
    """The dialogue once for each of its replies that answers something, ending with it."""
    return [
        messages[: place + 1]
        for place, message in enumerate(messages)
        if message["role"] == "assistant" and any(m["role"] == "user" for m in messages[:place])
    ]


def shortened(messages: Messages) -> Iterator[Messages]:
    """The dialogue, then the same without its oldest exchanges; a system message stays."""
    system, talk = (
        (messages[:1], messages[1:]) if messages[0]["role"] == "system" else ([], messages)
    )
    yield messages
    starts = [place for place in range(1, len(talk) - 1) if talk[place]["role"] == "user"]
    for start in starts:
        yield [*system, *talk[start:]]


def pairs_that_fit(tokenizer: Any, pairs: Iterable[Pair], max_length: int) -> Iterator[Pair]:
    """Pairs whose longer side fits, shortened like dialogues."""
    for pair in pairs:
        for prompt in shortened([*pair.prompt, *pair.chosen]):
            asked = prompt[:-1]
            sides = [
                last_reply(tokenizer, [*asked, *side]) for side in (pair.chosen, pair.rejected)
            ]
            if max(len(side["input_ids"]) for side in sides) <= max_length:
                yield Pair(asked, pair.chosen, pair.rejected)
                break


def refuse_endless(tokenizer: Any, examples: Sequence[Example], stops: set[int]) -> None:
    """BadInput when the reply that is learnt ends without any of the stop tokens."""
    learnt = [token for token in examples[0]["labels"] if token != IGNORED]
    if not stops & set(learnt[-3:]):
        shown = tokenizer.decode(learnt[-3:])
        raise BadInput(
            f"replies end with {shown!r}, which holds no stop token, so the student would never "
            "learn to end; name the token that ends a turn under chat_template in the recipe"
        )
