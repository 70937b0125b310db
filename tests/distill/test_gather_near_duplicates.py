"""Near-duplicates across splits: exact, quick, and never within a split."""

import itertools
import random
import time

from distill.core.records import SPLITS, Dialogue, Turn
from distill.corpora.curriculum.corpus import curriculum_items
from distill.corpora.item import Item
from distill.corpora.near_duplicates import (
    RANK,
    THRESHOLD,
    drop_near_duplicates,
    jaccard,
    shingles_of,
)
from distill.corpora.starter import read_starter


def item(name, text, split):
    dialogue = Dialogue(
        id=name, source="made", turns=[Turn(role="user", content=text)], split=split
    )
    return Item(dialogue, None, ())


def random_items(count, words, seed):
    rng = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(words)]
    for number in range(count):
        text = " ".join(rng.choices(vocabulary, k=rng.randint(1, 12)))
        yield item(str(number), text, rng.choice(SPLITS))


def test_no_near_pair_is_missed_and_none_is_made_up():
    for seed, threshold in itertools.product(range(6), (0.3, THRESHOLD, 0.75, 1.0)):
        items = list(random_items(150, 4, seed))
        kept, near = drop_near_duplicates(items, threshold)
        ids = {one.dialogue.id for one in kept}
        assert ids.isdisjoint(near) and len(ids) + len(near) == len(items)
        by_id = {one.dialogue.id: one for one in items}
        for left, right in itertools.combinations(kept, 2):
            if left.dialogue.split != right.dialogue.split:
                assert jaccard(shingles_of(left), shingles_of(right)) < threshold
        for gone, cause in near.items():
            assert jaccard(shingles_of(by_id[gone]), shingles_of(by_id[cause])) >= threshold
            assert RANK[by_id[gone].dialogue.split] < RANK[by_id[cause].dialogue.split]
            assert cause in ids


def test_the_test_split_stays_whole_and_likeness_within_a_split_is_allowed():
    text = "my neighbour's dog barked all night and I could not sleep"
    items = [item(f"{split}{number}", text, split) for split in SPLITS for number in (1, 2)]
    kept, near = drop_near_duplicates(items)
    assert [one.dialogue.id for one in kept] == ["test1", "test2"]
    assert set(near) == {"train1", "train2", "valid1", "valid2"}


def test_case_punctuation_and_a_changed_word_do_not_hide_a_copy():
    test = item("t", "I cheated on my math test today, and nobody knows it.", "test")
    copy = item("c", "i CHEATED on my math test today!! and nobody knows that", "train")
    other = item("o", "My sister cheated at cards and everybody knows it.", "train")
    kept, near = drop_near_duplicates([copy, other, test])
    assert near == {"c": "t"}
    assert [one.dialogue.id for one in kept] == ["o", "t"]


def test_what_the_assistant_says_makes_no_dialogue_near():
    question = Turn(role="assistant", content="That sounds hard. What happened next, if I may ask?")
    items = []
    for split, said in (("train", "the boat sank in the bay"), ("test", "we lost our old house")):
        turns = [Turn(role="user", content=said), question, Turn(role="user", content=split)]
        items.append(Item(Dialogue(id=split, source="x", turns=turns, split=split), None, ()))
    assert drop_near_duplicates(items)[1] == {}


def test_the_curriculum_and_the_starter_keep_their_dialogues_and_take_seconds():
    items = [*curriculum_items(9000), *read_starter()]
    started = time.process_time()
    kept, _ = drop_near_duplicates(items)
    assert time.process_time() - started < 5
    assert len(kept) >= 0.999 * len(items)


def test_twenty_thousand_dialogues_take_less_than_a_minute():
    items = list(random_items(20_000, 3_000, seed=1))
    started = time.process_time()
    drop_near_duplicates(items)
    assert time.process_time() - started < 60
