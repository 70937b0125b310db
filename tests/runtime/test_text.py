"""Bytes of tokens become text: whole characters, nothing from a stop string on."""

import pytest

from runtime.text import TextFlow


def flow(parts: list[bytes], *stops: str) -> tuple[list[str], bool]:
    text = TextFlow(stops)
    out = [text.add(part) for part in parts]
    return [*out, text.finish()], text.stopped


def test_a_character_split_over_tokens_comes_out_whole():
    assert flow([b"a\xf0", b"\x9f\x90", b"\xb6", b"b"])[0] == ["a", "", "🐶", "b", ""]


def test_half_a_character_at_the_end_becomes_a_replacement_character():
    assert flow([b"a\xf0\x9f"])[0] == ["a", "\ufffd"]


def test_a_stop_string_over_several_tokens_never_shows():
    assert flow([b"Hi. ", b"Us", b"er", b": more"], "User:") == (["Hi. ", "", "", "", ""], True)


def test_what_only_began_like_a_stop_string_is_shown_after_all():
    assert flow([b"a Us", b"ual day"], "User:") == (["a ", "Usual day", ""], False)
    assert flow([b"a Us"], "User:") == (["a ", "Us"], False)


def test_the_earliest_stop_string_wins():
    assert flow([b"one two three"], "three", "two") == (["one ", ""], True)


def test_a_stop_string_may_begin_inside_its_own_false_start():
    assert flow([b"aa", b"ab!"], "aab") == (["", "a", ""], True)


def test_a_stop_string_completed_by_the_last_character_stops():
    assert flow([b"x\xc3", b"\xa9"], "é") == (["x", "", ""], True)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_any_cut_of_the_bytes_gives_the_same_text(size):
    data = "naïve café 🐶 — Ende, 再见".encode()
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    assert "".join(flow(parts, "Ende")[0]) == "naïve café 🐶 — "
