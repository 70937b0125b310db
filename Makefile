# Two commands on a fresh machine: `make quickstart` and `make test`. Everything else is optional.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

BENCH = $(BIN)/python -m tests.benchmarks

.PHONY: setup quickstart test lint docs base agreement decode fuzz disconnects mutated soak latency-peer \
	report-size coverage architectures clean-install demo-page pocket-page pocket-picture pocket-kernels arm64 types clean

setup: $(STAMP)

# torch first: what depends on it would otherwise choose a build of its own. Only programs need llama.cpp's
# `common`, two fifths of its files; llama-cpp-python would compile it all the same.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $$(grep '^torch==' constraints.txt)
	less=$$(mktemp) && echo 'set(LLAMA_BUILD_COMMON OFF)' > $$less && \
	CMAKE_ARGS="-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_INCLUDE=$$less" $(BIN)/pip install -q -c constraints.txt -e '.[all,dev]' && \
	rm $$less
	touch $@

quickstart: setup
	$(BIN)/distill quickstart

test: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/mypy

# The site of docs/, in build/docs.
docs: setup
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	$(BIN)/sphinx-build -q -W --keep-going docs build/docs

# Pretrain the starter base; hours on two cores, minutes on a GPU; continues where it stopped.
# make base ED=path/to/empathetic_dialogues
base: setup
	$(BIN)/distill gather empathetic-dialogues=$(ED) --out runs/empathetic
	$(BIN)/distill train base --data runs/empathetic --out runs/base --resume

# Measure the offline scorer against people: make agreement RATED=path/to/human_4llm_ratings.csv
agreement: setup
	$(BENCH).scorer_agreement $(RATED)

# What is too slow for the tests. FILE is an exported .gguf, e.g. runs/quickstart/edge/student-Q4_K_M.gguf.
# decode: speed against the bare loop of llama.cpp and its server. fuzz: 10,000 drawn requests and raw HTTP.
# disconnects: 200 chats that hang up. mutated: 500 damaged files. latency-peer: our latency command against a bare loop.
decode: setup
	$(BENCH).decode_speed $(FILE)
fuzz: setup
	$(BENCH).api_fuzz $(FILE)
disconnects: setup
	$(BENCH).disconnects $(FILE)
mutated: setup
	$(BENCH).mutated_files $(FILE)
latency-peer: setup
	$(BENCH).latency_peer $(FILE)

# Four chats for two hours, or MINUTES.
soak: setup
	$(BENCH).soak $(FILE) $(or $(MINUTES),120)

# The report of 1,000 pairs and 4 candidates; the intervals of win rates on simulated judges.
report-size: setup
	$(BENCH).report_size
coverage: setup
	$(BENCH).interval_coverage

# Every architecture in every format, random and trained: about an hour on two cores.
architectures: setup
	$(BENCH).architectures

# Every type of GGUF that llama.cpp writes.
types: setup
	$(BENCH).every_type distill/starter/base

# The file under emulated ARM64 (Debian's qemu-user): same greedy tokens, memory under 512 MB. The first run builds a userland.
arm64: setup
	$(BENCH).arm64 $(FILE)

# The wheel in a fresh environment: every help, the doctor, the walk.
clean-install: setup
	$(BENCH).clean_install

# The pages in Chromium: time to use, first token, Stop, accessibility, other origins, decode against the runtime.
demo-page: setup
	$(BENCH).demo_page $(FILE)
pocket-page: setup
	$(BENCH).pocket_page $(FILE)
pocket-picture: setup
	$(BENCH).pocket_picture $(FILE) docs/images/pocket.png

# After a change of demo/pocket/kernels/dot.c or of wllama's version: compile, and put into the vendored modules.
pocket-kernels: setup
	$(BIN)/pip install -q -c constraints.txt ziglang
	$(BIN)/python -m demo.pocket_kernels

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
