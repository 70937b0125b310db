# Two commands on a fresh machine: `make quickstart` and `make test`. Everything else is optional.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup quickstart test lint base agreement clean

setup: $(STAMP)

# torch first: what depends on it would otherwise choose a build of its own.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $$(grep '^torch==' constraints.txt)
	CMAKE_ARGS="-DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF" $(BIN)/pip install -q -c constraints.txt -e '.[all,dev]'
	touch $@

quickstart: setup
	$(BIN)/distill quickstart

test: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/mypy

# Pretrain the starter base; hours on two cores, minutes on a GPU; continues where it stopped.
# make base ED=path/to/empathetic_dialogues
base: setup
	$(BIN)/distill gather empathetic-dialogues=$(ED) --out runs/empathetic
	$(BIN)/distill train base --data runs/empathetic --out runs/base --resume

# Measure the offline scorer against people: make agreement RATED=path/to/human_4llm_ratings.csv
agreement: setup
	$(BIN)/python tests/benchmarks/scorer_agreement.py $(RATED)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
