# make demo: the whole way once, on a CPU.  make test: what a change must pass.  make help: everything else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCK := constraints.txt
TEST_PROCESSES ?= 2
FRESH := .venv-fresh
FRESH_BIN := $(abspath $(FRESH))/bin
FRESH_WORK := build/fresh
SEED ?= 0
TYPED := build/typed
WHEELS := build/wheels

.PHONY: help install lock fresh demo reproduce-dry test test-slow lint format typecheck benchmarks gpu gpu-wheels clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

install: $(INSTALLED)  ## make .venv with the package and the exact versions of constraints.txt

$(INSTALLED): setup.cfg pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint $(LOCK) pip
	$(BIN)/python -m pip install --progress-bar on --constraint $(LOCK) -e '.[dev]'
	@touch $@

lock:  ## renew .venv and constraints.txt with the newest releases that setup.cfg allows; then run the tests
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on -e '.[dev]'
	{ sed -n '/^#/p' $(LOCK); $(BIN)/python -m pip freeze --all --exclude-editable; } > $(LOCK).new
	mv $(LOCK).new $(LOCK)
	@touch $(INSTALLED)

# A user's way with the newest releases that setup.cfg allows, from a folder outside of the checkout, so that the
# installed package is used. lmms-eval exits with 0 when it fails: `artquant results` then finds no samples.
fresh:  ## install the newest releases that setup.cfg allows into a new environment, and go the whole way in minutes
	rm -rf build $(FRESH)
	mkdir -p $(FRESH_WORK)
	$(PYTHON) -m venv $(FRESH)
	$(FRESH_BIN)/python -m pip install --quiet --upgrade pip
	$(FRESH_BIN)/python -m pip install --progress-bar on .
	$(call fresh,lmms-eval --tasks list | grep -c artquant_demo)
	$(call fresh,artquant doctor)
	$(call fresh,artquant data demo --train 60 --validation 20 --test 20)
	$(call fresh,artquant train demo.yaml --set train.logging_steps=1)
	$(call fresh,lmms-eval --model artquant --model_args pretrained=runs/demo --tasks artquant_demo --batch_size 8 --log_samples --output_path results)
	$(call fresh,artquant results results)

define step
@printf '\n\033[1m[%s] $$ %s\033[0m\n' "$(1)" "$(2)"
@PATH="$(abspath $(BIN)):$$PATH" $(2)
endef

define fresh
@printf '\n\033[1m$$ %s\033[0m\n' "$(1)"
@cd $(FRESH_WORK) && PATH="$(FRESH_BIN):$$PATH" ARTQUANT_DATA="$$PWD/data" sh -ec "$(1)"
endef

demo: $(INSTALLED)  ## paintings and scores in, SROCC and PLCC out, in minutes (SEED=1 for another run)
	$(call step,1/4,artquant data demo --seed $(SEED))
	$(call step,2/4,artquant train configs/demo.yaml --set seed=$(SEED) --overwrite)
	@rm -rf runs/demo-results
	$(call step,3/4,lmms-eval --model artquant --model_args pretrained=runs/demo --tasks artquant_demo --batch_size 32 --log_samples --output_path runs/demo-results)
	$(call step,4/4,artquant results runs/demo-results --plot runs/demo-results/scatter.png)

reproduce-dry: $(INSTALLED)  ## run the lines of docs/reproduce.md on small made-up datasets, without training
	$(BIN)/python -m tests.reproduce

# As many test processes as cores: further threads of torch in each of them would wait for one another.
test test-slow: export OMP_NUM_THREADS ?= 1

test: lint typecheck  ## lint, check types, run the tests that take minutes at most
	$(BIN)/python -m pytest -m "not slow and not gpu" --numprocesses $(TEST_PROCESSES) --dist loadfile \
		--no-loadscope-reorder

test-slow: $(INSTALLED)  ## the tests that take four seconds or more: whole runs, the harness, a clean venv, the demo
	$(BIN)/python -m pytest -m "slow and not gpu" --numprocesses $(TEST_PROCESSES) --dist loadgroup \
		--no-loadscope-reorder

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
	cd $(TYPED) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache \
		-p artquant_plugin

benchmarks: $(INSTALLED)  ## print the tables of benchmarks/
	for file in $(filter-out benchmarks/gpu.py benchmarks/real_model.py,$(wildcard benchmarks/[a-z]*.py)); do $(BIN)/python $$file || exit 1; done

gpu: $(INSTALLED)  ## the tests and speeds that need a GPU, in 9 minutes at most: runs/gpu/gpu.md and gpu.json
	$(BIN)/python benchmarks/gpu.py

# For a machine that has Python 3.12 and torch and cannot reach a package index: docs/gpu.md.
gpu-wheels: $(INSTALLED)  ## download the packages that benchmarks/gpu.py needs beside torch to build/wheels
	$(BIN)/python -m pip download --quiet --dest $(WHEELS) --no-deps --only-binary=:all: --python-version 3.12 \
		--implementation cp $(addprefix --platform manylinux,_2_28_x86_64 _2_27_x86_64 _2_17_x86_64 2014_x86_64 1_x86_64) \
		--constraint $(LOCK) --requirement benchmarks/gpu_wheels.txt $(MORE_WHEELS)
	du -sh $(WHEELS)

clean:  ## remove what was built; data, runs and .venv stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
