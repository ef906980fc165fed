# Two commands matter: `make report` and `make test`. Everything else serves them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
WORKERS ?= 2

.PHONY: report test lint abuse docs benchmark clean

report: $(VENV)/.run ## run every claim at quick scale and write report/index.html
	OMP_NUM_THREADS=1 $(BIN)/sandbox run --all --scale quick --workers $(WORKERS); status=$$?; $(BIN)/sandbox report && exit $$status # matrices are small

test: $(VENV)/.test lint ## lint, types, contracts, spelling, tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) # the workers are the parallelism

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

abuse: $(VENV)/.test ## kill training runs 50 times, resume them, compare every byte
	OMP_NUM_THREADS=1 $(BIN)/python tests/sandbox/killing.py --kills 50

docs: $(VENV)/.docs ## build the documentation, warnings are errors
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

benchmark: $(VENV)/.run ## paired comparisons; writes benchmarks/*.json
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) runs report docs/_build docs/gallery docs/api build *.egg-info

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.12")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(PIP) -e '.[mnist-5k]'
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) -e '.[mnist-5k,test]'
	touch $@

$(VENV)/.docs: $(VENV)/.run
	$(PIP) -e '.[mnist-5k,docs]'
	touch $@
