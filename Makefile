# make demo: the whole way once, on a CPU.  make test: what a change must pass.  make help: everything else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SEED ?= 0
TYPED := build/typed

.PHONY: help install demo test test-slow lint format typecheck benchmarks clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

install: $(INSTALLED)  ## make .venv with the package and everything it needs

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on -e '.[dev]'
	@touch $@

define step
@printf '\n\033[1m[%s] $$ %s\033[0m\n' "$(1)" "$(2)"
@PATH="$(abspath $(BIN)):$$PATH" $(2)
endef

demo: $(INSTALLED)  ## paintings and scores in, SROCC and PLCC out, in minutes (SEED=1 for another run)
	$(call step,1/4,artquant data demo --seed $(SEED))
	$(call step,2/4,artquant train configs/demo.yaml --set seed=$(SEED) --overwrite)
	@rm -rf runs/demo-results
	$(call step,3/4,lmms-eval --model artquant --model_args pretrained=runs/demo --tasks artquant_demo --batch_size 32 --log_samples --output_path runs/demo-results)
	$(call step,4/4,artquant results runs/demo-results --plot runs/demo-results/scatter.png)

test: lint typecheck  ## lint, check types, run the tests that take minutes at most
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: $(INSTALLED)  ## the tests that need a clean venv, the whole harness or the whole demo
	$(BIN)/python -m pytest -m "slow and not gpu"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## rewrite the code in the house's format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# The installed package is three folders under one name (setup.cfg); the type checker sees it as links.
typecheck: $(INSTALLED)
	@rm -rf $(TYPED) && mkdir -p $(TYPED)/artquant_plugin
	@ln -s $(CURDIR)/artquant_plugin/* $(CURDIR)/tasks $(CURDIR)/train $(CURDIR)/configs $(TYPED)/artquant_plugin/
	cd $(TYPED) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml -p artquant_plugin

benchmarks: $(INSTALLED)  ## print the tables of benchmarks/
	for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

clean:  ## remove what was built; data, runs and .venv stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
