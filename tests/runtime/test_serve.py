"""`distill runtime serve`: one line when it answers, one line when it cannot."""

import signal
import socket
import subprocess
import sys

import httpx
import pytest

from distill.core.errors import BadInput
from distill.core.manifest import ArtifactManifest, describe, write_manifest
from runtime import load
from runtime.address import bound, require_key_off_loopback
from tests.runtime.serving import ENVIRONMENT, Serving


def distill(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "distill", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT,
        **options,
    )


def refused(*words, code=2):
    """The one line of a refusal."""
    done = distill("runtime", *words)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (code, "", 1), done
    return lines[0].removeprefix("error: ")


def test_the_line_names_the_model_and_the_address_and_a_signal_ends_it_well(tiny_gguf):
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime", "serve", str(tiny_gguf), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    line = process.stdout.readline()
    assert line.startswith("serving tiny-F16 at http://127.0.0.1:") and line.endswith("/v1\n")
    assert httpx.get(line.split()[-1] + "/models").status_code == 200
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert err == "tiny-F16: 1024 tokens of context; Ctrl-C stops the server\n"


def test_a_signal_during_a_stream_ends_both_at_once(tiny_gguf, tmp_path):
    body = {"model": "tiny-F16", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with Serving(tiny_gguf, tmp_path / "log", "--grace", "0") as server:
        with httpx.stream("POST", f"{server.url}/chat/completions", json=body) as answer:
            parts = answer.iter_text()
            next(parts)
            server.process.send_signal(signal.SIGTERM)
            rest = "".join(parts)
        assert '"code":"stopping"' in rest and "[DONE]" not in rest
        assert server.process.wait(timeout=20) == 0


def test_no_torch_is_in_the_serving_process(tiny_gguf):
    code = (
        "import sys, atexit, runpy\n"
        "heavy = ('torch', 'transformers', 'trl', 'sklearn', 'gradio', 'openai')\n"
        "atexit.register(lambda: print([m for m in heavy if m in sys.modules]))\n"
        f"sys.argv = ['distill', 'runtime', 'serve', {str(tiny_gguf)!r}, '--port', '0']\n"
        "runpy.run_module('distill', run_name='__main__')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    url = process.stdout.readline().split()[-1]
    body = {
        "model": "tiny-F16",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 2,
    }
    assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200
    process.terminate()
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "[]\n")


def test_a_program_may_end_in_the_middle_of_a_reply(tiny_gguf):
    code = (
        "import runtime\n"
        f"engine = runtime.load({str(tiny_gguf)!r}, threads=1)\n"
        "reply = engine.chat([{'role': 'user', 'content': 'hi'}], seed=1)\n"
        "print(next(reply).tokens)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_a_port_in_use_is_one_line(tiny_gguf):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused("serve", tiny_gguf, "--port", port)
    assert line.startswith(f"port {port} on 127.0.0.1 is in use; choose another with --port")


def test_an_address_that_is_not_ours_is_one_line(tiny_gguf):
    line = refused("serve", tiny_gguf, "--host", "192.0.2.1", "--port", 0, "--api-key", "k")
    assert line.startswith("192.0.2.1:0 cannot be listened on")
    with pytest.raises(BadInput, match="no address of this machine"), bound("not a host", 0):
        pass


def test_an_address_that_others_can_reach_needs_a_key(tiny_gguf):
    line = refused("serve", tiny_gguf, "--host", "0.0.0.0")
    assert line.startswith("0.0.0.0 can be reached from other machines; give --api-key")
    for host in ("::", "192.168.1.5", "example.org", "127.0.0.1.example.org", ""):
        with pytest.raises(BadInput, match="other machines"):
            require_key_off_loopback(host, None)
    for host in ("localhost", "127.0.0.1", "127.8.0.1", "::1"):
        require_key_off_loopback(host, None)


def test_with_a_key_any_name_of_the_machine_is_answered(tiny_gguf, tmp_path):
    words = ("--host", "0.0.0.0", "--api-key", "k3y")
    with Serving(tiny_gguf, tmp_path / "log", *words) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        headers = {"Host": "some.name", "Authorization": "bearer k3y"}
        assert httpx.get(f"{url}/models", headers=headers).status_code == 200
        assert httpx.get(f"{url}/models").status_code == 401


def test_a_file_that_is_no_model_is_one_line(tmp_path, tiny_gguf):
    assert "does not exist" in refused("serve", tmp_path / "missing.gguf", "--port", 0)
    assert "does not exist" in refused("chat", tmp_path / "missing.gguf")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_gguf.read_bytes()[:200_000])
    line = refused("serve", cut, "--port", 0)
    assert line.startswith(f"{cut} cannot be opened: ") and line.endswith("; export it again")
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(BadInput, match=r"is not a GGUF file \(it begins with b'PK"):
        load(other)
    with pytest.raises(BadInput, match="is a folder"):
        load(tmp_path)


def test_a_file_that_differs_from_its_manifest_is_not_opened(tmp_path, tiny_gguf):
    file = tmp_path / "tiny.gguf"
    file.write_bytes(tiny_gguf.read_bytes())
    empty = {"base": None, "recipe_sha256": None, "data_sha256": {}, "quantization": {}}
    manifest = ArtifactManifest(
        files=[describe(file)], student="runs/x", student_sha256="", parity={}, tools={}, **empty
    )
    write_manifest(file, manifest)
    assert distill("runtime", "chat", file, input="/quit\n").returncode == 0
    with file.open("r+b") as opened:
        opened.seek(-1, 2)
        opened.write(b"\xff")
    line = refused("serve", file, "--port", 0, code=1)
    assert line.startswith(f"{file} does not match its manifest (sha256 ")


def test_a_refusal_with_json_is_one_object_too(tmp_path):
    done = distill("runtime", "serve", tmp_path / "missing.gguf", "--json")
    assert done.returncode == 2 and done.stdout.startswith('{"error": ')
