"""The pocket folder and its server, without a browser."""

import http.client
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from socket import socket
from threading import Thread

import pytest

from demo import pocket_folder
from demo.pocket_folder import build, check_vendored, report_of
from demo.pocket_host import host
from distill.core.errors import BadInput, CheckFailed, MissingInput, Unsupported
from distill.core.jsonl import sha256_of
from distill.core.manifest import ArtifactManifest, describe, write_manifest


def written(artifact, folder, **wanted):
    options = {"report": None, "guard_locale": "default", "guard_policy": None, **wanted}
    return build(artifact, folder, **options)


@pytest.fixture(scope="module")
def artifact(tiny_gguf, tmp_path_factory):
    """A file with a model card and a report of its own beside it."""
    path = tmp_path_factory.mktemp("edge") / "tiny.gguf"
    shutil.copyfile(tiny_gguf, path)
    (path.parent / "README.md").write_text(
        "---\ntags: [x]\n---\n<!-- ours -->\n# Tiny <b>card</b>\n"
    )
    (path.parent / "report.html").write_text(f"about {sha256_of(path)[:16]}")
    return path


@pytest.fixture(scope="module")
def built(artifact, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pocket_folder, "PART_BYTES", 400_000)
        return written(artifact, tmp_path_factory.mktemp("out") / "pocket")


def test_the_parts_are_the_file_and_are_named_by_what_they_are(built, artifact):
    assert len(built.parts) > 1
    joined = b"".join((built.folder / part.path).read_bytes() for part in built.parts)
    assert joined == artifact.read_bytes() and built.model_sha256 == sha256_of(artifact)
    for part in built.parts:
        assert part.sha256 == sha256_of(built.folder / part.path)
        assert part.path == f"model/{part.sha256[:16]}.bin"


def test_the_folder_says_what_it_is_and_its_worker_keeps_all_but_the_model(built):
    about = json.loads((built.folder / "pocket.json").read_text())
    assert about["model"]["sha256"] == built.model_sha256 and about["settings"]["probes"]
    assert "guard" not in about["settings"]
    assert json.loads((built.folder / "guard.json").read_text())["entries"]
    worker = (built.folder / "sw.js").read_text()
    assert built.version in worker and "{{" not in worker
    shell = json.loads(worker.partition("const SHELL = ")[2].partition(";")[0])
    files = {p.relative_to(built.folder).as_posix() for p in built.folder.rglob("*") if p.is_file()}
    assert set(shell) == files - {"sw.js"} - {part.path for part in built.parts}
    assert built.size_bytes == sum((built.folder / name).stat().st_size for name in files)


def test_a_folder_for_any_country_leaves_the_choice_to_its_page(built, artifact, tmp_path):
    known = json.loads((built.folder / "guard.json").read_text())["help"]
    assert known["locale"] == "default" and "en-GB" in known["locales"]
    anyone = written(artifact, tmp_path / "pocket", guard_locale="auto")
    assert json.loads((anyone.folder / "guard.json").read_text())["help"] == known | {
        "locale": "auto"
    }


def test_card_report_and_licences_are_pages(built):
    card = (built.folder / "about/card.html").read_text()
    assert "<pre># Tiny &lt;b&gt;card&lt;/b&gt;" in card and "{{" not in card
    licences = (built.folder / "about/licences.html").read_text()
    assert licences.count("MIT License") == 3 and "The ggml authors" in licences
    assert (built.folder / "about/report.html").is_file()


def test_no_file_of_the_page_names_another_origin(built):
    for path in [*built.folder.glob("*.*"), *(built.folder / "icons").iterdir()]:
        text = path.read_bytes().replace(b"http://www.w3.org/2000/svg", b"")
        assert b"http://" not in text and b"https://" not in text, path


def test_a_folder_is_replaced_whole_and_the_version_follows_the_content(
    built, artifact, tmp_path, monkeypatch
):
    def described(artifact, guard_locale, guard_policy):
        return {"guard": {"help": {"locale": guard_locale}}}

    monkeypatch.setattr(pocket_folder, "described", described)
    folder = tmp_path / "pocket"
    first = written(artifact, folder, guard_locale="en-GB")
    (folder / "stray").write_text("old")
    second = written(artifact, folder, report=artifact.parent / "report.html")
    assert first.version != second.version and not (folder / "stray").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["pocket"]


def test_a_report_about_another_file_is_left_out_and_said(tmp_path):
    page = tmp_path / "report.html"
    page.write_text("another file")
    found, remarks = report_of(tmp_path / "a.gguf", "0" * 64, None)
    assert found is None and "about another file" in remarks[0]
    assert report_of(tmp_path / "a.gguf", "0" * 64, page) == (page, [])
    with pytest.raises(MissingInput, match="eval report"):
        report_of(tmp_path / "a.gguf", "0" * 64, tmp_path / "none.html")


def test_a_folder_of_somebody_else_is_left_alone(artifact, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="something else"):
        written(artifact, tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_a_file_that_no_page_can_hold_is_refused(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(pocket_folder, "MOST_BYTES", 1000)
    with pytest.raises(Unsupported, match="fewer bits"):
        written(artifact, tmp_path / "pocket")


def test_what_is_no_gguf_or_differs_from_its_manifest_is_refused(artifact, tmp_path):
    text = tmp_path / "letter.gguf"
    text.write_text("dear")
    with pytest.raises(BadInput, match="not a GGUF file"):
        written(text, tmp_path / "pocket")
    copy = tmp_path / "copy.gguf"
    shutil.copyfile(artifact, copy)
    manifest = ArtifactManifest(
        files=[describe(copy)], student="s", student_sha256="0", base=None, recipe_sha256=None,
        data_sha256={}, quantization={}, parity={}, tools={},
    )  # fmt: skip
    write_manifest(copy, manifest)
    with copy.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(CheckFailed, match="does not match its manifest"):
        written(copy, tmp_path / "pocket")
    assert not (tmp_path / "pocket").exists()


def test_a_vendored_file_that_changed_is_refused(tmp_path, monkeypatch):
    shutil.copytree(pocket_folder.SOURCES / "vendor", tmp_path / "vendor")
    monkeypatch.setattr(pocket_folder, "SOURCES", tmp_path)
    check_vendored()
    with (tmp_path / "vendor/jinja.js").open("a") as file:
        file.write("//")
    with pytest.raises(CheckFailed, match=r"jinja 0\.5\.11"):
        check_vendored()


def refused(*words):
    argv = [sys.executable, "-m", "demo", "pocket", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_the_command_refuses_in_one_line(built, artifact, tmp_path):
    assert "does not exist" in refused(tmp_path / "none.gguf", "--out", tmp_path / "a")
    assert "nothing to do" in refused(artifact)
    assert "a folder with no ONNX student in it" in refused(tmp_path, "--serve")
    (tmp_path / "genai_config.json").touch()
    assert "is an ONNX folder" in refused(tmp_path, "--serve")
    assert "written already" in refused(built.folder, "--out", tmp_path / "a")
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is in use" in refused(
            built.folder, "--serve", "--port", port
        )


@contextmanager
def hosted(folder):
    with host(folder, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_the_server_sends_types_and_the_headers_that_threads_need(built):
    with hosted(built.folder) as port:
        here = http.client.HTTPConnection("127.0.0.1", port)

        def got(path, **headers):
            here.request("GET", path, headers=headers)
            answer = here.getresponse()
            answer.read()
            return answer

        page = got("/")
        assert page.status == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert page.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        wasm = got("/vendor/wllama-multi.wasm")
        assert wasm.headers["Content-Type"] == "application/wasm"
        assert wasm.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert got("/vendor/").status == 404 and got("/../pocket.json").status == 200
        assert got("/", Host="evil.example").status == 403
        here.close()
