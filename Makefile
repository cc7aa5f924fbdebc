# Every habit of the project is one word: `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
JOBS ?= auto

# What `check --deploy` looks at is production, and nothing of it is connected to.
PRODUCTION := env -u BILLING_EMBEDDED_DATABASE DEBUG=0 ALLOWED_HOSTS=billing.example \
	SECRET_KEY=only-for-the-check-kx7Qv2Zt9Lm4Rw8Yp3Nb6Hc5Jd1Fs0Ga-Ue \
	DATABASE_URL=postgres://billing@database.example/billing

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench prove clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: requirements-dev.txt.installed ## Make .venv and install everything, for work on the code too

run: requirements.txt.installed ## Serve the API and the console on 127.0.0.1:$PORT (8000), with a database and a demo
	@exec $(MANAGE) serve

test: setup ## Run the tests, in parallel, on a real PostgreSQL
	$(BIN)/pytest -n $(JOBS)

check: setup ## Lint, types, the direction of imports, migrations and deployment settings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MANAGE) makemigrations --check --dry-run
	$(MANAGE) openapi --check
	$(PRODUCTION) $(MANAGE) check --deploy --fail-level WARNING

bench: setup ## Measure the served API against its floors, as ratios in one run
	$(BIN)/python -m bench

prove: setup ## Run the long proofs that `make test` leaves out
	$(BIN)/pytest -m prove

clean: ## Stop the private database and remove .venv; the data stays
	@[ ! -x $(BIN)/python ] || $(MANAGE) devdb stop
	rm -rf $(VENV)

# A requirements file is installed once for each of its contents; the larger one brings the smaller.
.PHONY: requirements.txt.installed requirements-dev.txt.installed
requirements.txt.installed requirements-dev.txt.installed: %.installed: $(BIN)/python
	@sum=$$(cksum < $*); smaller=$$(cksum < requirements.txt); stamp=$(VENV)/.installed-$*; \
	[ "$$(cat $$stamp 2>/dev/null)" = "$$sum" ] || { \
		echo "Installing $* ..."; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $* || exit 1; \
		echo "$$smaller" > $(VENV)/.installed-requirements.txt; echo "$$sum" > $$stamp; }

$(BIN)/python:
	@$(PYTHON) -c '' 2>/dev/null || { echo "make: there is no $(PYTHON): set PYTHON to a Python 3.11 or later." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $$($(PYTHON) -V 2>&1) is too old: set PYTHON to a Python 3.11 or later." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "make: $(PYTHON) lacks its venv module: install it (on Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
