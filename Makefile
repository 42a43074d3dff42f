# The two commands of the README, and the environment they share.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# BentoML reports usage unless told otherwise before its import.
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true

HISTORY ?=
SERVE ?= 1
PORT ?= 3000

.PHONY: env test lint types demo clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

test: lint types
	$(BIN)/pytest -q -n 2 --dist loadfile

demo: env
	$(BIN)/vigie demo $(if $(HISTORY),--history '$(HISTORY)') --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve)

clean:
	rm -rf $(VENV) build dist *.egg-info .demo
