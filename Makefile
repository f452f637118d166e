PYTHON ?= python3.11
BIN := .venv/bin
SETUP := .venv/.ready
BROWSER := .venv/.browser

.PHONY: setup screen test test-slow test-gpu test-browser screenshots bench-report lint typecheck bench docs constraints clean

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[models,report,docs,dev]"
	touch $@

screen: $(SETUP)  ## the main job on the built-in default
	$(BIN)/emoloom screen

test: $(SETUP)  ## everything but slow, GPU and browser tests, a process a core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu and not browser" \
	  --numprocesses auto --maxprocesses 8 --dist worksteal

test-slow: $(SETUP)
	$(BIN)/python -m pytest -m "slow"

test-gpu: $(SETUP)  ## needs CUDA; skips without
	$(BIN)/python -m pytest -m "gpu"

test-browser: $(BROWSER)  ## the report in headless Chromium
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { echo "no Chromium is installed; on Debian, as root: apt-get install chromium"; exit 2; }
	@command -v npm || { echo "no npm is installed; on Debian, as root: apt-get install npm"; exit 2; }
	npm ci --prefix tests/browser --no-audit --no-fund --silent
	$(BIN)/python -m pytest -m "browser"

$(BROWSER): $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	touch $@

screenshots: $(BROWSER)  ## pictures of a run's report for docs/images: make screenshots RUN=runs/builtin
	$(BIN)/python tests/browser/screenshots.py $(RUN)

bench-report: $(BROWSER)  ## how long the report of 5 candidates x 5,000 rows takes to open
	$(BIN)/python tests/browser/open_time.py

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(SETUP)
	$(BIN)/mypy

bench: $(SETUP)  ## ratios against peers, measured in one run; brings the peer of `bench train` first
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/emoloom bench decode
	$(BIN)/emoloom bench train

docs: $(SETUP)  ## the command reference from the commands themselves, then the site
	$(BIN)/typer emoloom.cli utils docs --name emoloom --output docs/cli.md
	$(BIN)/emoloom schema > docs/leaderboard.schema.json
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

constraints: $(SETUP)  ## pin what is installed now
	( echo "# Versions that this project is built, tested and shipped against. Regenerate: make constraints"; \
	  $(BIN)/pip freeze --exclude-editable | sed 's/+cpu//' ) > constraints.txt

clean:
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
