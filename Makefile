# make demo and make test need Python 3.11 or newer, make and the package index; nothing else.
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo
BENCH := bench
PEERS := .venv-peers
# What pip is asked for; by default the index' newest build without CUDA, several GB less, or torch where it has none.
PEER_TORCH ?=

.PHONY: help demo test lint bench clean

help:
	@echo "make demo   train on synthetic phantoms, judge on others, and show where the report is (under 10 minutes)"
	@echo "make test   lint, types and tests (about 15 minutes)"
	@echo "make bench  speed and memory: beside MONAI, of exported formats, of large volumes, of the enhancer (about an hour)"
	@echo "make clean  remove .venv, $(PEERS) and what demo, test and bench made"

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/python setup.py
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-test: .venv/python setup.py
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ .venv/installed

demo: .venv/installed
	rm -rf $(DEMO)
	$(BIN)/bts-prepare phantom --out $(DEMO)/store --patients 40 --size 64
	$(BIN)/bts-train demo --data $(DEMO)/store --out $(DEMO)/run
	$(BIN)/bts-evaluate $(DEMO)/run --data $(DEMO)/store --split test --out $(DEMO)/evaluation
	$(BIN)/python -m toolkit.workflows.phantom_scan $(DEMO)/phantom.nii.gz
	$(BIN)/bts-predict $(DEMO)/phantom.nii.gz --model $(DEMO)/run --out $(DEMO)/prediction
	@echo
	@echo "Synthetic phantoms only: this shows that the toolkit works, not how well it does on people."
	@echo "Open in a browser:  $(DEMO)/evaluation/report.html  and  $(DEMO)/prediction/report.html"
	@echo "Picture:            $(DEMO)/evaluation/examples.png"

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

$(PEERS)/installed: .venv/python benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	cpu=$$($(PEERS)/bin/pip index versions torch 2>/dev/null | grep -o '[0-9][0-9.]*+cpu' | head -n 1); \
	torch="$(PEER_TORCH)"; \
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check "$${torch:-torch$${cpu:+==$$cpu}}"
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --requirement benchmarks/peers/requirements.txt
	touch $@

# Speed does not depend on what was learned, but int8 is written only where its Dice holds: after two epochs it does not.
bench: .venv/installed $(PEERS)/installed
	$(BIN)/python benchmarks/enhancer_cost.py --modalities 1 --rounds 15 --out $(BENCH)
	rm -rf $(BENCH)/store $(BENCH)/run
	$(BIN)/bts-prepare phantom --out $(BENCH)/store --patients 20 --size 128
	$(BIN)/bts-train figshare --data $(BENCH)/store --out $(BENCH)/run --set training.epochs=8
	$(BIN)/python benchmarks/formats.py $(BENCH)/run --data $(BENCH)/store --out $(BENCH)
	$(BIN)/python benchmarks/predict_speed.py $(BENCH)/run --data $(BENCH)/store --peers $(PEERS)/bin/python --out $(BENCH)
	$(BIN)/python benchmarks/memory.py --out $(BENCH)

clean:
	rm -rf .venv $(PEERS) $(DEMO) $(BENCH) *.egg-info .mypy_cache .pytest_cache .ruff_cache
