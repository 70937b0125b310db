"""What lies beside a file: Modelfile, card, lines to type; and nothing is published unasked."""

import dataclasses
import json
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from distill.core.errors import BadInput, Unavailable
from distill.core.manifest import ArtifactManifest, describe, write_manifest
from export.conversations import bundled
from export.handover import OURS, card_text, front_matter, licence_chain, write_handover
from export.modelfile import frames_of, modelfile
from export.publish import parts, refuse_unasked, upload
from export.text_parity import rendered
from tests.export.commands import export, left_behind, one_line

GO = re.compile(
    r"\{\{ (if|else if) eq \.Role \"(\w+)\" \}\}(.*?)\{\{ \.Content \}\}(.*?)(?=\{\{)", re.S
)


def as_ollama(text, messages):
    """The prompt that Go's template engine makes of such a template, read from its text alone."""
    begin, inside = text.split("{{ range .Messages }}")
    cases, reply = inside.rsplit("{{ end }}{{ end }}", 1)
    frames = {role: (before, after) for _, role, before, after in GO.findall(cases + "{{")}
    said = [frames[m["role"]][0] + m["content"] + frames[m["role"]][1] for m in messages]
    return begin + "".join(said) + reply


@pytest.fixture
def artifact(lively, lively_f16, tmp_path):
    """A file with a manifest, as an export leaves it."""
    file = tmp_path / "student-F16.gguf"
    shutil.copy(lively_f16, file)
    link = {"reference": "torch", "candidate": "F16", "mean_kld": 1e-6, "most_mean_kld": 1e-3}
    link |= {"top1": 0.999, "least_top1": 0.99, "failed": []}
    manifest = ArtifactManifest(
        files=[describe(file)],
        student=str(lively.folder),
        student_sha256="5" * 64,
        base="org/base",
        recipe_sha256=None,
        data_sha256={"sft.jsonl": "d" * 64},
        quantization={"type": "F16", "bits_per_weight": 16.0},
        parity={"links": [link], "conversations": 3, "text": "held_out.jsonl"},
        tools={},
    )
    write_manifest(file, manifest)
    return file


def test_the_modelfile_frames_messages_as_the_template_does(lively):
    text = modelfile(lively, "student.gguf")
    assert text.startswith("FROM ./student.gguf\n")
    template = text.split('TEMPLATE """')[1].split('"""')[0]
    for messages in bundled():
        assert as_ollama(template, messages) == rendered(lively, messages, True)
    end = lively.tokenizer.convert_ids_to_tokens(lively.tokenizer.eos_token_id)
    assert f'PARAMETER stop "{end}"' in text and "PARAMETER num_ctx 1024" in text


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}<|user|>{{ m.content | trim }}<|end|>{% endfor %}<|assistant|>",
        "{% for m in messages %}{{ loop.index }}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% raw %}{{{% endraw %}{{ m.content }}<|end|>{% endfor %}",
        "always the same",
    ],
)
def test_a_template_that_is_no_sequence_of_frames_is_left_to_the_file(template, lively):
    tokenizer = dataclasses.replace(lively).tokenizer
    before = tokenizer.chat_template
    try:
        tokenizer.chat_template = template
        assert frames_of(lively) is None
        text = modelfile(lively, "student.gguf")
    finally:
        tokenizer.chat_template = before
    assert "TEMPLATE" not in text and "cannot be said exactly" in text and "PARAMETER stop" in text


def test_the_card_tells_figures_licence_and_how_to_run(lively, artifact):
    write_handover(lively, artifact)
    card = (artifact.parent / "README.md").read_text()
    assert "| `student-F16.gguf`: F16 | torch | 1e-06 (0.001) | 99.9% (99%) |" in card
    assert "base `org/base`: its own licence holds" in card
    assert "no licence stated" in card and "sft.jsonl" in card
    for tool in ("llama-server", "ollama create", "lms import", "Android", "iOS", "export verify"):
        assert tool in card
    assert left_behind(artifact.parent) == [
        "README.md",
        "student-F16.Modelfile",
        "student-F16.gguf",
        "student-F16.gguf.manifest.json",
    ]


def test_one_card_tells_of_a_file_and_of_a_folder(lively, artifact):
    folder = artifact.parent / "student-onnx-int4"
    folder.mkdir()
    manifest = json.loads(artifact.with_name(artifact.name + ".manifest.json").read_text())
    manifest["quantization"] = {"format": "onnx", "type": "ONNX-INT4", "bits_per_weight": 5.25}
    names = [f"{folder.name}/model.onnx", f"{folder.name}.imatrix.jsonl"]
    manifest["files"] = [{"path": n, "sha256": "0" * 64, "size_bytes": 2000000} for n in names]
    folder.with_name(folder.name + ".manifest.json").write_text(json.dumps(manifest))
    write_handover(lively, folder)
    card = (artifact.parent / "README.md").read_text()
    assert "| `student-onnx-int4` | 2.0 | 5.25 | - |" in card
    assert "llama-server -m student-F16.gguf" in card
    assert 'onnxruntime_genai.Model("student-onnx-int4")' in card
    assert "library_name: gguf" in card and "tags: [empathy, kindred, gguf, onnx]" in card
    assert not folder.with_suffix(".Modelfile").exists()


def test_an_unchecked_file_is_called_so(lively, artifact):
    manifest = artifact.with_name(artifact.name + ".manifest.json")
    said = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(said | {"parity": {"links": []}}))
    assert "| `student-F16.gguf` | - | not checked | not checked | - |" in card_text(
        lively, artifact
    )


def test_the_licence_of_the_student_is_carried_on(lively, artifact, tmp_path):
    folder = tmp_path / "licensed"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: a/b\n---\n# Student\n")
    licensed = dataclasses.replace(lively, folder=folder)
    manifest = ArtifactManifest.model_validate_json(
        artifact.with_name(artifact.name + ".manifest.json").read_text()
    ).model_copy(update={"base": None})
    licence, chain = licence_chain(licensed, manifest)
    assert licence == "apache-2.0" and any("`a/b`" in line for line in chain)
    (folder / "README.md").write_text("---\n[\n---\n")
    assert front_matter(folder) == {}
    assert any("not known" in line for line in licence_chain(licensed, manifest)[1])


def test_somebody_elses_card_stays(lively, artifact):
    (artifact.parent / "README.md").write_text("mine")
    write_handover(lively, artifact)
    assert (artifact.parent / "README.md").read_text() == "mine"
    (artifact.parent / "README.md").write_text(OURS)
    write_handover(lively, artifact)
    assert "Run the GGUF file" in (artifact.parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("repository", "yes", "said"),
    [
        ("me/student", False, "say so with --yes-publish"),
        ("student", True, "no OWNER/NAME"),
        (None, True, "publishes nothing by itself"),
    ],
)
def test_nothing_is_published_that_was_not_asked_for_twice(repository, yes, said):
    with pytest.raises(BadInput, match=said):
        refuse_unasked(repository, yes)


def test_the_command_refuses_before_any_work(tmp_path):
    done = export("gguf", tmp_path / "nobody", "--push", "me/student")
    assert done.returncode == 2 and "--yes-publish" in one_line(done)


def test_without_a_token_nothing_leaves(artifact, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(Unavailable, match="was written and not uploaded: no token"):
        upload(artifact, "me/student")


class Hub(BaseHTTPRequestHandler):
    """A hub that takes small files in one commit, and remembers them."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body) if not self.path.endswith("commit/main") else None
        self.server.calls.append((self.path, asked, self.headers["Authorization"]))
        if self.path.endswith("create"):
            answer = {"url": "https://huggingface.co/me/student"}
        elif self.path.endswith("validate-yaml"):
            answer = {"errors": [], "warnings": []}
        elif asked is not None:
            answer = {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in asked["files"]
                ]
            }
        else:
            self.server.commit = [json.loads(line) for line in body.splitlines()]
            answer = {
                "success": True,
                "commitOid": "1" * 40,
                "commitUrl": "https://huggingface.co/me/student",
            }
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.calls, server.commit = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_part_is_uploaded_to_a_private_place(lively, artifact, hub, monkeypatch):
    from huggingface_hub import HfApi

    write_handover(lively, artifact)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_token")
    api = HfApi(endpoint=f"http://127.0.0.1:{hub.server_port}", token="hf_token")
    assert "uploaded to me/student" in upload(artifact, "me/student", api)
    created = hub.calls[0]
    assert "private" in json.dumps(created[1]) and created[2] == "Bearer hf_token"
    sent = {line["value"]["path"] for line in hub.commit if line["key"] == "file"}
    assert sent == {path.name for path in parts(artifact)} and len(sent) == 4


def test_a_hub_that_does_not_answer_is_named(artifact, monkeypatch):
    from huggingface_hub import HfApi

    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_token")
    with pytest.raises(Unavailable, match="was written and not uploaded to me/student"):
        upload(artifact, "me/student", HfApi(endpoint="http://127.0.0.1:9", token="hf_token"))
