.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
BIN := .venv/bin
ARGS ?=

.PHONY: help setup up screenshots test fast check fmt lint types imports generated lock release clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## Install what is missing (system packages, .venv, locked packages)
	@requirements/setup.sh

up: setup ## Start everything and show Foreserve scale a live LLM service; ARGS="--duration 5m --report out/"
	@$(BIN)/foreserve up $(ARGS)

screenshots: ## Take the pictures of the docs, of the real local stack under traffic
	@$(BIN)/python -m tests.screenshots $(ARGS)

test: ## Set up, with what only tests use, and run every check and every test
	@requirements/setup.sh tests
	@$(MAKE) --no-print-directory check

check: fmt lint types imports ## Format, lint, types, import contracts, all tests
	@$(BIN)/pytest $(ARGS)

fast: ## The fast tier of the tests only (under two minutes)
	@$(BIN)/pytest -m "not stack" $(ARGS)

fmt: ## Check the formatting
	@$(BIN)/ruff format --check --quiet .

lint: ## Check the style
	@$(BIN)/ruff check --quiet .

types: ## Check the types
	@$(BIN)/mypy

imports: ## Check who imports whom
	@$(BIN)/lint-imports --no-cache > .import-linter.log 2>&1 && tail -n 1 .import-linter.log || { cat .import-linter.log; exit 1; }

lock: ## Write the lock files anew (needs uv)
	@requirements/lock.sh

release: ## Build the wheel, an SBOM of every lock, and checksums; ARGS="dist KEY" signs them
	@requirements/release.sh $(ARGS)

clean: ## Remove what was built and recorded here
	@rm -rf .foreserve out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
