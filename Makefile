# Everyday commands. A line `target: ## text` is what `make help` prints.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
CHECKED := bench cli client learning local scripts services shared studio tests

.PHONY: help
help: ## Shows this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/' | expand -t 16

.PHONY: setup
setup: ## Installs everything: system packages, Python, Kafka (quick when nothing changed)
	@scripts/setup.sh

.PHONY: run
run: setup ## Starts Kafka, Redis and every service, imports a catalogue, shows the answers (PHOTOS=folder for your own)
	@exec .venv/bin/vitrine run $(if $(PHOTOS),--photos "$(PHOTOS)")

# Real photos that lie beside the checkout are tested on, unless others are named.
ifneq ($(wildcard ../shared/data/clothing),)
test: export VITRINE_TEST_PHOTOS ?= $(abspath ../shared/data)
endif
# Many tests wait more than they compute, so three files run at a time. The fleet needs the machine for itself.
.PHONY: test
test: setup-tests ## Runs every test of the code: unit, contract, fleet (VITRINE_TEST_PHOTOS=folder adds those on real photos)
	$(PYTEST) -n 3 --dist loadfile tests/unit tests/contract tests/gpu
	$(PYTEST) tests/fleet

.PHONY: test-deploy
test-deploy: ## Runs `make run` in a bare Debian root and builds the images, without Docker (as root; twenty minutes, 12 GB)
	@scripts/setup.sh --deploy
	$(PYTEST) tests/deploy

.PHONY: test-unit
test-unit: ## Runs the tests that need no server, in seconds
	$(PYTEST) -q tests/unit

.PHONY: setup-tests
setup-tests:
	@scripts/setup.sh --tests

.PHONY: check
check: ## Runs ruff and mypy (strict)
	.venv/bin/ruff check $(CHECKED)
	.venv/bin/ruff format --check $(CHECKED)
	.venv/bin/mypy

.PHONY: format
format: ## Formats the code and sorts its imports
	.venv/bin/ruff check --fix --select I $(CHECKED)
	.venv/bin/ruff format $(CHECKED)

.PHONY: proto
proto: ## Generates shared/pb from protos/
	protos/generate.sh

.PHONY: pack
pack: ## Trains a pack (DATA=folder of labelled photos, TO=folder for it); hours on two cores, and it can be stopped
	@: "$${DATA:?say DATA=folder, a folder with clothing/ and grocery/}" "$${TO:?say TO=folder, whose name is the pack's}"
	.venv/bin/vitrine train pack --data "$$DATA" --to "$$TO"

.PHONY: bench
bench: ## Runs the worker's benchmark and prints its ratios
	$(PYTHON) -m bench.worker

# A machine that was lent has a Python of its own with torch, and no network: what that one lacks is brought along.
GPU_PYTHON ?= $(if $(wildcard $(PYTHON)),$(PYTHON),python3)
GPU_CHECK := build/gpu-check
.PHONY: gpu-check
gpu-check: ## Compares and measures a GPU's engines, in eight minutes; without a GPU as far as a CPU can
	@if [ -f $(GPU_CHECK).tar.gz ] && [ ! -x $(PYTHON) ]; then tar -xzf $(GPU_CHECK).tar.gz -C build; fi
	PYTHONPATH=$(GPU_CHECK):.:shared/pb $(GPU_PYTHON) -m bench.gpu --report build/gpu-check.json

.PHONY: gpu-check-bundle
gpu-check-bundle: ## Gathers what gpu-check needs on a machine without network (GPU_PYTHON_VERSION=3.12)
	scripts/gpu-check-bundle.sh $(GPU_CHECK)

.PHONY: requirements
requirements: ## Compiles requirements/*.in into *.txt with hashes, under one constraint
	scripts/compile-requirements.sh

.PHONY: clean
clean: ## Deletes what runs and tests have written; what setup fetched stays
	rm -rf .vitrine/data .vitrine/logs .vitrine/cache .pytest_cache .mypy_cache .ruff_cache build
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
