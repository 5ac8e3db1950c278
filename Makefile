# `make study` and `make test` are each enough on a fresh machine: they set up .venv first if needed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ARGS ?=
CACHE := $(or $(XRAY_TL_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/xray_tl)
# One test process a core, at most four: each holds torch and a few tiny models.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup study train test test-all lint docs schema tensorboard clean clean-cache

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Create .venv with the tested versions (nothing to do the second time)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than Python 3.11: make setup PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

study: $(STAMP) ## Train none, a part or all of ResNet50 and VGG16, five seeds each, and write a report
	$(BIN)/python -m xray_tl.train study=quick $(ARGS)

train: $(STAMP) ## One run: make train ARGS="model=vgg16 mode=frozen"
	$(BIN)/python -m xray_tl.train $(ARGS)

test: $(STAMP) ## The tests (8 to 13 minutes on two cores)
	$(PYTEST) $(ARGS)

test-all: $(STAMP) ## The slow tests too
	$(PYTEST) -m "" $(ARGS)

lint: $(STAMP) ## ruff check, ruff format --check, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP) ## The documentation as a site in site/ (installs the extra `docs`)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict

schema: $(STAMP) ## docs/conf.schema.json again, from the dataclasses: editors read it
	$(BIN)/python -m xray_tl.config.schema_file docs/conf.schema.json

tensorboard: $(STAMP) ## Show curves, figures and hparams of everything under outputs/
	$(BIN)/tensorboard --logdir outputs

clean-cache: ## Remove what is kept between runs: images, features, ceilings, floors, audits, rates, source weights
	@for kind in audit batchnorm contents difficulty features films floors ideal images quality rates source; do rm -rf "$(CACHE)/$$kind"; done

clean: ## Remove .venv and caches; outputs/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist site
	find . -name __pycache__ -type d -not -path './.venv/*' -exec rm -rf {} +
