# One place for every command a developer or a reader needs. `make` alone prints them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-triton check format bench bench-gpu shapes shapes-by-stages shapes-zh clean

help:  ## print what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The constraints file pins the tested versions; torch 2.13.0 there so that a machine without a GPU can be given a CPU build.
$(STAMP): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

install: $(STAMP)  ## make a virtual environment and install vidlabel into it

demo: $(STAMP)  ## caption the example videos with the shipped model and print the first labels
	$(BIN)/vidlabel caption examples/videos --model shapes --prompts caption-short --out demo/labels.parquet --overwrite
	@$(BIN)/python examples/read_labels.py demo/labels.parquet

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest -m 'not slow'

test-all: $(STAMP)  ## run the slow tests too
	$(BIN)/python -m pytest

check: $(STAMP)  ## format, lint, types, tests: what a commit must pass
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m 'not slow'

format: $(STAMP)  ## format the code in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-triton:  ## run the decode kernel in Triton's interpreter, in an environment of its own (it needs numpy < 2.3)
	test -d .venv-triton || $(PYTHON) -m venv .venv-triton
	grep -v '^numpy' constraints.txt > .venv-triton/constraints.txt
	.venv-triton/bin/python -m pip install --quiet --constraint .venv-triton/constraints.txt torch
	.venv-triton/bin/python -m pip install --quiet --constraint .venv-triton/constraints.txt --editable '.[dev]' 'numpy<2.3' triton
	OMP_NUM_THREADS=1 TRITON_INTERPRET=1 .venv-triton/bin/python -m pytest tests/test_engine_triton.py

bench: $(STAMP)  ## run the benchmarks that need no GPU; each prints a ratio against a named baseline
	$(BIN)/python -m benchmarks.decode
	$(BIN)/python -m benchmarks.pipeline
	$(BIN)/python -m benchmarks.engine --size small --compare-k 1,8 --clips 16 --baselines a
	$(BIN)/python -m benchmarks.labels_table
	$(BIN)/python -m benchmarks.planning
	$(BIN)/python -m benchmarks.export
	$(BIN)/python -m benchmarks.dedup --rows 200000

bench-gpu: $(STAMP)  ## measure the engine and a training step on a GPU, ten minutes; writes gpu-results/
	$(BIN)/python -m benchmarks.gpu --out gpu-results
	$(BIN)/python -m benchmarks.train_step

shapes: $(STAMP)  ## train the shipped shapes model again (under an hour on 2 cores)
	$(BIN)/python -m vidlabel.train.shapes --out vidlabel/models/weights/shapes

# What is in build/ is not made again: a run that was stopped goes on. $(call train,STAGE,RECIPE,FROM,DATA) is one stage.
S := build/shapes
Z := build/shapes-zh
train = $(BIN)/vidlabel train $(1) --from $(@D)/$(3) --recipe examples/recipes/$(2).toml \
	--cache-features $(@D)/features --out $@ $(4)

$(S)/set/tracks.jsonl: | $(STAMP)
	$(BIN)/python -m vidlabel.train.shapes_set --out $(@D) --scenes 6000 --hard
$(S)/check/tracks.jsonl: | $(STAMP)
	$(BIN)/python -m vidlabel.train.shapes_set --out $(@D) --scenes 50 --stream check
$(S)/parts: | $(STAMP)
	$(BIN)/python -m vidlabel.train.shapes_parts --out $@
$(S)/aligned: | $(S)/set/tracks.jsonl $(S)/check/tracks.jsonl $(S)/parts
	$(call train,align,align-shapes,parts,--data $(S)/set/pictures --eval-data $(S)/check/pictures)
$(S)/pretrained: | $(S)/aligned
	$(call train,pretrain,pretrain-shapes,aligned,--data $(S)/set/captions.jsonl --data $(S)/set/tracks.jsonl \
	--eval-data $(S)/check/captions.jsonl)
$(S)/model: | $(S)/pretrained
	$(call train,instruct,instruct-shapes,pretrained,--data $(S)/set/questions.jsonl --caption-data $(S)/set/captions.jsonl \
	--eval-data $(S)/check/questions.jsonl)

shapes-by-stages: $(STAMP) | $(S)/model  ## train such a model by the three commands of `vidlabel train` (an hour), and examine it
	$(BIN)/python -m benchmarks.curves $(S)/aligned.logs $(S)/pretrained.logs $(S)/model.logs --out $(S)/curves.svg
	$(BIN)/python -m benchmarks.shapes --weights $(S)/model

$(Z)/set/tracks.jsonl: | $(STAMP)
	$(BIN)/python -m vidlabel.train.shapes_set --out $(@D) --scenes 3000 --hard --language zh
$(Z)/exam/tracks.jsonl: | $(STAMP)
	$(BIN)/python -m vidlabel.train.shapes_set --out $(@D) --scenes 100 --stream held-out --language zh
$(Z)/parts: | $(STAMP)
	$(BIN)/python -m vidlabel.train.shapes_parts --out $@ --language zh --tower vidlabel/models/weights/shapes
$(Z)/aligned: | $(Z)/set/tracks.jsonl $(Z)/parts
	$(call train,align,align-shapes,parts,--data $(Z)/set/pictures)
$(Z)/pretrained: | $(Z)/aligned
	$(call train,pretrain,pretrain-shapes-zh,aligned,--data $(Z)/set/captions.jsonl --data $(Z)/set/tracks.jsonl)
$(Z)/model: | $(Z)/pretrained
	$(call train,instruct,instruct-shapes-zh,pretrained,--data $(Z)/set/questions.jsonl \
	--caption-data $(Z)/set/captions.jsonl)

shapes-zh: $(STAMP) | $(Z)/model $(Z)/exam/tracks.jsonl  ## train a shapes model that speaks Chinese likewise, into build/shapes-zh
	$(BIN)/vidlabel eval --model $(Z)/model --data $(Z)/exam/captions.jsonl --out $(Z)/captions.json
	$(BIN)/vidlabel eval --model $(Z)/model --data $(Z)/exam/questions.jsonl --out $(Z)/questions.json

clean:  ## remove what was built; keeps your labels
	rm -rf $(VENV) .venv-triton build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
