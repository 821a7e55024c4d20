# One place for every command. `make setup`, `make demo` and `make test` need Python 3.11+, make and
# the package registry; what needs more (Node, a browser) has its own target.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup demo test lint types collected format lock docs browser bench bench-trial storm kill-matrix fuzz foreign-clients clean

setup: .venv/.dev.stamp

# What a user needs to run; the demo does not wait for the developers' tools.
.venv/.run.stamp: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev.stamp: .venv/.run.stamp requirements-dev.lock
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

.venv/.docs.stamp: .venv/.run.stamp requirements-docs.lock
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-docs.lock
	@touch $@

.venv/.browser.stamp: .venv/.dev.stamp requirements-browser.lock
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-browser.lock
	@touch $@

demo: .venv/.run.stamp
	$(BIN)/backstop demo $(ARGS)

# What fails while the tests share the machine is looked at once more, alone; tools/run_tests.py names
# in its last line what passed only then.
test: export PYTHONDONTWRITEBYTECODE =
test: setup
	$(MAKE) -j 2 lint types collected
	$(BIN)/python tools/run_tests.py $(TRIALS:%=--ignore=%) $(ARGS)

# Every part of `make bench`, with little of each; of them `make test` has the core's alone.
TRIALS := tests/tools/test_bench_of_a_start.py tests/tools/test_bench_of_recovery.py \
	tests/tools/test_bench_of_the_guard.py
bench-trial: setup
	$(BIN)/python -m pytest $(TRIALS) $(ARGS)

# pytest writes down each file of tests as it plays it. Made here once, on the core that mypy leaves
# idle; else each of the workers makes all of them. What is wrong with a file, the run itself says.
collected: export PYTHONDONTWRITEBYTECODE =
collected: setup
	@$(BIN)/python -m pytest --collect-only -q > /dev/null 2>&1 || true

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Resolves anew for Python 3.11 to 3.13 on Linux, macOS and Windows.
lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet pyproject.toml --extra build -o requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet pyproject.toml --extra build --extra dev -o requirements-dev.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet --constraint requirements-dev.lock pyproject.toml --extra build --extra docs -o requirements-docs.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet --constraint requirements-dev.lock pyproject.toml --extra build --extra browser -o requirements-browser.lock

# The site of docs/ in build/site; a link or an anchor that leads nowhere ends it with an error.
docs: .venv/.docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet $(ARGS)
	@echo "built: build/site/index.html"

# The dashboard in a real Chromium, which has to be installed (or named in BACKSTOP_CHROMIUM), in front
# of a real guard. ARGS="--screenshots" takes the pictures of docs/assets anew.
browser: .venv/.browser.stamp
	$(BIN)/python -m pytest tests/browser $(ARGS)

# What the safety costs, beside baselines of the same minute; writes build/bench.json, and in
# docs/reference the page of figures, its document and the plot of growth. ARGS="--only PART" renews
# a part of them; ARGS="--merge FILE" takes over what was measured elsewhere.
bench: .venv/.run.stamp
	$(BIN)/python tools/bench.py $(ARGS)

# The whole path simulated: every seed that ever failed, then a thousand dense hours, some ten
# core-hours. ARGS="--seeds 0:50" for less.
storm: .venv/.run.stamp
	$(BIN)/python tools/storm_regressions.py
	$(BIN)/backstop storm --seeds 0:1000 --hours 1 $(ARGS)

# kill -9 at every named point, a hundred times each: hours. ARGS="--repeats 1" for one of each.
kill-matrix: setup
	$(BIN)/python tools/kill_matrix.py $(ARGS)

# Calls made up from the description of the HTTP interface, many more of them than in the tests.
fuzz: setup
	FUZZ_EXAMPLES=$(or $(EXAMPLES),1000) $(BIN)/python -m pytest tests/entrypoints/http/test_fuzz.py $(ARGS)

# Clients that are not ours against the simulator and through the guard; needs Node, npm and PyPI.
foreign-clients: .venv/.run.stamp
	$(BIN)/python tools/foreign_clients/run.py $(ARGS)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
