"""What the runtime says of itself to other engines: numbers that they can answer by."""

import json
import subprocess
import sys

import pytest

import runtime
from distill.core.errors import BadInput, Unsupported
from runtime.backends import PENALTY_TOKENS
from runtime.describe import PROBES, described, probes_of
from runtime.guarding.patterns import GAP, Patterns, places
from runtime.guarding.policy import read_policy
from runtime.guarding.portable import portable

LISTS = {"a": ["want .. die", "(no|never) sleep*", "<kin> ( |has) died"], "b": ["die"]}
CLASSES = {"kin": ["dad", "gran"]}
TEXT = "i want to just die . dad has died and gran died never sleeping want . die"


def walked(table, words):
    """The slow obvious reading of an exported graph."""
    found = set()
    known = [
        [w, *table["classes"].get(w, []), *(f"{s}*" for s in table["stems"] if w.startswith(s))]
        for w in words
    ]

    def go(node, start, at):
        found.update((name, start, at) for name in table["names"].get(node, []))
        for symbol in known[at] if at < len(words) else []:
            for target in table["edges"][node].get(symbol, []):
                go(target, start, at + 1)
        for target in table["edges"][node].get(GAP, []):
            for place in places(known, at):
                go(target, start, place)

    for start in range(len(words)):
        go(0, start, start)
    return found


def test_an_exported_graph_finds_what_the_patterns_find():
    patterns = Patterns(LISTS, CLASSES)
    words = TEXT.split()
    found = walked(patterns.table(), words)
    assert found == set(map(tuple, patterns.find(words)))
    assert {name for name, _, _ in found} == {"a", "b"}


def test_the_exported_guard_is_plain_json_of_the_policy_and_the_locale():
    told = portable(read_policy(), "en_gb")
    assert json.loads(json.dumps(told))["help"]["locale"] == "en-GB"
    assert [entry["id"] for entry in told["entries"]] == ["self", "other", "danger"]
    assert any("999" in line for line in told["help"]["lines"]["emergency"])
    with pytest.raises(BadInput, match="no help lines"):
        portable(read_policy(), "xx-XX")


def test_a_file_is_described_by_what_the_engine_does(tiny_gguf):
    told = described(tiny_gguf)
    with runtime.load(tiny_gguf) as engine:
        assert told["context"] == engine.context and told["template"] == engine.backend.template
        assert told["control"] == dict(engine.backend.control)
        for probe in told["probes"]:
            assert probe["ids"] == engine.prompt_ids(probe["messages"])
        engine.backend.template = "{{ strftime_now('%d') }}"
        assert probes_of(engine) == []
    assert len(told["probes"]) == len(PROBES)
    assert told["sampling"]["temperature"] == 0.7
    assert told["sampling"]["penalty_tokens"] == PENALTY_TOKENS
    assert any(
        control in told["probes"][3]["messages"][0]["content"] for control in told["control"]
    )


def test_the_command_prints_everything_as_json_and_refuses_in_one_line(tiny_gguf, tmp_path):
    def ran(*words):
        argv = [sys.executable, "-m", "runtime", "describe", *map(str, words)]
        return subprocess.run(argv, capture_output=True, text=True)

    told = json.loads(ran(tiny_gguf, "--json").stdout)
    assert told["name"] == tiny_gguf.stem and told["guard"]["threshold"] == 0.47
    refused = ran(tmp_path / "none.gguf")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1


def test_a_folder_is_refused_as_what_it_is(tmp_path):
    with pytest.raises(BadInput, match="no ONNX student in it"):
        described(tmp_path)
    (tmp_path / "genai_config.json").write_text("{}")
    with pytest.raises(Unsupported, match="ONNX folder"):
        described(tmp_path)
