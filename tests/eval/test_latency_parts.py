"""The parts of the latency measurement: clock, prompts, meters, figures, tables."""

import json
import os

import pytest

from distill.core.errors import BadInput, Unavailable
from eval.machine import MemoryWatch, fields_of, peak_of
from eval.pages.curves import memory_of
from eval.pages.wording import rate, seconds, spread
from eval.performance.client import Client, Timed, refusal, timed
from eval.performance.energy import EnergyMeter
from eval.performance.figures import between_of, by_length, figures, median_of
from eval.performance.measuring import Sample
from eval.performance.plots import drawn
from eval.performance.prompts import of_length, story
from eval.performance.shown import energy_said, tables
from tests.endpoint import StubEndpoint
from tests.eval.run_folder import LATENCY


def reply(tokens=4, wait=0.1, speed: float | None = 20.0, *, prompt=16, cached=0, gaps=(0.05,) * 3):
    arrivals = tuple(wait + sum(gaps[:n]) for n in range(len(gaps) + 1))
    return Timed(prompt, cached, tokens, arrivals, wait + sum(gaps), wait * 0.9, speed, "stop")


def stream(*events):
    lines = [(10 + n / 10, b"data: " + json.dumps(e).encode()) for n, e in enumerate(events)]
    return [*lines, (10 + len(events) / 10, b"data: [DONE]")]


def chunk(text=None, finish=None, **more):
    delta = {} if text is None else {"content": text}
    return {"choices": [{"delta": delta, "finish_reason": finish}], **more}


USAGE = {
    "choices": [],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 2},
    },
    "timings": {"prompt_s": 0.05, "tokens_per_s": 12.0},
}


def test_text_is_stamped_when_it_comes_and_the_opening_without_text_is_not():
    lines = stream(chunk(""), chunk("Oh"), chunk(" no"), chunk(finish="stop"), USAGE)
    found = timed(lines, 10.0, "u")
    assert found.first_token_s == pytest.approx(0.1) and found.between_s == [pytest.approx(0.1)]
    assert (found.tokens, found.cached_tokens, found.tokens_per_s) == (3, 2, 12.0)
    assert found.whole_s == pytest.approx(0.5) and found.prompt_s == 0.05


def test_the_block_of_the_guard_is_not_the_first_token():
    shown = {"kindred": {"guard": {"fired": True, "shown": True}}}
    lines = stream(chunk("", **shown), chunk("Call 112."), chunk("I"), chunk(finish="stop"), USAGE)
    assert timed(lines, 10.0, "u").first_token_s == pytest.approx(0.2)


def test_a_stream_that_was_cut_off_or_broke_is_no_figure():
    with pytest.raises(Unavailable, match="cut its reply off"):
        timed(stream(chunk("Oh")), 10.0, "u")
    with pytest.raises(Unavailable, match="broke off: full"):
        timed(stream(chunk("Oh"), {"error": {"message": "full"}}), 10.0, "u")


def test_a_server_that_refuses_or_is_gone_is_said_in_one_line():
    assert refusal("u", 500, b"<html>") == "u refused a request (HTTP 500): <html>"
    with (
        StubEndpoint(lambda said: "Hi there", status=lambda call: 429 if call == 1 else 200) as one,
        Client(one.url, "m", 5) as client,
    ):
        with pytest.raises(BadInput, match=r"HTTP 429.*scripted status 429"):
            client.ask([{"role": "user", "content": "x"}], limit=4)
        assert client.ask([{"role": "user", "content": "x"}], limit=4).tokens == 2
    with Client(one.url, "m", 5) as client, pytest.raises(Unavailable, match="stopped answering"):
        client.ask([{"role": "user", "content": "x"}], limit=4)


def test_a_prompt_has_so_many_tokens_and_another_narrator_each_time():
    def count(messages):
        return 5 + sum(len(word) // 5 + 1 for word in messages[0]["content"].split())

    for tokens in (16, 100, 513):
        words, fill = of_length(tokens, count)
        assert count(story(words, 0, fill)) == tokens
    firsts = {story(9, first)[0]["content"].partition(":")[0] for first in range(40)}
    assert len(firsts) == 40


def counters(folder, **values):
    for name, micro in values.items():
        path = folder / f"intel-rapl:{name[1:].replace('_', ':')}"
        path.mkdir(parents=True, exist_ok=True)
        (path / "name").write_text("core" if "_" in name else f"package-{name[1:]}")
        (path / "energy_uj").write_text(f"{micro}\n")
        (path / "max_energy_range_uj").write_text("1000000000\n")


def test_energy_is_that_of_the_packages_and_survives_a_counter_that_wraps(tmp_path):
    counters(tmp_path, d0=999_000_000, d1=5_000_000, d0_0=77)
    meter = EnergyMeter(tmp_path)
    meter.begin()
    counters(tmp_path, d0=1_000_000, d1=6_000_000, d0_0=99_000_000)
    meter.step(tokens=10)
    found = meter.found()
    assert found["joules"] == pytest.approx(3.0) and found["joules_per_token"] == pytest.approx(0.3)
    assert energy_said(found).startswith("0.3 J a token (powercap, 2 package(s)")


def test_energy_that_is_not_reported_is_never_zero(tmp_path, monkeypatch):
    found = EnergyMeter(tmp_path).found()
    assert found == {
        "reported": False,
        "reason": "this machine has no counters of energy (powercap)",
    }
    assert energy_said(found).startswith("not reported: ")
    counters(tmp_path, d0=1)
    assert EnergyMeter(tmp_path).found()["reason"] == "no token was computed"
    (tmp_path / "intel-rapl:0/energy_uj").unlink()
    (tmp_path / "intel-rapl:0/energy_uj").mkdir()  # a file that root alone may read, for any user
    assert "cannot be read by this user" in EnergyMeter(tmp_path).found()["reason"]


def test_memory_is_split_where_the_system_tells_and_keeps_its_peaks(tmp_path):
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "status").write_text("Name:\tx\nVmHWM:\t  2048 kB\nRssAnon:\t 4 kB\nRssFile:\t8 kB\n")
    watch = MemoryWatch(7, tmp_path)
    found = watch.found()
    assert (found["private_bytes"], found["file_backed_bytes"]) == (4096, 8192)
    assert found["split_source"] == "status"
    assert found["peak_memory_bytes"] == 2048 * 1024 and "VmHWM" in found["peak_memory_source"]
    rollup = folder / "smaps_rollup"
    rollup.write_text("00-ff ---p [rollup]\nRss: 100 kB\nAnonymous:  60 kB\n")
    watch.look()
    rollup.write_text("00-ff ---p [rollup]\nRss:  90 kB\nAnonymous:  30 kB\n")
    found = watch.found()
    assert found["private_bytes"] == 60 * 1024 and found["file_backed_bytes"] == 60 * 1024
    assert found["split_source"] == "smaps_rollup"


def test_without_proc_the_memory_is_what_the_system_knows(tmp_path):
    assert peak_of(os.getpid(), tmp_path)["peak_memory_bytes"] > 0
    assert fields_of(tmp_path / "none") == {}
    assert "private_bytes" not in MemoryWatch(os.getpid(), tmp_path).found()


def test_a_reply_of_one_token_has_no_speed():
    one = reply(tokens=1, speed=None, gaps=())
    found = figures([one], 0)
    assert found["tokens_per_s"] is None and found["between_pieces_s"] is None
    found = figures([one, reply(wait=0.3, speed=20.0), reply(wait=0.2, speed=40.0)], 0)
    assert (found["first_token_s"], found["tokens_per_s"]) == (0.2, 30.0)


def test_an_interval_needs_two_values_and_holds_the_median():
    assert median_of([], 0) is None and median_of([3.0], 0) == {"median": 3.0}
    found = median_of([1.0, 2.0, 3.0, 4.0, 50.0], 0)
    assert found["low"] <= found["median"] == 3.0 <= found["high"]
    assert spread({"median": 0.5}, seconds) == "500 ms" and spread(None, rate) == "not measured"
    assert spread({"median": 0.5, "low": 0.4, "high": 0.6}, seconds) == "500 ms (400 to 600)"
    assert spread({"median": 0.9, "low": 0.8, "high": 1.2}, seconds) == "900 ms (800 ms to 1.20 s)"


def test_percentiles_are_over_all_pieces_and_say_how_many_tokens_a_piece_has():
    found = between_of([reply(tokens=8, gaps=(0.01, 0.02, 0.03)), reply(gaps=(0.5,))], 0)
    assert found["p50"]["value"] == pytest.approx(0.025) and found["p99"]["value"] > 0.4
    assert found["pieces"] == 6 and found["tokens_per_piece"] == 2.0


def test_speeds_of_a_length_leave_out_what_was_in_the_cache():
    new = reply(wait=0.5, prompt=106, cached=6, speed=10.0, tokens=11)
    more = reply(wait=0.1, prompt=106, cached=105, speed=30.0, tokens=31)
    samples = [Sample("prefill", "100", 2, n, new) for n in range(2)]
    samples += [Sample("decode", "100", 2, n, more) for n in range(2)]
    samples += [Sample("dialogue", "d", 2, 0, more)]
    [row] = by_length(samples, 0)
    assert row["prefill_tokens_per_s"]["median"] == 200
    assert row["decode_tokens_per_s"]["median"] == 20  # 40 steps in 2 seconds
    assert (row["repeats"], row["decoded_tokens"]) == (2, 42)
    pp, tg = row["bench"]
    assert (pp["test"], pp["mean_tokens_per_s"]) == ("pp100", pytest.approx(100 / 0.45))
    assert (tg["test"], tg["deviation"]) == ("tg42 @ d100", 0)


def test_tables_and_plots_show_what_there_is_and_say_what_is_not():
    assert len(tables(LATENCY)) == 2
    bare = LATENCY | {"lengths": [], "replies": [], "between_pieces_s": None, "tokens_per_s": None}
    assert len(tables(bare)) == 1
    assert drawn(LATENCY)[:4] == drawn(bare)[:4] == b"\x89PNG"
    assert memory_of({"private_bytes": 2e6}) == {"private": 2.0}
