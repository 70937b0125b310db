"""What programs may import is what `docs/public.yaml` promises, name by name.

To change a line there is to change what others rely on: it wants a line in CHANGELOG.md, and the
way that `docs/stability.md` describes.
"""

import importlib.util
import inspect
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROMISED = yaml.safe_load((ROOT / "docs/public.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs/generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("module", PROMISED)
def test_a_public_name_takes_what_it_took(module, generated):
    for name, called in PROMISED[module].items():
        node = generated.definition(module, name)
        if called is not None:
            assert generated.signature(node) == called.strip(), f"{module}.{name}"


@pytest.mark.parametrize("module", PROMISED)
def test_a_public_name_can_be_imported(module):
    found = importlib.import_module(module)
    for name in PROMISED[module]:
        inner = found
        for part in name.split("."):
            inner = getattr(inner, part)
        assert callable(inner), name


def test_the_parameters_that_are_read_are_those_of_python(generated):
    from runtime import load

    read = generated.signature(generated.definition("runtime", "load"))
    kinds = inspect.signature(load).parameters.values()
    assert read == "(path, *, context, threads, parallel, cells)"
    assert [one.name for one in kinds] == ["path", "context", "threads", "parallel", "cells"]


def test_a_name_that_is_not_there_or_not_described_is_refused(generated, tmp_path, monkeypatch):
    with pytest.raises(LookupError, match=r"runtime defines no lode"):
        generated.definition("runtime", "lode")
    with pytest.raises(LookupError, match=r"Engine defines no sing"):
        generated.definition("runtime.engine", "Engine.sing")
    (tmp_path / "bare.py").write_text("def silent(): ...\n")
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    monkeypatch.setattr(generated, "public_names", lambda: {"bare": {"silent": "()"}})
    with pytest.raises(LookupError, match=r"bare.silent is public and has no docstring"):
        generated.names()
