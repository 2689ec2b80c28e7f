# `make` lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
export PATH := $(abspath $(VENV))/bin:$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
READY := $(VENV)/.ready
PYTEST := pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: help
help: ## this list
	@grep -hE '^[a-z_-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# VENV may be an environment of your own (conda, uv, a link): it is filled, never made anew.
$(READY): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip --version > /dev/null 2>&1 || $(VENV)/bin/python -m ensurepip > /dev/null
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.PHONY: setup
setup: $(READY) ## set up .venv with everything needed

.PHONY: run
run: setup ## raw text to BLEU and the results table (RECIPE=NAME)
ifneq ($(strip $(RECIPE)),)
	@python -m pipelines.params apply $(RECIPE)
endif
	@python -m pipelines.preflight --run
	@python -m flows.repro
	@python -m flows.results

.PHONY: quick
quick: setup ## every stage in a minute, tiny, in a worktree of its own
	@python -m flows.quick

.PHONY: flow
flow: setup ## the same stages as one Prefect flow
	python -m flows.pipeline

.PHONY: plan
plan: setup ## what a run would do, and why (with RECIPE too)
	@python -m flows.plan $(RECIPE)

.PHONY: verify
verify: setup ## everything twice from an empty cache, and compare
	python -m flows.verify

.PHONY: ui
ui: setup ## Prefect's server, UI and a worker on this machine
	python -m flows.ui

.PHONY: compare
compare: setup ## all experiments in a table, or A=RUN B=RUN closely
	@$(if $(A)$(B),python -m pipelines.report.compare $(or $(A),.) $(or $(B),HEAD),python -m flows.compare)

.PHONY: report
report: setup ## draw report.html, everything on one page
	@python -m pipelines.report.page

.PHONY: table
table: setup ## print the results table of the last run
	@python -m flows.results

.PHONY: check
check: setup ## check params.yaml and the raw data (with RECIPE too)
	@python -m pipelines.preflight $(RECIPE) && echo "params.yaml and raw data: all right"

.PHONY: speed
speed: setup ## what limits a training here (OF="seq2seq gru")
	@python -m pipelines.speed $(or $(OF),bert)

.PHONY: optimizers
optimizers: setup ## compare optimizers on equal terms (half an hour)
	@python -m pipelines.laboratory

.PHONY: test
test: setup ## the default test suite, in WORKERS processes (2)
	$(PYTEST)

.PHONY: test-corpora
test-corpora: setup ## tests on real text (CORPORA=folder)
	pytest tests -m corpora --corpora='$(CORPORA)'

.PHONY: test-learning
test-learning: setup ## every architecture learns a toy task to the end
	$(PYTEST) -m learning

.PHONY: test-recipes
test-recipes: setup ## recipes with tiny sizes, other scripts, "How to add"
	$(PYTEST) -m recipes

.PHONY: test-reliability
test-reliability: setup ## a real Prefect server and worker: run, cancel, kill
	$(PYTEST) -m reliability

.PHONY: test-gpu
test-gpu: setup ## what only a GPU can show (skipped without one)
	pytest -m gpu -rs

.PHONY: test-nodes
test-nodes: setup ## two machines under torchrun, on this one (minutes)
	$(PYTEST) -m 'nodes and not chaos'

.PHONY: test-long
test-long: setup ## test-recipes and test-nodes in one go, as CI does
	$(PYTEST) -m 'recipes or (nodes and not chaos)'

.PHONY: test-elsewhere
test-elsewhere: setup ## a release in an environment of its own (needs pip)
	pytest -m elsewhere -rP

.PHONY: test-slurm
test-slurm: setup ## a SLURM job on two nodes (needs slurm-wlm, munge, root)
	pytest -m slurm -rs

.PHONY: test-faults
test-faults: setup ## full disks, damaged files, a few kills (minutes)
	$(PYTEST) -m reliability tests/reliability/test_chaos.py tests/reliability/test_faults.py

.PHONY: test-browser
test-browser: setup ## pages as a browser shows them (PICTURES=folder)
	pytest -m browser --pictures='$(PICTURES)'

.PHONY: pictures
pictures: setup ## the README's picture of report.html (needs Chromium)
	@python -m tests.report.pictures

.PHONY: test-chaos
test-chaos: setup ## more ways to kill a training (minutes)
	$(PYTEST) -m chaos

.PHONY: chaos
chaos: setup ## TRIALS (50) kills at random moments
	python -m tests.reliability.chaos --trials $(or $(TRIALS),50)

.PHONY: lint
lint: setup ## style, types, spelling
	ruff check .
	ruff format --check .
	mypy
	codespell $$(git ls-files)

.PHONY: docs-check
docs-check: setup ## links, names, commands and examples of the docs
	pytest tests/test_docs.py tests/test_examples.py tests/test_how_to_add.py

.PHONY: bench
bench: setup ## wall time and memory per stage, from an empty cache
	python -m benchmarks.pipeline

.PHONY: clean
clean: ## remove run folders and outs; DVC's cache stays
	find .runs -mindepth 1 -maxdepth 1 ! -name params -exec rm -rf {} + 2> /dev/null || true
	rm -rf data/corpus data/tokenizer data/shards data/bert data/seq2seq data/decoding data/evaluation data/report
