# Every verb is one line a person could type. `make` alone lists them.
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help demo test check e2e bench generate secrets setup clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

demo: setup ## run the shop, break it in random order, get one page each time that says what did it (SEED=, ROUNDS=)
	$(PYTHON) -m demo_app

test: setup ## set up, then the unit part and the part with real servers
	scripts/test

check: setup ## lint, types, generated files, names, style table
	$(PYTHON) -m checks

e2e: setup ## the whole shop under load, every look-alike told apart
	scripts/e2e

bench: setup ## figures into bench/results/ (PART="overhead --seconds 60" for one part)
	$(PYTHON) -m bench $(PART)

generate: setup ## write the generated files anew
	$(PYTHON) -m docs
	$(PYTHON) -m dashboards

secrets: ## random passwords for docker compose into secrets/; what exists stays
	@scripts/secrets

setup: ## make .venv with the pinned packages; does nothing when it is up to date
	@scripts/setup

clean: ## remove .venv and every cache
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
